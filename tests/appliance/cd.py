"""A CD, made here, since the appliance cannot make one."""

import struct


def iso(label):
    """A CD with no files."""

    def both(number, size):
        little = number.to_bytes(size, "little")
        return little + little[::-1]

    root = b"\x22\0" + both(20, 4) + both(2048, 4) + bytes([126, 1, 1, 0, 0, 0, 0])
    root += b"\x02\0\0" + both(1, 2) + b"\x01\0"
    primary = b"\x01CD001\x01\0" + b"LINUX".ljust(32) + label.encode().ljust(32) + bytes(8)
    primary += both(24, 4) + bytes(32) + both(1, 2) + both(1, 2) + both(2048, 2) + both(10, 4)
    primary += struct.pack("<II", 18, 0) + struct.pack(">II", 19, 0) + root
    primary += b" " * (813 - len(primary)) + b"2026010100000000\0" * 4 + b"\x01"
    end = b"\xffCD001\x01"
    table = b"\x01\0" + struct.pack("<I", 20) + b"\x01\0\0\0"
    big = b"\x01\0" + struct.pack(">I", 20) + b"\0\x01\0\0"
    entries = root + root[:-1] + b"\x01"
    sectors = [primary, end, table, big, entries]
    image = bytes(16 * 2048) + b"".join(sector.ljust(2048, b"\0") for sector in sectors)
    return image.ljust(24 * 2048, b"\0")
