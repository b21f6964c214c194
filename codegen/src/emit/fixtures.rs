//! Samples of every message body: values, and the bytes that they are on the wire.
//!
//! The encoder here knows the model and RFC 4506, and shares nothing with the
//! `protocol` crate, so that the two can be held against each other.

use std::fmt::Write as _;

use crate::model::{
    Action, Field, FieldType, ListItem, Model, OptionType, ParamType, ResultItem, ResultType,
    Struct,
};

/// A value on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `int`
    Int(i32),
    /// `unsigned int`
    UInt(u32),
    /// `hyper`
    Hyper(i64),
    /// `unsigned hyper`
    UHyper(u64),
    /// `bool`
    Bool(bool),
    /// `float`
    Float(f32),
    /// `char`
    Char(u8),
    /// `opaque[32]`
    Fixed([u8; 32]),
    /// `opaque<>` and `string<>`
    Bytes(Vec<u8>),
    /// `string *`
    Optional(Option<Vec<u8>>),
    /// An array of strings or of structures.
    List(Vec<Value>),
    /// A structure's fields.
    Struct(Vec<(String, Value)>),
}

impl Value {
    /// Appends the value's XDR form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => out.extend(value.to_be_bytes()),
            Self::UInt(value) => out.extend(value.to_be_bytes()),
            Self::Hyper(value) => out.extend(value.to_be_bytes()),
            Self::UHyper(value) => out.extend(value.to_be_bytes()),
            Self::Bool(value) => out.extend(u32::from(*value).to_be_bytes()),
            Self::Float(value) => out.extend(value.to_bits().to_be_bytes()),
            // As a C compiler with signed characters widens it.
            Self::Char(value) => out.extend(i32::from(value.cast_signed()).to_be_bytes()),
            Self::Fixed(value) => out.extend(value),
            Self::Bytes(value) => opaque(value, out),
            Self::Optional(None) => out.extend([0; 4]),
            Self::Optional(Some(value)) => {
                out.extend(1u32.to_be_bytes());
                opaque(value, out);
            }
            Self::List(items) => {
                length(items.len(), out);
                items.iter().for_each(|item| item.encode(out));
            }
            Self::Struct(fields) => fields.iter().for_each(|(_, value)| value.encode(out)),
        }
    }

    /// The value as text that other implementations can print too.
    #[must_use]
    pub fn dump(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::UInt(value) => value.to_string(),
            Self::Hyper(value) => value.to_string(),
            Self::UHyper(value) => value.to_string(),
            Self::Bool(value) => u8::from(*value).to_string(),
            Self::Float(value) => format!("{:08x}", value.to_bits()),
            Self::Char(value) => value.to_string(),
            Self::Fixed(value) => hexadecimal(value),
            Self::Bytes(value) | Self::Optional(Some(value)) => hexadecimal(value),
            Self::Optional(None) => "-".to_owned(),
            Self::List(items) => format!(
                "[{}]",
                items.iter().map(Self::dump).collect::<Vec<_>>().join(",")
            ),
            Self::Struct(fields) => {
                format!(
                    "{{{}}}",
                    fields
                        .iter()
                        .map(|(_, value)| value.dump())
                        .collect::<Vec<_>>()
                        .join(",")
                )
            }
        }
    }
}

fn length(length: usize, out: &mut Vec<u8>) {
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn opaque(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len(), out);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Bytes in quotes, two digits each.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 2);
    text.push('"');
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    text
}

/// Which values a sample has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Values that differ from each other, all options set.
    Typical,
    /// The smallest values, empty lists and strings, no options set.
    Smallest,
    /// The largest values, long lists and strings, every other option set.
    Largest,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Typical, Self::Smallest, Self::Largest];
}

/// A call and its reply.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// The action's name.
    pub action: String,
    /// The action's number.
    pub number: u32,
    /// Which values it has.
    pub variant: Variant,
    /// The parameters that are in the message, in order.
    pub params: Vec<(String, Value)>,
    /// The options, in order; those that are not set are empty.
    pub options: Vec<(String, Value)>,
    /// The bits of the options that are set.
    pub bits: u64,
    /// The result.
    pub result: Option<(String, Value)>,
}

impl Fixture {
    /// The body of the call.
    #[must_use]
    pub fn call_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.params
            .iter()
            .chain(&self.options)
            .for_each(|(_, value)| value.encode(&mut out));
        out
    }

    /// The body of the reply.
    #[must_use]
    pub fn reply_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.result
            .iter()
            .for_each(|(_, value)| value.encode(&mut out));
        out
    }

    /// Whether option number `bit` is set.
    #[must_use]
    pub fn is_set(&self, bit: usize) -> bool {
        self.bits >> bit & 1 == 1
    }
}

/// Samples for every action, retired ones included.
#[must_use]
pub fn fixtures(model: &Model) -> Vec<Fixture> {
    let structs: Vec<&Struct> = model
        .modules
        .iter()
        .flat_map(|module| &module.structs)
        .collect();
    let actions = model.modules.iter().flat_map(|module| &module.actions);
    actions
        .flat_map(|action| Variant::ALL.map(|variant| fixture(action, variant, &structs)))
        .collect()
}

fn fixture(action: &Action, variant: Variant, structs: &[&Struct]) -> Fixture {
    let sample = |name: &str, place: usize| Sample {
        name: name.to_owned(),
        salt: i64::from(action.number) * 100 + i64::try_from(place).unwrap_or_default(),
        variant,
    };
    let params = action
        .params
        .iter()
        .enumerate()
        .filter(|(_, param)| !matches!(param.ty, ParamType::FileIn | ParamType::FileOut))
        .map(|(place, param)| {
            (
                param.name.clone(),
                sample(&param.name, place).param(param.ty),
            )
        })
        .collect();
    let mut bits = 0;
    let options = action
        .options
        .iter()
        .enumerate()
        .map(|(bit, option)| {
            let set = match variant {
                Variant::Typical => true,
                Variant::Smallest => false,
                Variant::Largest => bit % 2 == 0,
            };
            bits |= u64::from(set) << bit;
            let value = if set {
                sample(&option.name, 50 + bit).option(option.ty)
            } else {
                unset(option.ty)
            };
            (option.name.clone(), value)
        })
        .collect();
    let result = action.result.as_ref().map(|result| {
        (
            result.name.clone(),
            sample(&result.name, 99).result(&result.ty, structs),
        )
    });
    Fixture {
        action: action.name.clone(),
        number: action.number,
        variant,
        params,
        options,
        bits,
        result,
    }
}

/// What stands in the place of an option that is not set.
fn unset(ty: OptionType) -> Value {
    match ty {
        OptionType::Bool => Value::Bool(false),
        OptionType::Int => Value::Int(0),
        OptionType::Int64 => Value::Hyper(0),
        OptionType::String | OptionType::Text => Value::Bytes(Vec::new()),
        OptionType::StringList => Value::List(Vec::new()),
    }
}

/// One value to be made up.
struct Sample {
    /// Goes into strings.
    name: String,
    /// Goes into numbers.
    salt: i64,
    variant: Variant,
}

impl Sample {
    fn int(&self) -> Value {
        Value::Int(match self.variant {
            Variant::Typical => i32::try_from(-self.salt).unwrap_or(-1),
            Variant::Smallest => i32::MIN,
            Variant::Largest => i32::MAX,
        })
    }

    fn hyper(&self) -> Value {
        Value::Hyper(match self.variant {
            Variant::Typical => -(self.salt << 32) - 7,
            Variant::Smallest => i64::MIN,
            Variant::Largest => i64::MAX,
        })
    }

    fn bool(&self) -> Value {
        Value::Bool(self.variant != Variant::Smallest)
    }

    /// Text that begins with `prefix`, is not ASCII and whose length needs padding.
    fn text(&self, prefix: &str) -> Value {
        let name = &self.name;
        Value::Bytes(match self.variant {
            Variant::Typical => format!("{prefix}{name} é {}", self.salt).into_bytes(),
            Variant::Smallest => prefix.to_owned().into_bytes(),
            Variant::Largest => format!("{prefix}{}", format!("{name}-").repeat(100)).into_bytes(),
        })
    }

    /// What [`Self::text`] gives, with bytes that are not UTF-8; a NUL in it if `nul`.
    fn bytes(&self, prefix: &str, nul: bool) -> Value {
        let Value::Bytes(mut bytes) = self.text(prefix) else {
            return self.text(prefix);
        };
        if self.variant != Variant::Smallest {
            bytes.extend([0xff, 0xfe, b'\n']);
            bytes.extend(nul.then_some(0));
        }
        Value::Bytes(bytes)
    }

    fn device(&self) -> Value {
        Value::Bytes(match self.variant {
            Variant::Typical => format!("/dev/{}{}", self.name, self.salt).into_bytes(),
            Variant::Smallest => b"/dev/a".to_vec(),
            Variant::Largest => format!("/dev/mapper/{}", "x".repeat(255)).into_bytes(),
        })
    }

    fn mountable(&self) -> Value {
        match self.variant {
            Variant::Typical => {
                Value::Bytes(format!("btrfsvol:/dev/sd{}/sub/volume", self.salt).into_bytes())
            }
            Variant::Smallest | Variant::Largest => self.device(),
        }
    }

    /// A list of three, none or a hundred.
    fn list(&self, item: impl Fn(&Self) -> Value) -> Value {
        let count = match self.variant {
            Variant::Typical => 3,
            Variant::Smallest => 0,
            Variant::Largest => 100,
        };
        Value::List(
            (0..count)
                .map(|n| {
                    // Among the largest is one of the smallest.
                    let variant = if n == 7 {
                        Variant::Smallest
                    } else {
                        self.variant
                    };
                    item(&Self {
                        name: format!("{}{n}", self.name),
                        salt: self.salt + n,
                        variant,
                    })
                })
                .collect(),
        )
    }

    fn param(&self, ty: ParamType) -> Value {
        match ty {
            ParamType::String | ParamType::Key => self.bytes("", false),
            ParamType::NullableString => {
                Value::Optional(match (self.variant, self.bytes("", false)) {
                    (Variant::Typical | Variant::Largest, Value::Bytes(bytes)) => Some(bytes),
                    _ => None,
                })
            }
            ParamType::Text => self.text(""),
            ParamType::Guid => Value::Bytes(match self.variant {
                Variant::Typical => {
                    format!("{:08x}-89ab-CDEF-0123-456789abcdef", self.salt).into_bytes()
                }
                Variant::Smallest => b"00000000-0000-0000-0000-000000000000".to_vec(),
                Variant::Largest => b"{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}".to_vec(),
            }),
            ParamType::Pathname => self.bytes("/", false),
            ParamType::Device => self.device(),
            ParamType::Mountable => self.mountable(),
            ParamType::DeviceOrPath => match self.variant {
                Variant::Typical => self.device(),
                _ => self.bytes("/", false),
            },
            ParamType::MountableOrPath => match self.variant {
                Variant::Typical => self.mountable(),
                _ => self.bytes("/", false),
            },
            ParamType::Buffer => self.bytes("", true),
            ParamType::Int => self.int(),
            ParamType::Int64 => self.hyper(),
            ParamType::Bool => self.bool(),
            ParamType::FileIn | ParamType::FileOut => Value::Struct(Vec::new()),
            ParamType::List(item) => self.list(|sample| match item {
                ListItem::String => sample.bytes("", false),
                ListItem::Text => sample.text(""),
                ListItem::Pathname => sample.bytes("/", false),
                ListItem::Filename => sample.bytes("f", false),
                ListItem::Device => sample.device(),
            }),
        }
    }

    fn option(&self, ty: OptionType) -> Value {
        match ty {
            OptionType::Bool => self.bool(),
            OptionType::Int => self.int(),
            OptionType::Int64 => self.hyper(),
            OptionType::String => self.bytes("", false),
            OptionType::Text => self.text(""),
            OptionType::StringList => self.list(|sample| sample.bytes("", false)),
        }
    }

    fn item(&self, item: ResultItem) -> Value {
        match item {
            ResultItem::String => self.bytes("", false),
            ResultItem::Text => self.text(""),
            ResultItem::Device => self.device(),
            ResultItem::Mountable => self.mountable(),
        }
    }

    fn result(&self, ty: &ResultType, structs: &[&Struct]) -> Value {
        match ty {
            ResultType::Int => self.int(),
            ResultType::Int64 => self.hyper(),
            ResultType::Bool => self.bool(),
            ResultType::Buffer => self.bytes("", true),
            ResultType::Scalar(item) => self.item(*item),
            ResultType::List(item) => self.list(|sample| sample.item(*item)),
            ResultType::Map(key, value) => match self
                .list(|sample| Value::List(vec![sample.item(*key), sample.item(*value)]))
            {
                // Keys and values stand in turn in one list.
                Value::List(pairs) => Value::List(
                    pairs
                        .into_iter()
                        .flat_map(|pair| match pair {
                            Value::List(pair) => pair,
                            other => vec![other],
                        })
                        .collect(),
                ),
                other => other,
            },
            ResultType::Struct(name) => self.structure(name, structs),
            ResultType::StructList(name) => self.list(|sample| sample.structure(name, structs)),
        }
    }

    fn structure(&self, name: &str, structs: &[&Struct]) -> Value {
        let fields = structs
            .iter()
            .find(|item| item.name == name)
            .map(|item| &item.fields);
        Value::Struct(
            fields
                .into_iter()
                .flatten()
                .enumerate()
                .map(|(place, field)| {
                    let salt = self.salt + i64::try_from(place).unwrap_or_default();
                    let sample = Self {
                        name: field.name.clone(),
                        salt,
                        variant: self.variant,
                    };
                    (field.name.clone(), sample.field(field))
                })
                .collect(),
        )
    }

    fn field(&self, field: &Field) -> Value {
        let salt = self.salt;
        match field.ty {
            FieldType::Int32 => self.int(),
            FieldType::UInt32 => Value::UInt(match self.variant {
                Variant::Typical => u32::try_from(salt).unwrap_or(1),
                Variant::Smallest => 0,
                Variant::Largest => u32::MAX,
            }),
            FieldType::Int64 | FieldType::Bytes => self.hyper(),
            FieldType::UInt64 => Value::UHyper(match self.variant {
                Variant::Typical => salt.unsigned_abs() << 40,
                Variant::Smallest => 0,
                Variant::Largest => u64::MAX,
            }),
            FieldType::Uuid => Value::Fixed(match self.variant {
                Variant::Typical => *b"0123456789abcdefghijklmnopqrstuv",
                Variant::Smallest => [0; 32],
                Variant::Largest => [0xff; 32],
            }),
            FieldType::OptPercent => Value::Float(match self.variant {
                Variant::Typical => 99.5,
                Variant::Smallest => -1.0,
                Variant::Largest => 100.0,
            }),
            FieldType::Char => Value::Char(match self.variant {
                Variant::Typical => b'd',
                Variant::Smallest => 0,
                Variant::Largest => 0xff,
            }),
            FieldType::String => self.bytes("", false),
            FieldType::Device => self.device(),
            FieldType::Buffer => self.bytes("", true),
        }
    }
}
