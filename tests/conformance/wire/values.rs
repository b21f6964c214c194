//! Samples as Rust values, and Rust values as text that can be compared.

use codegen::emit::fixtures::{Fixture, Value, hexadecimal};
use protocol::{
    Device, DeviceOrPath, Filename, GuestPath, Key, List, Mountable, MountableOrPath, resolve,
};

use crate::stubs::Handler;

/// A value in the form of [`Value::dump`].
pub(crate) trait Show {
    fn show(&self) -> String;
}

macro_rules! show {
    ($($ty:ty => |$value:ident| $text:expr;)*) => {
        $(impl Show for $ty {
            fn show(&self) -> String {
                let $value = self;
                $text
            }
        })*
    };
}

show! {
    () => |_value| String::new();
    i32 => |value| value.to_string();
    u32 => |value| value.to_string();
    i64 => |value| value.to_string();
    u64 => |value| value.to_string();
    bool => |value| u8::from(*value).to_string();
    f32 => |value| format!("{:08x}", value.to_bits());
    [u8; 32] => |value| hexadecimal(value);
    &[u8] => |value| hexadecimal(value);
    Vec<u8> => |value| hexadecimal(value);
    &str => |value| hexadecimal(value.as_bytes());
    String => |value| hexadecimal(value.as_bytes());
    Key => |value| hexadecimal(value.as_bytes());
    GuestPath => |value| hexadecimal(value.as_bytes());
    Filename => |value| hexadecimal(value.as_bytes());
    Device => |value| hexadecimal(value.as_str().as_bytes());
    Mountable => |value| hexadecimal(&value.to_wire(value.device().as_str()));
    DeviceOrPath => |value| match value {
        DeviceOrPath::Device(device) => device.show(),
        DeviceOrPath::Path(path) => path.show(),
    };
    MountableOrPath => |value| match value {
        MountableOrPath::Mountable(mountable) => mountable.show(),
        MountableOrPath::Path(path) => path.show(),
    };
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        format!(
            "[{}]",
            self.iter().map(Show::show).collect::<Vec<_>>().join(",")
        )
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Show::show)
    }
}

impl<K: Show, V: Show> Show for (K, V) {
    fn show(&self) -> String {
        format!("{},{}", self.0.show(), self.1.show())
    }
}

/// A Rust value made of a sample.
pub(crate) trait Sample {
    fn sample(value: &Value) -> Self;
}

macro_rules! sample {
    ($($ty:ty => $pattern:pat => $result:expr;)*) => {
        $(impl Sample for $ty {
            fn sample(value: &Value) -> Self {
                match value {
                    $pattern => $result,
                    other => panic!("{other:?} is no {}", stringify!($ty)),
                }
            }
        })*
    };
}

sample! {
    i32 => Value::Int(value) => *value;
    u32 => Value::UInt(value) => *value;
    i64 => Value::Hyper(value) => *value;
    u64 => Value::UHyper(value) => *value;
    bool => Value::Bool(value) => *value;
    f32 => Value::Float(value) => *value;
    [u8; 32] => Value::Fixed(value) => *value;
    Vec<u8> => Value::Bytes(value) => value.clone();
    String => Value::Bytes(value) => text_of(value).to_owned();
    Device => Value::Bytes(value) => Device::new(text_of(value));
    Mountable => Value::Bytes(value) => {
        resolve::mountable(&mut Handler::default(), value).expect("a sample is a mountable")
    };
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(value: &Value) -> Self {
        items(value).iter().map(Sample::sample).collect()
    }
}

impl<T: Sample> Sample for List<T> {
    fn sample(value: &Value) -> Self {
        Vec::sample(value).into()
    }
}

impl<K: Sample, V: Sample> Sample for Vec<(K, V)> {
    fn sample(value: &Value) -> Self {
        items(value)
            .chunks_exact(2)
            .map(|pair| (K::sample(&pair[0]), V::sample(&pair[1])))
            .collect()
    }
}

pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        other => panic!("{other:?} is no list"),
    }
}

pub(crate) fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Struct(fields) => {
            let (_, value) = fields
                .iter()
                .find(|(field, _)| field == name)
                .expect("a sample has all fields");
            value
        }
        other => panic!("{other:?} is no structure"),
    }
}

pub(crate) fn character(value: &Value) -> u8 {
    match value {
        Value::Char(value) => *value,
        other => panic!("{other:?} is no character"),
    }
}

pub(crate) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(value) => value,
        other => panic!("{other:?} is no string"),
    }
}

pub(crate) fn text(value: &Value) -> &str {
    text_of(bytes(value))
}

pub(crate) fn text_of(value: &[u8]) -> &str {
    std::str::from_utf8(value).expect("a sample of text is UTF-8")
}

pub(crate) fn optional(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Optional(value) => value.as_deref(),
        other => panic!("{other:?} is not optional"),
    }
}

pub(crate) fn strings(value: &Value) -> Vec<&[u8]> {
    items(value).iter().map(bytes).collect()
}

pub(crate) fn param<'a>(fixture: &'a Fixture, name: &str) -> &'a Value {
    let (_, value) = fixture
        .params
        .iter()
        .find(|(param, _)| param == name)
        .expect("a sample has all parameters");
    value
}

pub(crate) fn option(fixture: &Fixture, bit: usize) -> Option<&Value> {
    fixture.is_set(bit).then(|| &fixture.options[bit].1)
}
