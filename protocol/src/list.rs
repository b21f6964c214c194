//! Lists of structures, on their way into a reply.

use std::marker::PhantomData;

use crate::error::Result;
use crate::host::{DeviceNames, NoDevices, too_large};
use crate::xdr::Encoder;

/// A structure of the IDL.
pub trait Structure: Sized {
    /// Appends the structure as it is on the wire.
    fn encode<N: DeviceNames + ?Sized>(&self, out: &mut Encoder, names: &N);
}

/// A structure without devices: it needs nobody's names for them.
pub trait Plain: Structure {}

/// What a handler returns for a list of structures: short ones are collected, and an
/// [`EncodedList`] becomes one.
#[derive(Debug)]
pub struct List<T>(Items<T>);

#[derive(Debug)]
enum Items<T> {
    Structures(Vec<T>),
    Encoded(EncodedList<T>),
}

impl<T: Structure> List<T> {
    /// Appends the list as it is on the wire.
    pub fn encode<N: DeviceNames + ?Sized>(&self, out: &mut Encoder, names: &N) {
        match &self.0 {
            Items::Structures(structures) => {
                out.len(structures.len());
                for structure in structures {
                    structure.encode(out, names);
                }
            }
            Items::Encoded(list) => {
                out.len(list.count);
                out.fixed(list.bytes());
            }
        }
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(structures: Vec<T>) -> Self {
        Self(Items::Structures(structures))
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(structures: I) -> Self {
        Self::from(Vec::from_iter(structures))
    }
}

impl<T> From<EncodedList<T>> for List<T> {
    fn from(list: EncodedList<T>) -> Self {
        Self(Items::Encoded(list))
    }
}

/// A list that is encoded while it grows, for one whose length is the guest's
/// affair: nothing is in memory twice, and never more than can be sent.
#[derive(Debug)]
pub struct EncodedList<T> {
    count: usize,
    bytes: Encoder,
    structures: PhantomData<fn(&T)>,
}

impl<T> Default for EncodedList<T> {
    fn default() -> Self {
        Self {
            count: 0,
            bytes: Encoder::new(),
            structures: PhantomData,
        }
    }
}

impl<T: Plain> EncodedList<T> {
    /// Adds a structure.
    ///
    /// # Errors
    ///
    /// E2BIG when a reply cannot hold it with the others; the message names the limit.
    pub fn push(&mut self, structure: &T) -> Result<()> {
        structure.encode(&mut self.bytes, &NoDevices);
        self.count += 1;
        self.require_whole()
    }

    /// Adds all structures of another list behind those of this one.
    ///
    /// # Errors
    ///
    /// As for [`EncodedList::push`], of this one or, earlier, of the other.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        other.require_whole()?;
        self.bytes.fixed(other.bytes());
        self.count += other.count;
        self.require_whole()
    }

    fn require_whole(&self) -> Result<()> {
        match self.bytes.overflowed() {
            true => Err(too_large()),
            false => Ok(()),
        }
    }
}

impl<T> EncodedList<T> {
    /// The structures as they are on the wire, without their number.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.bytes()
    }

    /// How many structures it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Device;
    use crate::wire::MESSAGE_MAX;
    use nix::errno::Errno;

    /// A structure of one string.
    struct Name(&'static str);

    impl Structure for Name {
        fn encode<N: DeviceNames + ?Sized>(&self, out: &mut Encoder, _: &N) {
            out.opaque(self.0.as_bytes());
        }
    }

    impl Plain for Name {}

    struct Named(Device);

    impl Structure for Named {
        fn encode<N: DeviceNames + ?Sized>(&self, out: &mut Encoder, names: &N) {
            out.opaque(names.device_name(&self.0).as_bytes());
        }
    }

    struct Caller;

    impl DeviceNames for Caller {
        fn device_name(&self, device: &Device) -> String {
            device.name().replace("vd", "sd")
        }
    }

    fn encoded<T: Structure>(list: impl Into<List<T>>) -> Vec<u8> {
        let mut out = Encoder::new();
        list.into().encode(&mut out, &Caller);
        out.into_bytes()
    }

    fn grown(names: &[&'static str]) -> EncodedList<Name> {
        let mut list = EncodedList::default();
        for &name in names {
            list.push(&Name(name)).unwrap();
        }
        list
    }

    #[test]
    fn both_forms_are_the_same_on_the_wire() {
        let collected: List<Name> = ["one", "", "three"].map(Name).into_iter().collect();
        let collected = encoded(collected);
        assert_eq!(
            collected,
            b"\0\0\0\x03\0\0\0\x03one\0\0\0\0\0\0\0\0\x05three\0\0\0"
        );
        assert_eq!(encoded(grown(&["one", "", "three"])), collected);
        let mut parts = grown(&["one"]);
        parts.append(&EncodedList::default()).unwrap();
        parts.append(&grown(&["", "three"])).unwrap();
        assert_eq!((parts.len(), parts.is_empty()), (3, false));
        assert_eq!(encoded(parts), collected);
        assert_eq!(encoded(EncodedList::<Name>::default()), b"\0\0\0\0");
    }

    #[test]
    fn devices_have_the_callers_names() {
        let device = Device::new("/dev/vda");
        assert_eq!(
            encoded(vec![Named(device)]),
            b"\0\0\0\x01\0\0\0\x08/dev/sda"
        );
    }

    #[test]
    fn what_no_reply_can_hold_is_refused() {
        let mut list = EncodedList::default();
        let refused = loop {
            if let Err(error) = list.push(&Name("four")) {
                break error;
            }
        };
        assert_eq!(refused.errno(), Some(Errno::E2BIG));
        assert!(refused.message().contains("4194304"));
        assert_eq!(list.bytes().len(), MESSAGE_MAX);
        let mut other = EncodedList::default();
        assert!(other.append(&list).is_err(), "it is not whole");
        assert!(other.is_empty());
        let mut half = EncodedList::default();
        while half.bytes().len() <= MESSAGE_MAX / 2 {
            half.push(&Name("four")).unwrap();
        }
        other.append(&half).unwrap();
        assert!(other.append(&half).is_err());
    }
}
