//! The records of the database: the group, its disks, then each volume with its components and
//! their partitions. What belongs to something names it by its id.

use super::{Group, Layout, Partition, Volume};

/// All records of a group.
pub(super) fn of(group: &Group) -> Vec<Record> {
    let mut records = Records {
        records: Vec::new(),
        last_id: 0,
        disks: Vec::new(),
    };
    records.group(group);
    for (index, guid) in group.disks.iter().enumerate() {
        records.disk(index, guid);
    }
    for (index, volume) in (0..).zip(&group.volumes) {
        records.volume(index, volume);
    }
    records.records
}

/// The records so far.
struct Records {
    records: Vec<Record>,
    last_id: u64,
    /// The disks' ids.
    disks: Vec<u64>,
}

impl Records {
    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn group(&mut self, group: &Group) {
        let mut record = Record::new(0x35);
        record.number(self.id()).text(group.name).text(group.guid);
        record.raw(&[0; 12]);
        self.records.push(record);
    }

    fn disk(&mut self, index: usize, guid: &str) {
        let id = self.id();
        self.disks.push(id);
        let mut record = Record::new(0x34);
        record.number(id);
        record.text(&format!("Disk{}", index + 1)).text(guid);
        record.text("").raw(&[0; 12]);
        self.records.push(record);
    }

    fn volume(&mut self, index: u8, volume: &Volume) {
        let components: Vec<&[Partition]> = match volume.layout {
            Layout::Mirrored => volume.partitions.chunks(1).collect(),
            _ => vec![&volume.partitions],
        };
        let parity = matches!(volume.layout, Layout::Parity(_));
        let id = self.id();
        let mut record = Record::new(0x51);
        record.number(id).text(volume.name);
        record.text(if parity { "raid5" } else { "gen" });
        record.text("8000000000000000");
        record.raw(b"ACTIVE\0\0\0\0\0\0\0\0");
        record.raw(&[if parity { 4 } else { 3 }, 0, 0, 0, 0, 0, 0]);
        record.number(u64::try_from(components.len()).expect("few"));
        record.raw(&[0; 16]).number(volume.sectors());
        // The type of an NTFS partition; the GUID tells volumes apart.
        record.raw(&[0, 0, 0, 0, 7]).raw(&[0x5a; 15]).raw(&[index]);
        if let Some(hint) = volume.hint {
            record.flags |= 0x02;
            record.text(hint);
        }
        self.records.push(record);

        let mut partitions = 0;
        for (place, component) in (1..).zip(components) {
            let component_id = self.component(volume, id, place, component);
            self.partitions(volume, component_id, component, partitions);
            partitions += component.len();
        }
    }

    /// Returns its id.
    fn component(
        &mut self,
        volume: &Volume,
        volume_id: u64,
        place: usize,
        partitions: &[Partition],
    ) -> u64 {
        let id = self.id();
        let mut record = Record::new(0x32);
        record.number(id);
        record.text(&format!("{}-{place:02}", volume.name));
        record.text("ACTIVE");
        let (kind, chunk) = match volume.layout {
            Layout::Striped(chunk) => (1, Some(chunk)),
            Layout::Concatenated | Layout::Mirrored => (2, None),
            Layout::Parity(chunk) => (3, Some(chunk)),
        };
        let columns = u64::try_from(partitions.len()).expect("few");
        record.raw(&[kind, 0, 0, 0, 0]).number(columns);
        record.raw(&[0; 16]).number(volume_id).raw(&[0]);
        if let Some(chunk) = chunk {
            record.flags |= 0x10;
            record.number(chunk).number(columns);
        }
        self.records.push(record);
        id
    }

    /// The partitions of a component; the volume has `before` that come before them.
    fn partitions(
        &mut self,
        volume: &Volume,
        component_id: u64,
        partitions: &[Partition],
        before: usize,
    ) {
        let mut offset = 0;
        for (index, partition) in partitions.iter().enumerate() {
            let (disk, number) = (partition.disk + 1, before + index + 1);
            let mut record = Record::new(0x33);
            record.number(self.id());
            record.text(&format!("Disk{disk}-{}-{number}", volume.name));
            record.raw(&[0; 12]).raw(&partition.start.to_be_bytes());
            record.raw(&offset_in_volume(volume.layout, offset).to_be_bytes());
            record.number(partition.sectors);
            record
                .number(component_id)
                .number(self.disks[partition.disk]);
            if partitions.len() > 1 {
                record.flags |= 0x08;
                record.number(u64::try_from(index).expect("few"));
            }
            offset += partition.sectors;
            self.records.push(record);
        }
    }
}

/// Only what follows another partition has an offset.
fn offset_in_volume(layout: Layout, offset: u64) -> u64 {
    match layout {
        Layout::Concatenated => offset,
        Layout::Striped(_) | Layout::Mirrored | Layout::Parity(_) => 0,
    }
}

/// A record of the database, without the head of its entry.
pub(super) struct Record {
    /// The version in the upper half, the type in the lower.
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) body: Vec<u8>,
}

impl Record {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            flags: 0,
            body: Vec::new(),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend(bytes);
        self
    }

    /// A number in as few bytes as it needs, after their count.
    fn number(&mut self, number: u64) -> &mut Self {
        let bytes = number.to_be_bytes();
        let zeroes = bytes.iter().take(7).take_while(|&&byte| byte == 0).count();
        self.counted(&bytes[zeroes..])
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.counted(text.as_bytes())
    }

    fn counted(&mut self, bytes: &[u8]) -> &mut Self {
        let count = u8::try_from(bytes.len()).expect("short");
        self.raw(&[count]).raw(bytes)
    }
}
