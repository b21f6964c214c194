//! The arguments of mke2fs(8).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use protocol::api::Mke2fsOptions;
use protocol::{Error, Result};

use super::not_negative;
use crate::devices::Devices;

/// Options with a number.
pub(super) fn counts(options: &Mke2fsOptions<'_>) -> Result<Vec<String>> {
    let mut args = Vec::new();
    for (flag, name, value) in [
        ("-b", "blocksize", options.blocksize),
        ("-f", "fragsize", options.fragsize),
        ("-g", "blockspergroup", options.blockspergroup),
        ("-G", "numberofgroups", options.numberofgroups),
        ("-i", "bytesperinode", options.bytesperinode),
        ("-I", "inodesize", options.inodesize),
        ("-N", "numberofinodes", options.numberofinodes),
        (
            "-m",
            "reservedblockspercentage",
            options.reservedblockspercentage.map(i64::from),
        ),
    ] {
        if let Some(value) = value {
            args.extend([flag.to_owned(), not_negative(name, value)?]);
        }
    }
    if let Some(size) = options.journalsize {
        let size = not_negative("journalsize", size)?;
        args.extend(["-J".to_owned(), format!("size={size}")]);
    }
    Ok(args)
}

/// Options with a word, or with nothing.
pub(super) fn words<'a>(options: &Mke2fsOptions<'a>) -> Result<Vec<&'a OsStr>> {
    if let Some(fstype) = options.fstype {
        require_ext(fstype)?;
    }
    let mut args = Vec::new();
    for (flag, value) in [
        ("-L", options.label),
        ("-M", options.lastmounteddir),
        ("-o", options.creatoros.map(str::as_bytes)),
        ("-t", options.fstype.map(str::as_bytes)),
        ("-T", options.usagetype.map(str::as_bytes)),
        ("-U", options.uuid.map(str::as_bytes)),
    ] {
        if let Some(value) = value {
            args.extend([OsStr::new(flag), OsStr::from_bytes(value)]);
        }
    }
    for (flag, wanted) in [
        ("-F", options.forcecreate),
        ("-S", options.writesbandgrouponly),
    ] {
        if wanted == Some(true) {
            args.push(OsStr::new(flag));
        }
    }
    Ok(args)
}

pub(super) fn extended(options: &Mke2fsOptions<'_>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (word, name, value) in [
        (
            "mmp_update_interval",
            "mmpupdateinterval",
            options.mmpupdateinterval.map(i64::from),
        ),
        ("stride", "stridesize", options.stridesize),
        ("stripe-width", "stripewidth", options.stripewidth),
        ("resize", "maxonlineresize", options.maxonlineresize),
    ] {
        if let Some(value) = value {
            all.push(format!("{word}={}", not_negative(name, value)?));
        }
    }
    for (word, wanted) in [
        ("lazy_itable_init", options.lazyitableinit),
        ("lazy_journal_init", options.lazyjournalinit),
    ] {
        if let Some(wanted) = wanted {
            all.push(format!("{word}={}", u8::from(wanted)));
        }
    }
    if options.testfs == Some(true) {
        all.push("test_fs".to_owned());
    }
    match options.discard {
        Some(true) => all.push("discard".to_owned()),
        Some(false) => all.push("nodiscard".to_owned()),
        None => {}
    }
    Ok(all)
}

pub(super) fn features(options: &Mke2fsOptions<'_>) -> Vec<String> {
    [
        ("extent", options.extent),
        ("filetype", options.filetype),
        ("flex_bg", options.flexbg),
        ("has_journal", options.hasjournal),
        ("journal_dev", options.journaldev),
        ("large_file", options.largefile),
        ("quota", options.quota),
        ("resize_inode", options.resizeinode),
        ("sparse_super", options.sparsesuper),
        ("uninit_bg", options.uninitbg),
    ]
    .into_iter()
    .filter_map(|(name, wanted)| {
        wanted.map(|wanted| {
            let not = if wanted { "" } else { "^" };
            format!("{not}{name}")
        })
    })
    .collect()
}

/// `device=...`, as mke2fs takes the place of an external journal.
pub(super) fn journal_place(devices: &Devices, journal: &[u8]) -> Result<OsString> {
    if journal.starts_with(b"UUID=") || journal.starts_with(b"LABEL=") {
        return journal_option(journal);
    }
    let name = std::str::from_utf8(journal)
        .ok()
        .filter(|name| name.starts_with("/dev/"))
        .ok_or_else(|| {
            Error::invalid(format!(
                "{}: the journal device must be a device, UUID=... or LABEL=...",
                String::from_utf8_lossy(journal)
            ))
        })?;
    journal_option(devices.translate(name)?.as_str().as_bytes())
}

/// EINVAL for a place that mke2fs would take for further options.
pub(super) fn journal_option(place: &[u8]) -> Result<OsString> {
    if place.contains(&b',') {
        return Err(Error::invalid(format!(
            "{}: a journal whose name has a comma inside cannot be used",
            String::from_utf8_lossy(place)
        )));
    }
    Ok(OsString::from_vec([b"device=", place].concat()))
}

/// Whether mke2fs makes filesystems of this type. What it is not configured for it refuses only after
/// it has erased what was there.
pub(super) fn makes(fstype: &str) -> bool {
    matches!(fstype, "ext2" | "ext3" | "ext4")
}

pub(super) fn require_ext(fstype: &str) -> Result<()> {
    if makes(fstype) {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "{fstype}: not a valid extended filesystem type"
        )))
    }
}

#[cfg(test)]
mod tests {
    use protocol::Error;

    use super::*;

    #[test]
    fn options_of_mke2fs() {
        let options = Mke2fsOptions {
            stridesize: Some(4),
            lazyitableinit: Some(false),
            discard: Some(false),
            flexbg: Some(false),
            quota: Some(true),
            forcecreate: Some(false),
            blocksize: Some(1024),
            label: Some(b"-x"),
            ..Mke2fsOptions::default()
        };
        assert_eq!(
            extended(&options).unwrap(),
            ["stride=4", "lazy_itable_init=0", "nodiscard"]
        );
        assert_eq!(features(&options), ["^flex_bg", "quota"]);
        assert_eq!(counts(&options).unwrap(), ["-b", "1024"]);
        assert_eq!(words(&options).unwrap(), ["-L", "-x"]);
    }

    #[test]
    fn bad_values_name_the_parameter() {
        let options = Mke2fsOptions {
            stripewidth: Some(-1),
            inodesize: Some(-1),
            fstype: Some("xfs"),
            ..Mke2fsOptions::default()
        };
        let message = |error: Error| error.message().to_owned();
        assert_eq!(
            message(extended(&options).unwrap_err()),
            "stripewidth must be >= 0"
        );
        assert_eq!(
            message(counts(&options).unwrap_err()),
            "inodesize must be >= 0"
        );
        assert!(words(&options).is_err());
        assert!(journal_option(b"LABEL=a,size=1").is_err());
    }
}
