//! The geometry of a filesystem, as xfs_info(8) prints it.

use std::str::FromStr;

use protocol::api::Xfsinfo;
use protocol::{Error, Result};

/// What xfs_info(8) prints, as names with their values.
pub(super) type Geometry = Vec<(String, String)>;

/// Sections begin with their name in the first column, perhaps with a value; the numbers of a
/// section get its name in front.
pub(super) fn parse(text: &str) -> Geometry {
    let mut found = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        let Some((head, mut rest)) = line.split_once('=') else {
            continue;
        };
        let head = head.trim_end();
        if !head.is_empty() {
            head.clone_into(&mut section);
            let value = first_value(rest);
            if !value.is_empty() {
                found.push((section.clone(), value.to_owned()));
                rest = rest.get(value.len()..).unwrap_or_default();
            }
        }
        let mut words = rest.split_ascii_whitespace().peekable();
        while let Some(word) = words.next() {
            let Some((name, number)) = word.trim_end_matches(',').split_once('=') else {
                continue;
            };
            if name.is_empty() || number.is_empty() || number.bytes().any(|b| !b.is_ascii_digit()) {
                continue;
            }
            let unit = words
                .peek()
                .map(|unit| unit.trim_end_matches(','))
                .filter(|unit| !word.ends_with(',') && matches!(*unit, "blks" | "extents"));
            let value = match unit {
                Some(unit) => format!("{number} {unit}"),
                None => number.to_owned(),
            };
            found.push((format!("{section}.{name}"), value));
        }
    }
    found
}

/// What stands directly after a section's name: a device, `version 2`, `internal log`.
fn first_value(rest: &str) -> &str {
    if rest.starts_with([' ', '=']) {
        return "";
    }
    let mut ends = rest
        .match_indices(' ')
        .map(|(at, _)| at)
        .chain([rest.len()]);
    let first = ends.next().and_then(|end| rest.get(..end)).unwrap_or(rest);
    let both = ends.next().and_then(|end| rest.get(..end)).unwrap_or(first);
    match both.get(first.len()..) {
        Some(" log") => both,
        Some(second) if first == "version" && second.len() > 1 => both,
        _ => first,
    }
}

/// The same as the structure that callers know.
///
/// # Errors
///
/// When a field is missing, or is no number.
pub(super) fn structure(geometry: &Geometry) -> Result<Xfsinfo> {
    let text = |name: &str| {
        geometry
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Error::new(format!("xfs_info printed no field {name}")))
    };
    fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
        let digits = value.strip_prefix("version ").unwrap_or(value);
        let digits = digits.split(' ').next().unwrap_or_default();
        digits
            .parse()
            .map_err(|_| Error::new(format!("xfs_info printed {value} for {name}")))
    }
    let small = |name: &str| number::<u32>(name, text(name)?);
    let large = |name: &str| number::<u64>(name, text(name)?);
    let bytes = |name: &str| Ok::<_, Error>(text(name)?.as_bytes().to_vec());
    Ok(Xfsinfo {
        xfs_mntpoint: bytes("meta-data")?,
        xfs_inodesize: small("meta-data.isize")?,
        xfs_agcount: small("meta-data.agcount")?,
        xfs_agsize: small("meta-data.agsize")?,
        xfs_sectsize: small("meta-data.sectsz")?,
        xfs_attr: small("meta-data.attr")?,
        xfs_blocksize: small("data.bsize")?,
        xfs_datablocks: large("data.blocks")?,
        xfs_imaxpct: small("data.imaxpct")?,
        xfs_sunit: small("data.sunit")?,
        xfs_swidth: small("data.swidth")?,
        xfs_dirversion: small("naming")?,
        xfs_dirblocksize: small("naming.bsize")?,
        xfs_cimode: small("naming.ascii-ci")?,
        xfs_logname: {
            let name = text("log")?;
            name.strip_suffix(" log").unwrap_or(name).into()
        },
        xfs_logblocksize: small("log.bsize")?,
        xfs_logblocks: small("log.blocks")?,
        xfs_logversion: small("log.version")?,
        xfs_logsectsize: small("log.sectsz")?,
        xfs_logsunit: small("log.sunit")?,
        xfs_lazycount: small("log.lazy-count")?,
        xfs_rtname: bytes("realtime")?,
        xfs_rtextsize: small("realtime.extsz")?,
        xfs_rtblocks: large("realtime.blocks")?,
        xfs_rtextents: large("realtime.rtextents")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    const OUTPUT: &str = "\
meta-data=/dev/sda               isize=512    agcount=4, agsize=20480 blks
         =                       sectsz=512   attr=2, projid32bit=1
         =                       crc=1        finobt=1, sparse=1, rmapbt=0
data     =                       bsize=4096   blocks=81920, imaxpct=25
         =                       sunit=0      swidth=0 blks
naming   =version 2              bsize=4096   ascii-ci=0, ftype=1
log      =internal log           bsize=4096   blocks=16384, version=2
         =                       sectsz=512   sunit=0 blks, lazy-count=1
realtime =none                   extsz=4096   blocks=0, rtextents=0
";

    #[test]
    fn geometry_is_parsed() {
        let geometry = parse(OUTPUT);
        let value = |name: &str| {
            geometry
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("meta-data"), Some("/dev/sda"));
        assert_eq!(value("meta-data.agcount"), Some("4"));
        assert_eq!(value("meta-data.agsize"), Some("20480 blks"));
        assert_eq!(value("meta-data.rmapbt"), Some("0"));
        assert_eq!(value("data"), None);
        assert_eq!(value("data.swidth"), Some("0 blks"));
        assert_eq!(value("naming"), Some("version 2"));
        assert_eq!(value("log"), Some("internal log"));
        assert_eq!(value("log.sunit"), Some("0 blks"));
        assert_eq!(value("log.lazy-count"), Some("1"));
        assert_eq!(value("realtime"), Some("none"));
        let info = structure(&geometry).unwrap();
        assert_eq!((info.xfs_agsize, info.xfs_datablocks), (20480, 81920));
        assert_eq!((info.xfs_dirversion, info.xfs_lazycount), (2, 1));
        assert_eq!(info.xfs_logname, b"internal");
        assert!(structure(&parse("meta-data=x isize=y\n")).is_err());
        assert!(parse("=\nx==\n= = =1 a= =b,,\n").is_empty());
    }

    #[test]
    fn geometry_of_all_versions() {
        for what in ["info", "info-mounted"] {
            for captured in outputs("xfsprogs", what) {
                let version = &captured.version;
                let geometry = parse(&captured.text());
                let info = structure(&geometry).expect("all fields");
                assert_eq!(info.xfs_mntpoint, b"/dev/sdb", "{what}: {version}");
                assert_eq!(
                    (info.xfs_inodesize, info.xfs_agcount),
                    (512, 4),
                    "{version}"
                );
                assert_eq!(
                    (info.xfs_agsize, info.xfs_datablocks),
                    (32768, 131_072),
                    "{version}"
                );
                assert_eq!((info.xfs_sectsize, info.xfs_attr), (512, 2), "{version}");
                assert_eq!(
                    (info.xfs_blocksize, info.xfs_imaxpct),
                    (4096, 25),
                    "{version}"
                );
                assert_eq!((info.xfs_dirversion, info.xfs_cimode), (2, 0), "{version}");
                assert_eq!(info.xfs_logname, b"internal", "{version}");
                assert!(info.xfs_logblocks > 0, "{version}");
                assert_eq!(
                    (info.xfs_logversion, info.xfs_lazycount),
                    (2, 1),
                    "{version}"
                );
                assert_eq!(info.xfs_rtname, b"none", "{version}");
                assert_eq!((info.xfs_rtblocks, info.xfs_rtextents), (0, 0), "{version}");
                for (name, value) in [
                    ("meta-data.agsize", "32768 blks"),
                    ("meta-data.crc", "1"),
                    ("meta-data.bigtime", "1"),
                    ("naming", "version 2"),
                    ("naming.ftype", "1"),
                    ("log", "internal log"),
                    ("data.swidth", "0 blks"),
                ] {
                    // The first of them had no such timestamps by default.
                    let value = match (name, version.as_str()) {
                        ("meta-data.bigtime", "5.10.0") => "0",
                        _ => value,
                    };
                    let found = geometry.iter().find(|(other, _)| other == name);
                    let found = found.map(|(_, value)| value.as_str());
                    assert_eq!(found, Some(value), "{what}: {version}: {name}");
                }
            }
        }
    }

    #[test]
    fn geometry_without_checksums_and_in_several_places() {
        for captured in outputs("xfsprogs", "info-v4") {
            let (version, info) = (&captured.version, structure(&parse(&captured.text())));
            let info = info.expect("all fields");
            assert_eq!(
                (info.xfs_inodesize, info.xfs_blocksize),
                (256, 1024),
                "{version}"
            );
            assert_eq!(
                (info.xfs_cimode, info.xfs_dirblocksize),
                (1, 4096),
                "{version}"
            );
            assert_eq!(info.xfs_logblocksize, 1024, "{version}");
        }
        for captured in outputs("xfsprogs", "info-external") {
            let (version, info) = (&captured.version, structure(&parse(&captured.text())));
            let info = info.expect("all fields");
            assert_eq!((info.xfs_sunit, info.xfs_swidth), (16, 64), "{version}");
            assert_eq!(info.xfs_logname, b"external", "{version}");
            assert_eq!(info.xfs_logblocks, 16384, "{version}");
            assert_eq!(info.xfs_rtname, b"external", "{version}");
            assert_eq!(
                (info.xfs_rtextsize, info.xfs_rtextents),
                (65536, 8192),
                "{version}"
            );
            assert_eq!(info.xfs_rtblocks, 131_072, "{version}");
        }
    }

    /// By xfsprogs 3.1 (Red Hat Enterprise Linux 6), which knew no checksums, and by 6.13, which
    /// has more of everything.
    #[test]
    fn geometry_of_other_versions() {
        let old = "\
meta-data=/dev/vda1              isize=256    agcount=4, agsize=64000 blks
         =                       sectsz=512   attr=2, projid32bit=0
data     =                       bsize=4096   blocks=256000, imaxpct=25
         =                       sunit=0      swidth=0 blks
naming   =version 2              bsize=4096   ascii-ci=0
log      =internal               bsize=4096   blocks=1200, version=2
         =                       sectsz=512   sunit=0 blks, lazy-count=1
realtime =none                   extsz=4096   blocks=0, rtextents=0
";
        let info = structure(&parse(old)).expect("3.1");
        assert_eq!((info.xfs_inodesize, info.xfs_agcount), (256, 4));
        assert_eq!((info.xfs_datablocks, info.xfs_logblocks), (256_000, 1200));
        let new = "\
meta-data=/dev/vda1              isize=512    agcount=4, agsize=76800 blks
         =                       sectsz=4096  attr=2, projid32bit=1
         =                       crc=1        finobt=1, sparse=1, rmapbt=1
         =                       reflink=1    bigtime=1 inobtcount=1 nrext64=1
         =                       exchange=1   metadir=0
data     =                       bsize=4096   blocks=307200, imaxpct=25
         =                       sunit=16     swidth=64 blks
naming   =version 2              bsize=4096   ascii-ci=0, ftype=1, parent=1
log      =internal log           bsize=4096   blocks=16384, version=2
         =                       sectsz=4096  sunit=1 blks, lazy-count=1
realtime =none                   extsz=4096   blocks=0, rtextents=0
         =                       rgcount=0    rgsize=0 extents
         =                       zoned=0      start=0 reserved=0
";
        let info = structure(&parse(new)).expect("6.13");
        assert_eq!((info.xfs_agsize, info.xfs_datablocks), (76800, 307_200));
        assert_eq!((info.xfs_sunit, info.xfs_swidth), (16, 64));
        assert_eq!((info.xfs_logsectsize, info.xfs_logsunit), (4096, 1));
        assert_eq!((info.xfs_rtextsize, info.xfs_rtextents), (4096, 0));
    }
}
