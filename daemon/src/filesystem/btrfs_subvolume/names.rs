//! The names in what `btrfs` prints of a subvolume, as the kernel has them.

use std::fs::File;

use protocol::{Error, Result};

use crate::filesystem::ioctl::{self, Key};
use crate::filesystem::volumes::{SUBVOLUMES, TOP_LEVEL, TREE_OF_TREES, path_from_top};
use crate::room::Room;

/// The kind of an item that describes a tree.
const ROOT: u32 = 132;

type Uuid = [u8; 16];

/// What a subvolume and its snapshots are called.
#[derive(Debug)]
pub(super) struct Names {
    /// Its path below the top of the filesystem.
    pub(super) path: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// The paths of its snapshots: each before those in it, and otherwise by number, as the
    /// program has them.
    pub(super) snapshots: Vec<Vec<u8>>,
}

impl Names {
    /// The names of the subvolume that this is the topmost directory of.
    ///
    /// # Errors
    ///
    /// The errno of the system calls; E2BIG if there are more snapshots than a reply has room for.
    pub(super) fn of(top: &File) -> Result<Self> {
        let id = ioctl::tree_of(top)?;
        let mut room = Room::default();
        let (path, name) = if id == TOP_LEVEL {
            (b"/".to_vec(), b"<FS_TREE>".to_vec())
        } else {
            let (_, path) = path_from_top(top, id, &mut room)?
                .ok_or_else(|| Error::new("the subvolume is being deleted"))?;
            let name = path.rsplit(|&byte| byte == b'/').next();
            let name = name.unwrap_or_default().to_vec();
            (path, name)
        };
        let mut uuid = Uuid::default();
        trees(top, id, id, |_, root| uuid = root.uuid)?;
        let mut ids = Vec::new();
        trees(top, *SUBVOLUMES.start(), *SUBVOLUMES.end(), |id, root| {
            if root.parent == uuid {
                ids.push(id);
            }
        })?;
        let mut snapshots = Vec::new();
        for id in ids {
            snapshots.extend(path_from_top(top, id, &mut room)?);
        }
        snapshots.sort_unstable();
        Ok(Self {
            path,
            name,
            snapshots: snapshots.into_iter().map(|(_, path)| path).collect(),
        })
    }
}

/// What a tree says of itself.
#[derive(Debug, Default, PartialEq)]
struct Root {
    uuid: Uuid,
    /// Of the one that it is a snapshot of.
    parent: Uuid,
}

/// Looks at the trees with these numbers.
fn trees(directory: &File, first: u64, last: u64, mut look: impl FnMut(u64, Root)) -> Result<()> {
    let mut next = Some(Key {
        object: first,
        kind: ROOT,
        offset: 0,
    });
    let to = Key {
        object: last,
        kind: ROOT,
        offset: u64::MAX,
    };
    while let Some(from) = next {
        let items = ioctl::search_tree(directory, TREE_OF_TREES, from, to)?;
        next = items.last().and_then(|(key, _)| key.next());
        for (key, data) in items {
            if key.kind == ROOT {
                look(key.object, parse_root(&data).unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// `struct btrfs_root_item`. A kernel that does not know UUIDs leaves them as they were, and
/// counts only the first of the two generations on.
fn parse_root(data: &[u8]) -> Option<Root> {
    const GENERATION: usize = 160;
    const GENERATION_AGAIN: usize = 239;
    const UUID: usize = 247;
    const PARENT: usize = 263;
    const WHOLE: usize = 439;
    let at = |offset: usize| data.get(offset..);
    let generation = |offset| at(offset)?.first_chunk::<8>();
    if data.len() < WHOLE || generation(GENERATION)? != generation(GENERATION_AGAIN)? {
        return None;
    }
    Some(Root {
        uuid: *at(UUID)?.first_chunk()?,
        parent: *at(PARENT)?.first_chunk()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_count_where_the_kernel_kept_them() {
        let mut data = vec![0; 439];
        data[160] = 7;
        data[239] = 7;
        data[247..263].fill(1);
        data[263..279].fill(2);
        let root = Root {
            uuid: [1; 16],
            parent: [2; 16],
        };
        assert_eq!(parse_root(&data), Some(root));
        assert_eq!(parse_root(&data[..438]), None);
        data[160] = 8;
        assert_eq!(parse_root(&data), None);
    }
}
