//! Btrfs subvolumes, as far as finding and mounting filesystems needs them.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::RangeInclusive;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use protocol::{Context, Error, Mountable, Result};

use super::ioctl::{self, Key};
use crate::command::Command;
use crate::room::Room;
use crate::scratch::MountPoint;

/// The tree that has all others in it.
pub(super) const TREE_OF_TREES: u64 = 1;
/// What is mounted unless something else is asked for or set.
pub(super) const TOP_LEVEL: u64 = 5;
/// The numbers that other subvolumes can have.
pub(super) const SUBVOLUMES: RangeInclusive<u64> = 256..=u64::MAX - 255;
/// The kind of an item that says where a subvolume is.
const BACK_REFERENCE: u32 = 144;

/// What a subvolume takes in a list of them besides its path: two numbers, and the path's length.
const LISTED: usize = 8 + 8 + 4;

/// A subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subvolume {
    /// Its number.
    pub(crate) id: u64,
    /// The number of the subvolume that it is in.
    pub(crate) top_level: u64,
    /// Its path below the top of the filesystem.
    pub(crate) path: Vec<u8>,
}

/// The mount option that selects the subvolume of a mountable; empty for a whole device.
///
/// # Errors
///
/// EINVAL for a name that the kernel would take for further options: the guest chose it.
pub(super) fn mount_option(mountable: &Mountable) -> Result<Vec<u8>> {
    let Some(volume) = mountable.volume() else {
        return Ok(Vec::new());
    };
    if volume.contains(&b',') {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{mountable}: a subvolume whose name has a comma inside cannot be mounted"),
        ));
    }
    Ok([b"subvol=", volume].concat())
}

/// The same for mount(8), to which more characters have a meaning: what follows a quotation mark, or
/// a backslash at the end, would not be another option but a part of the name. Without its end the
/// quotation takes this option itself with it, and another subvolume is mounted, for writing.
///
/// # Errors
///
/// EINVAL for such names also.
pub(super) fn mount_word(mountable: &Mountable) -> Result<Vec<u8>> {
    let volume = mountable.volume().unwrap_or_default();
    if volume.contains(&b'"') || volume.ends_with(b"\\") {
        return Err(Error::invalid(format!(
            "{mountable}: a subvolume cannot be mounted whose name has a quotation mark inside or \
             ends in a backslash"
        )));
    }
    mount_option(mountable)
}

/// A btrfs filesystem that is mounted outside the guest for a moment.
#[derive(Debug)]
pub(crate) struct Scratch(MountPoint);

impl Scratch {
    /// Mounts a subvolume, the default one of a whole device, to be looked at only.
    ///
    /// # Errors
    ///
    /// The errno of mount(2), and those of [`mount_option`].
    pub(crate) fn mount(mountable: &Mountable) -> Result<Self> {
        match Self::attach(mountable, MsFlags::MS_RDONLY) {
            // It is mounted in the guest for writing, and the kernel wants both alike.
            Err(error) if error.errno() == Some(Errno::EBUSY) => Self::mount_writable(mountable),
            other => other,
        }
    }

    /// Mounts a subvolume, the default one of a whole device, to be changed.
    ///
    /// # Errors
    ///
    /// The errno of mount(2), and those of [`mount_option`].
    pub(crate) fn mount_writable(mountable: &Mountable) -> Result<Self> {
        Self::attach(mountable, MsFlags::empty())
    }

    fn attach(mountable: &Mountable, flags: MsFlags) -> Result<Self> {
        let option = mount_option(mountable)?;
        let scratch = Self(MountPoint::new()?);
        mount(
            Some(mountable.device().path()),
            scratch.0.path(),
            Some("btrfs"),
            flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            (!option.is_empty()).then_some(&option[..]),
        )
        .context(mountable)?;
        Ok(scratch)
    }

    /// The top of what is mounted.
    ///
    /// # Errors
    ///
    /// The errno of open(2).
    pub(crate) fn open(&self) -> Result<File> {
        File::open(self.0.path()).context(self.0.path().display())
    }
}

/// The subvolumes of the btrfs filesystem that the open directory is on, by number. Their paths
/// begin at the top of the filesystem, or where the subvolume begins that the directory is in.
///
/// The kernel is asked, since `btrfs subvolume list` prints names as they are: one with a line end
/// inside can look like the line of another subvolume.
///
/// # Errors
///
/// When this is no btrfs; the errno of the system calls; E2BIG if the paths are longer than a reply
/// can be.
pub(crate) fn list(directory: &File) -> Result<Vec<Subvolume>> {
    let here = ioctl::tree_of(directory).map_err(|errno| match errno {
        // Callers know it without an errno.
        Errno::ENOTTY => Error::new("not on a btrfs filesystem"),
        errno => errno.into(),
    })?;
    let mut room = Room::default();
    let places = places(directory, &mut room)?;
    let mut found = Vec::new();
    for (&id, place) in &places {
        let Some(path) = path(&places, place, here, &mut room)? else {
            continue;
        };
        found.push(Subvolume {
            id,
            top_level: place.parent,
            path,
        });
    }
    Ok(found)
}

/// Where a subvolume is.
#[derive(Debug)]
struct Place {
    /// The number of the subvolume that it is in.
    parent: u64,
    /// Its path there.
    path: Vec<u8>,
}

/// Where each subvolume is that was not deleted, by number.
fn places(directory: &File, room: &mut Room) -> Result<BTreeMap<u64, Place>> {
    let mut places = BTreeMap::new();
    let [mut from, to] = [SUBVOLUMES.start(), SUBVOLUMES.end()].map(|&object| Key {
        object,
        kind: BACK_REFERENCE,
        offset: 0,
    });
    loop {
        let items = ioctl::search_tree(directory, TREE_OF_TREES, from, to)?;
        let Some(&(last, _)) = items.last() else {
            return Ok(places);
        };
        for (key, data) in items {
            // There is more about each of them than where it is.
            if key.kind != BACK_REFERENCE {
                continue;
            }
            if let Some(place) = place(directory, key, &data)? {
                room.take(LISTED + place.path.len())?;
                places.insert(key.object, place);
            }
        }
        match last.next() {
            Some(next) => from = next,
            None => return Ok(places),
        }
    }
}

/// Where a subvolume is; `None` if it is deleted just now.
fn place(directory: &File, key: Key, data: &[u8]) -> Result<Option<Place>> {
    let Some((parent_directory, name)) = parse_reference(data) else {
        return Ok(None);
    };
    let parent = key.offset;
    let mut path = match ioctl::directory_in_tree(directory, parent, parent_directory) {
        // With what it is in.
        Err(Errno::ENOENT) => return Ok(None),
        path => path?,
    };
    path.extend_from_slice(name);
    Ok(Some(Place { parent, path }))
}

/// `struct btrfs_root_ref`: the directory and the name.
fn parse_reference(data: &[u8]) -> Option<(u64, &[u8])> {
    let (directory, rest) = data.split_first_chunk()?;
    let (_sequence, rest) = rest.split_at_checked(size_of::<u64>())?;
    let (length, name) = rest.split_first_chunk()?;
    let name = name.get(..u16::from_le_bytes(*length).into())?;
    Some((u64::from_le_bytes(*directory), name))
}

/// The path of a subvolume; `None` if it is in none that is there, as after a deletion or on a
/// damaged filesystem.
fn path(
    places: &BTreeMap<u64, Place>,
    place: &Place,
    here: u64,
    room: &mut Room,
) -> Result<Option<Vec<u8>>> {
    let mut components = vec![&*place.path];
    let mut parent = place.parent;
    while parent != here && parent != TOP_LEVEL {
        let Some(above) = places.get(&parent) else {
            return Ok(None);
        };
        if components.len() > places.len() {
            return Ok(None);
        }
        room.take(above.path.len() + 1)?;
        components.push(&above.path);
        parent = above.parent;
    }
    components.reverse();
    Ok(Some(components.join(&b'/')))
}

/// A subvolume's path below the top of the filesystem, and the numbers of those that it is in,
/// the outermost first, and its own; `None` as above.
pub(super) fn path_from_top(
    directory: &File,
    mut id: u64,
    room: &mut Room,
) -> Result<Option<(Vec<u64>, Vec<u8>)>> {
    let (mut ids, mut components) = (Vec::new(), Vec::new());
    while id != TOP_LEVEL {
        let [from, to] = [0, u64::MAX].map(|offset| Key {
            object: id,
            kind: BACK_REFERENCE,
            offset,
        });
        let items = ioctl::search_tree(directory, TREE_OF_TREES, from, to)?;
        let found = match items.first() {
            Some((key, data)) => place(directory, *key, data)?,
            None => None,
        };
        let Some(above) = found else {
            return Ok(None);
        };
        // They could be each in another, but not for ever.
        room.take(above.path.len() + 1)?;
        components.push(above.path);
        ids.push(id);
        id = above.parent;
    }
    ids.reverse();
    components.reverse();
    Ok(Some((ids, components.join(&b'/'))))
}

/// The number of the subvolume that is mounted if none is named.
///
/// # Errors
///
/// When `btrfs` fails, or what it prints is not understood.
pub(crate) fn default(directory: &File) -> Result<u64> {
    let out = Command::new("btrfs")
        .args(["subvolume", "get-default"])
        .cwd(directory)
        .arg(".")
        .run()?
        .stdout;
    let text = String::from_utf8_lossy(&out);
    parse_default(&text).ok_or_else(|| {
        Error::new(format!(
            "unexpected output from 'btrfs subvolume get-default' command: {text}"
        ))
    })
}

/// `ID 5 (FS_TREE)` or `ID 256 gen 7 top level 5 path NAME`.
fn parse_default(text: &str) -> Option<u64> {
    let (id, _) = text.strip_prefix("ID ")?.split_once(' ')?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use protocol::Device;

    use super::*;
    use crate::captured::outputs;

    fn place(parent: u64, path: &[u8]) -> Place {
        let path = path.to_vec();
        Place { parent, path }
    }

    #[test]
    fn paths_begin_where_one_is() {
        let places = BTreeMap::from([
            (256, place(5, b"dir/one")),
            (257, place(256, b"inner")),
            (258, place(257, b"a\nID 9 gen 1 top level 5 path x")),
            (259, place(999, b"of one that is gone")),
            (260, place(261, b"each in")),
            (261, place(260, b"the other")),
        ]);
        let path = |id, here| {
            let found = path(&places, &places[&id], here, &mut Room::default());
            found.expect("room")
        };
        let forged = "a\nID 9 gen 1 top level 5 path x";
        for (id, here, expected) in [
            (256, 5, Some("dir/one".to_owned())),
            (257, 5, Some("dir/one/inner".to_owned())),
            (258, 5, Some(format!("dir/one/inner/{forged}"))),
            (258, 256, Some(format!("inner/{forged}"))),
            (258, 257, Some(forged.to_owned())),
            (256, 257, Some("dir/one".to_owned())),
            (259, 5, None),
            (260, 5, None),
        ] {
            let expected = expected.map(String::into_bytes);
            assert_eq!(path(id, here), expected, "{id} from {here}");
        }
    }

    #[test]
    fn paths_have_no_more_room_than_a_reply() {
        let name = [b'n'; 255];
        let deep: BTreeMap<_, _> = (256..4096).map(|id| (id, place(id - 1, &name))).collect();
        let mut room = Room::default();
        let all: Result<Vec<_>> = deep
            .values()
            .map(|place| path(&deep, place, 255, &mut room))
            .collect();
        assert_eq!(all.unwrap_err().errno(), Some(Errno::E2BIG));
    }

    #[test]
    fn references_have_a_directory_and_a_name() {
        let fixed = [&256u64.to_le_bytes()[..], &[9; 8], &[2, 0]].concat();
        let whole = [&fixed[..], b"abc"].concat();
        assert_eq!(parse_reference(&whole), Some((256, &b"ab"[..])));
        for cut in [0, 7, 15, 17, 19] {
            assert_eq!(parse_reference(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn defaults_of_all_versions() {
        for (what, expected) in [("default", 5), ("default-set", 256)] {
            for captured in outputs("btrfs-progs", what) {
                let found = parse_default(&captured.text());
                assert_eq!(found, Some(expected), "{}", captured.version);
            }
        }
        assert_eq!(parse_default("ERROR: x"), None);
    }

    #[test]
    fn names_cannot_smuggle_mount_options() {
        let device = Device::new("/dev/sda");
        let option = |volume: &str| mount_option(&Mountable::btrfs(device.clone(), volume));
        assert_eq!(option("a b").unwrap(), b"subvol=a b");
        assert_eq!(option("a,rw").unwrap_err().errno(), Some(Errno::EINVAL));
        assert_eq!(mount_option(&Mountable::from(device.clone())).unwrap(), b"");
    }
}
