//! Architectures, as the headers of programs, libraries and kernels name them.

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::pe;
use object::read::elf::FileHeader;
use object::read::pe::optional_header_magic;

/// S/390, before it had a number.
const OLD_S390: u16 = 0xa390;

/// Machines that callers know by words of their own, whatever the class or byte order.
const ELF_WORDS: [(u16, &str); 11] = [
    (elf::EM_386, "i386"),
    // The 80486, which nobody uses.
    (6, "i386"),
    (elf::EM_X86_64, "x86_64"),
    (elf::EM_SPARC, "sparc"),
    (elf::EM_SPARC32PLUS, "sparc"),
    (elf::EM_SPARCV9, "sparc64"),
    (elf::EM_IA_64, "ia64"),
    (elf::EM_PPC, "ppc"),
    (elf::EM_ARM, "arm"),
    (elf::EM_AARCH64, "aarch64"),
    // Before it had a number.
    (0x9025, "ppc"),
];

/// Machines that callers know by the descriptions that file(1) gives.
const ELF_DESCRIPTIONS: [(u16, &str); 33] = [
    (elf::EM_68K, "Motorola m68k"),
    (elf::EM_88K, "Motorola m88k"),
    (elf::EM_MIPS, "MIPS"),
    (elf::EM_MIPS_RS3_LE, "MIPS"),
    (elf::EM_PARISC, "PA-RISC"),
    (elf::EM_FAKE_ALPHA, "Alpha"),
    (elf::EM_ALPHA, "Alpha (unofficial)"),
    (elf::EM_SH, "Renesas SH"),
    (elf::EM_ARC, "Argonaut RISC Core"),
    (elf::EM_H8_300, "Renesas H8/300"),
    (elf::EM_COLDFIRE, "Motorola Coldfire"),
    (elf::EM_VAX, "Digital VAX"),
    (elf::EM_CRIS, "Axis cris"),
    (elf::EM_FR30, "Fujitsu FR30"),
    (elf::EM_V850, "NEC v850"),
    (elf::EM_M32R, "Renesas M32R"),
    (elf::EM_MN10300, "Matsushita MN10300"),
    (elf::EM_OPENRISC, "OpenRISC"),
    (elf::EM_ARC_COMPACT, "Synopsys ARCompact ARC700 cores"),
    (elf::EM_XTENSA, "Tensilica Xtensa"),
    (elf::EM_BLACKFIN, "Analog Devices Blackfin"),
    (elf::EM_UNICORE, "PKU-Unity Ltd."),
    (elf::EM_ALTERA_NIOS2, "Altera Nios II"),
    (elf::EM_TI_C6000, "TI TMS320C6000 DSP family"),
    (elf::EM_HEXAGON, "QUALCOMM DSP6"),
    (elf::EM_METAG, "META"),
    (elf::EM_MCST_ELBRUS, "MCST Elbrus"),
    (elf::EM_AVR32, "Atmel 32-bit family"),
    (elf::EM_TILEPRO, "Tilera TILEPro"),
    (elf::EM_MICROBLAZE, "Xilinx MicroBlaze 32-bit RISC"),
    (elf::EM_TILEGX, "Tilera TILE-Gx"),
    (elf::EM_ARC_COMPACT2, "Synopsys ARCv2/HS3x/HS4x cores"),
    (elf::EM_CSKY, "C-SKY processor family"),
];

const PE_WORDS: [(u16, &str); 12] = [
    (pe::IMAGE_FILE_MACHINE_I386, "i386"),
    (pe::IMAGE_FILE_MACHINE_AMD64, "x86_64"),
    (pe::IMAGE_FILE_MACHINE_IA64, "ia64"),
    (pe::IMAGE_FILE_MACHINE_ARM, "arm"),
    (pe::IMAGE_FILE_MACHINE_THUMB, "arm"),
    (pe::IMAGE_FILE_MACHINE_ARMNT, "arm"),
    (pe::IMAGE_FILE_MACHINE_ARM64, "aarch64"),
    (pe::IMAGE_FILE_MACHINE_POWERPC, "ppc"),
    (pe::IMAGE_FILE_MACHINE_RISCV32, "riscv32"),
    (pe::IMAGE_FILE_MACHINE_RISCV64, "riscv64"),
    // LoongArch of 32 and 64 bits.
    (0x6232, "loongarch32"),
    (0x6264, "loongarch64"),
];

/// Where the header of Linux for PCs has its magic number, version and load flags.
const BZIMAGE_MAGIC: usize = 0x202;
const BZIMAGE_VERSION: usize = 0x206;
const BZIMAGE_FLAGS: usize = 0x236;
/// The first version that has these flags.
const BZIMAGE_HAS_FLAGS: u16 = 0x20c;
/// The flag of a kernel of 64 bits.
const BZIMAGE_64: u16 = 1;

/// The architecture of a program, library or kernel that begins with these bytes.
pub(super) fn architecture(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(&elf::ELFMAG) {
        return of_elf(bytes);
    }
    // With an EFI stub, a kernel is a PE file too.
    of_pe(bytes)
        .or_else(|| of_bzimage(bytes))
        .map(str::to_owned)
}

fn of_elf(bytes: &[u8]) -> Option<String> {
    if let Ok(header) = FileHeader64::<Endianness>::parse(bytes) {
        of_elf_header(header, 64)
    } else {
        of_elf_header(FileHeader32::<Endianness>::parse(bytes).ok()?, 32)
    }
}

fn of_elf_header<H: FileHeader<Endian = Endianness>>(header: &H, bits: u8) -> Option<String> {
    let endian = header.endian().ok()?;
    let kind = header.e_type(endian);
    // A memory dump, for one, is no program.
    if ![elf::ET_REL, elf::ET_EXEC, elf::ET_DYN].contains(&kind) {
        return None;
    }
    let word = |word: &str| Some(word.to_owned());
    match (header.e_machine(endian), endian, bits) {
        (elf::EM_PPC64, Endianness::Big, _) => word("ppc64"),
        (elf::EM_PPC64, Endianness::Little, _) => word("ppc64le"),
        (elf::EM_S390 | OLD_S390, _, 32) => word("s390"),
        (elf::EM_S390 | OLD_S390, ..) => word("s390x"),
        (elf::EM_RISCV, ..) => Some(format!("riscv{bits}")),
        (elf::EM_LOONGARCH, ..) => Some(format!("loongarch{bits}")),
        (machine, ..) => look_up(&ELF_WORDS, machine)
            .or_else(|| look_up(&ELF_DESCRIPTIONS, machine))
            .and_then(word),
    }
}

fn of_pe(bytes: &[u8]) -> Option<&'static str> {
    let magic = optional_header_magic(bytes).ok()?;
    if ![
        pe::IMAGE_NT_OPTIONAL_HDR32_MAGIC,
        pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC,
    ]
    .contains(&magic)
    {
        return None;
    }
    let header = pe::ImageDosHeader::parse(bytes).ok()?;
    let start = usize::try_from(header.nt_headers_offset()).ok()?;
    // After the signature.
    look_up(&PE_WORDS, number(bytes, start.checked_add(4)?)?)
}

fn of_bzimage(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(BZIMAGE_MAGIC..)?.starts_with(b"HdrS")
        && number(bytes, BZIMAGE_VERSION)? >= BZIMAGE_HAS_FLAGS
    {
        let flags = number(bytes, BZIMAGE_FLAGS)?;
        return Some(if flags & BZIMAGE_64 == 0 {
            "i386"
        } else {
            "x86_64"
        });
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn look_up(table: &[(u16, &'static str)], machine: u16) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| *known == machine)
        .map(|(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header.
    fn elf(bits: u8, endian: Endianness, kind: u16, machine: u16) -> Vec<u8> {
        let little = endian == Endianness::Little;
        let mut bytes = vec![0; if bits == 64 { 64 } else { 52 }];
        bytes[..4].copy_from_slice(&elf::ELFMAG);
        bytes[4] = bits / 32;
        bytes[5] = if little { 1 } else { 2 };
        bytes[6] = 1;
        for (at, number) in [(16, kind), (18, machine), (20, 1)] {
            let number = if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            };
            bytes[at..at + 2].copy_from_slice(&number);
        }
        bytes
    }

    /// What a machine is called: with 32 and 64 bits, little and big endian.
    fn words(machine: u16) -> [Option<String>; 4] {
        let word = |bits, endian| architecture(&elf(bits, endian, elf::ET_DYN, machine));
        [
            word(32, Endianness::Little),
            word(32, Endianness::Big),
            word(64, Endianness::Little),
            word(64, Endianness::Big),
        ]
    }

    /// A PE file of which only the headers are there.
    fn pe(start: u32, magic: u16, machine: u16) -> Vec<u8> {
        let nt = usize::try_from(start).unwrap();
        let mut bytes = vec![0; nt + 300];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..0x40].copy_from_slice(&start.to_le_bytes());
        bytes[nt..nt + 4].copy_from_slice(b"PE\0\0");
        bytes[nt + 4..nt + 6].copy_from_slice(&machine.to_le_bytes());
        bytes[nt + 24..nt + 26].copy_from_slice(&magic.to_le_bytes());
        bytes
    }

    fn bzimage(version: u16, flags: u16) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[BZIMAGE_MAGIC..BZIMAGE_MAGIC + 4].copy_from_slice(b"HdrS");
        bytes[BZIMAGE_VERSION..BZIMAGE_VERSION + 2].copy_from_slice(&version.to_le_bytes());
        bytes[BZIMAGE_FLAGS..BZIMAGE_FLAGS + 2].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    #[test]
    fn machines_have_the_words_that_callers_know() {
        let same = |word: &str| [(); 4].map(|()| Some(word.to_owned()));
        for (machine, word) in [
            (2, "sparc"),
            (3, "i386"),
            (4, "Motorola m68k"),
            (6, "i386"),
            (8, "MIPS"),
            (10, "MIPS"),
            (15, "PA-RISC"),
            (18, "sparc"),
            (20, "ppc"),
            (40, "arm"),
            (42, "Renesas SH"),
            (43, "sparc64"),
            (50, "ia64"),
            (62, "x86_64"),
            (75, "Digital VAX"),
            (92, "OpenRISC"),
            (183, "aarch64"),
            (252, "C-SKY processor family"),
            (0x9025, "ppc"),
            (0x9026, "Alpha (unofficial)"),
        ] {
            assert_eq!(words(machine), same(word), "{machine}");
        }
        let four = |words: [&str; 4]| words.map(|word| Some(word.to_owned()));
        assert_eq!(words(21), four(["ppc64le", "ppc64", "ppc64le", "ppc64"]));
        for machine in [22, 0xa390] {
            assert_eq!(words(machine), four(["s390", "s390", "s390x", "s390x"]));
        }
        let riscv = ["riscv32", "riscv32", "riscv64", "riscv64"];
        assert_eq!(words(243), four(riscv));
        assert_eq!(
            words(258),
            four(riscv.map(|w| if w == "riscv32" {
                "loongarch32"
            } else {
                "loongarch64"
            }))
        );
    }

    #[test]
    fn every_other_machine_has_one_word_or_none() {
        let special = [
            elf::EM_PPC64,
            elf::EM_S390,
            OLD_S390,
            elf::EM_RISCV,
            elf::EM_LOONGARCH,
        ];
        for machine in 0..=u16::MAX {
            let known = [&ELF_WORDS[..], &ELF_DESCRIPTIONS[..]]
                .into_iter()
                .flatten()
                .filter(|(known, _)| *known == machine)
                .count();
            assert!(known <= 1, "{machine} is there twice");
            let words = words(machine);
            if special.contains(&machine) {
                assert!(known == 0 && words.iter().all(Option::is_some), "{machine}");
            } else {
                assert_eq!(known == 1, words[0].is_some(), "{machine}");
                assert!(words.iter().all(|word| *word == words[0]), "{machine}");
            }
        }
    }

    #[test]
    fn only_programs_libraries_and_modules_count() {
        for kind in 0..=5 {
            let found = architecture(&elf(64, Endianness::Little, kind, elf::EM_X86_64));
            assert_eq!(found.is_some(), (1..=3).contains(&kind), "{kind}");
        }
    }

    #[test]
    fn pe_files_are_told_by_their_machine() {
        for (magic, machine, word) in [
            (0x10b, 0x14c, Some("i386")),
            (0x10b, 0x1c4, Some("arm")),
            (0x20b, 0x8664, Some("x86_64")),
            (0x20b, 0xaa64, Some("aarch64")),
            (0x20b, 0x5064, Some("riscv64")),
            (0x20b, 0x1234, None),
            // An image for a ROM.
            (0x107, 0x14c, None),
        ] {
            for start in [0x40, 0x41, 0x80, 5000] {
                let found = architecture(&pe(start, magic, machine));
                assert_eq!(found.as_deref(), word, "{machine:#x} at {start:#x}");
            }
        }
        let mut far = pe(0x40, 0x20b, 0x8664);
        far[0x3c..0x40].fill(0xff);
        assert_eq!(architecture(&far), None);
    }

    #[test]
    fn kernels_for_pcs_are_told_by_their_flags() {
        assert_eq!(
            architecture(&bzimage(0x20f, 0x3f)).as_deref(),
            Some("x86_64")
        );
        assert_eq!(architecture(&bzimage(0x20c, 0)).as_deref(), Some("i386"));
        // An old one does not say.
        assert_eq!(architecture(&bzimage(0x20b, 1)), None);
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = [
            elf(64, Endianness::Little, 3, 62),
            elf(32, Endianness::Big, 2, 8),
            pe(0x80, 0x20b, 0x8664),
            bzimage(0x20f, 1),
        ];
        for bytes in &whole {
            assert!(architecture(bytes).is_some());
            let found = |len| architecture(&bytes[..len]).is_some();
            let first = (0..=bytes.len()).find(|&len| found(len)).unwrap();
            assert!(first > 40 && (first..=bytes.len()).all(found));
        }
        assert_eq!(architecture(b"#!/bin/sh\n"), None);
        assert_eq!(architecture(b""), None);
    }
}
