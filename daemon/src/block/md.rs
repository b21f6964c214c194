//! Linux software RAID (MD).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use protocol::api::{MdActions, MdCreateOptions, Mdstat};
use protocol::{Context, Device, Error, List, Result};

use crate::command::Command;
use crate::{Daemon, udev};

const MDSTAT: &str = "/proc/mdstat";

const LEVELS: [&str; 13] = [
    "linear", "raid0", "0", "stripe", "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6",
    "6",
];

impl MdActions for Daemon {
    fn md_create(
        &mut self,
        name: &[u8],
        devices: Vec<Device>,
        options: MdCreateOptions<'_>,
    ) -> Result<()> {
        let plan = Plan::new(devices.len(), &options)?;
        let mut command = Command::new("mdadm")
            .args(["--create", "--run"])
            .args(["--level", plan.level])
            .args(["--raid-devices", &plan.active.to_string()]);
        if let Some(spare) = options.spare {
            command = command.args(["--spare-devices", &spare.to_string()]);
        }
        if let Some(kib) = plan.chunk_kib {
            command = command.args(["--chunk", &kib.to_string()]);
        }
        let name = OsString::from_vec(name.to_vec());
        // mdadm knows no `--` that would tell a name from an option.
        if name.is_empty() || name.as_encoded_bytes().starts_with(b"-") {
            return Err(Error::invalid(format!(
                "'{}' is not the name of a RAID array",
                name.display()
            )));
        }
        udev::settle();
        let created = command
            .arg(&name)
            .args(members(&devices, plan.missing))
            .run();
        udev::settle();
        created
            .map(drop)
            .with_context(|| format!("mdadm: {}", name.display()))
    }

    fn list_md_devices(&mut self) -> Result<Vec<Device>> {
        let mut devices = self.devices.md_devices()?;
        devices.retain(is_running);
        Ok(devices)
    }

    fn md_detail(&mut self, md: Device) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let output = Command::new("mdadm")
            .args(["-D", "--export"])
            .arg(md.path())
            .run()
            .context(md)?;
        Ok(details(&output.stdout))
    }

    fn md_stop(&mut self, md: Device) -> Result<()> {
        udev::settle();
        let stopped = Command::new("mdadm").arg("--stop").arg(md.path()).run();
        udev::settle();
        stopped.map(drop).context(md)
    }

    fn md_stat(&mut self, md: Device) -> Result<List<Mdstat>> {
        let text = std::fs::read_to_string(MDSTAT).context(MDSTAT)?;
        // A name such as /dev/md/NAME is a link.
        let path = md.path().canonicalize().context(&md)?;
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let members = members_of(&text, name)
            .ok_or_else(|| Error::new(format!("{md}: MD device not found")))?;
        Ok(members
            .map(|mut member| {
                let device = Device::new(format!("/dev/{}", member.name));
                member.stat.mdstat_device = self.devices.name_of(device.as_str()).into_bytes();
                member.stat
            })
            .collect())
    }
}

/// What is to be created.
struct Plan<'a> {
    level: &'a str,
    active: usize,
    missing: u64,
    chunk_kib: Option<i64>,
}

impl<'a> Plan<'a> {
    /// Checks the options against each other.
    fn new(devices: usize, options: &MdCreateOptions<'a>) -> Result<Self> {
        let missing = options.missingbitmap.unwrap_or_default().cast_unsigned();
        let absent = usize::try_from(missing.count_ones()).unwrap_or_default();
        let spare = usize::try_from(options.spare.unwrap_or_default())
            .map_err(|_| Error::invalid("spare must not be negative"))?;
        let active = match options.nrdevices {
            None => devices + absent,
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|&count| count >= 2)
                .ok_or_else(|| Error::invalid("nrdevices is less than 2"))?,
        };
        let level = options.level.unwrap_or("raid1");
        if !LEVELS.contains(&level) && !matches!(level, "raid10" | "10") {
            return Err(Error::invalid(format!("unknown level parameter: {level}")));
        }
        let chunk_kib = match options.chunk {
            Some(bytes) if bytes % 1024 != 0 => {
                return Err(Error::invalid(
                    "chunk size must be a multiple of 1024 bytes",
                ));
            }
            Some(bytes) => Some(bytes / 1024),
            None => None,
        };
        if devices + absent != active + spare {
            return Err(Error::invalid(format!(
                "devices ({devices}) + bits set in missingbitmap ({absent}) \
                 is not equal to nrdevices ({active}) + spare ({spare})"
            )));
        }
        Ok(Self {
            level,
            active,
            missing,
            chunk_kib,
        })
    }
}

/// The devices in order, with `missing` in the places whose bits are set.
fn members(devices: &[Device], missing: u64) -> Vec<OsString> {
    let mut devices = devices.iter();
    let mut left = missing;
    let mut members = Vec::new();
    loop {
        let absent = left & 1 == 1;
        left >>= 1;
        let next = if absent {
            Some(OsString::from("missing"))
        } else {
            devices.next().map(|device| device.path().into())
        };
        match next {
            Some(member) => members.push(member),
            // Without a device for this place, the later ones move up.
            None if left != 0 => {}
            None => return members,
        }
    }
}

/// Whether there is an array behind the device: the kernel may have made it for none.
fn is_running(device: &Device) -> bool {
    let Some(name) = device.path().file_name() else {
        return false;
    };
    let state = Path::new("/sys/block").join(name).join("md/array_state");
    std::fs::read_to_string(state).is_ok_and(|state| state.trim() != "clear")
}

/// What mdadm prints for scripts. Of the array's name, which is the guest's, it prints the first
/// line only.
fn details(output: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    output
        .split(|&byte| byte == b'\n')
        .filter_map(detail)
        .collect()
}

/// `MD_LEVEL=raid1` as `level` and `raid1`.
fn detail(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let line = line.trim_ascii();
    let equals = line.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (line.get(..equals)?, line.get(equals + 1..)?);
    let name = name.strip_prefix(b"MD_").unwrap_or(name);
    Some((name.to_ascii_lowercase(), value.to_vec()))
}

struct Member<'a> {
    name: &'a str,
    stat: Mdstat,
}

/// The members of an array in the kernel's list; `None` if it is not there.
fn members_of<'a>(mdstat: &'a str, array: &str) -> Option<impl Iterator<Item = Member<'a>>> {
    let mut lines = mdstat.lines();
    let members = lines.find_map(|line| line.strip_prefix(array)?.strip_prefix(" : "))?;
    Some(members.split(' ').filter_map(member))
}

/// `sdb1[0](F)`
fn member(word: &str) -> Option<Member<'_>> {
    let (name, rest) = word.split_once('[')?;
    let (index, flags) = rest.split_once(']')?;
    let flags = flags.bytes().filter(u8::is_ascii_alphabetic).collect();
    (!name.is_empty()).then_some(())?;
    Some(Member {
        name,
        stat: Mdstat {
            mdstat_device: Vec::new(),
            mdstat_index: index.parse().ok()?,
            mdstat_flags: flags,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::{all, outputs};

    #[test]
    fn members_of_arrays() {
        let text = "Personalities : [raid1]\n\
                    md12 : active raid1 sdd[0]\n\
                    md1 : active raid1 sdb1[0] sdc1[1](F)(S)\n      1 blocks [2/1] [U_]\n";
        let found: Vec<_> = members_of(text, "md1")
            .expect("md1")
            .map(|member| {
                let flags = String::from_utf8(member.stat.mdstat_flags).expect("letters");
                (member.name, member.stat.mdstat_index, flags)
            })
            .collect();
        assert_eq!(
            found,
            [("sdb1", 0, String::new()), ("sdc1", 1, "FS".to_owned())]
        );
        assert!(members_of(text, "md").is_none());
        assert!(members_of(text, "md2").is_none());
    }

    #[test]
    fn missing_members_have_their_places() {
        let devices = [Device::new("/dev/a"), Device::new("/dev/b")];
        let names = |missing| -> Vec<String> {
            let members = members(&devices, missing);
            members
                .into_iter()
                .map(|member| member.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names(0), ["/dev/a", "/dev/b"]);
        assert_eq!(names(0b010), ["/dev/a", "missing", "/dev/b"]);
        assert_eq!(names(0b101), ["missing", "/dev/a", "missing", "/dev/b"]);
        assert_eq!(names(0b1000), ["/dev/a", "/dev/b", "missing"]);
    }

    #[test]
    fn plans_must_add_up() {
        let options = |nrdevices, spare, missing| MdCreateOptions {
            nrdevices,
            spare,
            missingbitmap: missing,
            ..Default::default()
        };
        assert_eq!(
            Plan::new(2, &options(None, None, None))
                .expect("plan")
                .active,
            2
        );
        assert_eq!(
            Plan::new(2, &options(None, None, Some(2)))
                .expect("plan")
                .active,
            3
        );
        assert!(Plan::new(4, &options(Some(3), Some(1), None)).is_ok());
        for (nrdevices, spare) in [(Some(3), None), (Some(1), None), (None, Some(-1))] {
            assert!(Plan::new(2, &options(nrdevices, spare, None)).is_err());
        }
    }

    fn field(details: &[(Vec<u8>, Vec<u8>)], name: &str) -> Option<String> {
        let found = details.iter().find(|(other, _)| other == name.as_bytes())?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    #[test]
    fn details_of_all_versions() {
        for captured in outputs("mdadm", "detail") {
            let found = details(&captured.bytes);
            // That version cuts a letter off.
            let dev = if captured.version == "4.1" {
                "ev"
            } else {
                "dev"
            };
            for (name, value) in [
                ("level", "raid1"),
                ("devices", "2"),
                ("metadata", "1.2"),
                ("uuid", "01234567:89abcdef:01234567:89abcdef"),
                ("devname", "first"),
                ("name", "host:first"),
                (&format!("device_{dev}_sdb_role"), "0"),
                (&format!("device_{dev}_sdb_dev"), "/dev/sdb"),
                (&format!("device_{dev}_sdd_role"), "spare"),
            ] {
                let version = &captured.version;
                assert_eq!(
                    field(&found, name).as_deref(),
                    Some(value),
                    "{version}: {name}"
                );
            }
        }
        for captured in outputs("mdadm", "detail-missing") {
            let found = details(&captured.bytes);
            assert_eq!(
                field(&found, "devices").as_deref(),
                Some("3"),
                "{}",
                captured.version
            );
            let absent = !found.iter().any(|(_, value)| value == b"missing");
            assert!(absent, "{}", captured.version);
        }
    }

    /// The name goes on after a line end with `MD_LEVEL=raid0`.
    #[test]
    fn names_with_line_ends() {
        for captured in outputs("mdadm", "detail-names") {
            let found = details(&captured.bytes);
            for (name, value) in [("level", "raid1"), ("devices", "3"), ("name", "n")] {
                let version = &captured.version;
                assert_eq!(
                    field(&found, name).as_deref(),
                    Some(value),
                    "{version}: {name}"
                );
            }
            let names = found.iter().filter(|(name, _)| name == b"level");
            assert_eq!(names.count(), 1, "{}", captured.version);
        }
    }

    #[test]
    fn members_by_the_kernel() {
        let stats = |what| {
            let mut captured = all("linux", what);
            let text = captured.remove(0).text();
            let members = members_of(&text, "md127").expect("the array");
            let mut found: Vec<(String, i32, Vec<u8>)> = members
                .map(|member| {
                    let stat = member.stat;
                    (member.name.to_owned(), stat.mdstat_index, stat.mdstat_flags)
                })
                .collect();
            found.sort();
            found
        };
        let member = |name: &str, index, flags: &str| (name.to_owned(), index, flags.into());
        assert_eq!(
            stats("mdstat"),
            [
                member("sdb", 0, ""),
                member("sdc", 1, ""),
                member("sdd", 2, "S")
            ]
        );
        assert_eq!(
            stats("mdstat-failed"),
            [
                member("sdb", 0, ""),
                member("sdc", 1, "F"),
                member("sdd", 2, "")
            ]
        );
    }

    #[test]
    fn details_lose_their_prefix() {
        assert_eq!(
            detail(b"MD_UUID=a:b=c\n"),
            Some((b"uuid".to_vec(), b"a:b=c".to_vec()))
        );
        assert_eq!(detail(b""), None);
        // By mdadm 3.2, and what 4.2 has besides: the devices.
        for (line, name, value) in [
            ("MD_LEVEL=raid1", "level", "raid1"),
            ("MD_DEVICES=2", "devices", "2"),
            ("MD_METADATA=1.2", "metadata", "1.2"),
            ("MD_NAME=host:first", "name", "host:first"),
            ("MD_DEVICE_dev_sda1_ROLE=0", "device_dev_sda1_role", "0"),
            (
                "MD_DEVICE_dev_sda1_DEV=/dev/sda1",
                "device_dev_sda1_dev",
                "/dev/sda1",
            ),
        ] {
            let expected = (name.as_bytes().to_vec(), value.as_bytes().to_vec());
            assert_eq!(detail(line.as_bytes()), Some(expected), "{line}");
        }
    }
}
