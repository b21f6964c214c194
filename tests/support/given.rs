//! The values of one call, by the names that the IDL gives them.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// A value of a parameter or of an option.
#[derive(Debug, Clone)]
pub enum Value {
    /// Strings of all kinds, buffers, and what is sent as a file.
    Bytes(Vec<u8>),
    /// The beginning of a file of which nothing more can be read.
    Broken(Vec<u8>),
    /// A number.
    Number(i64),
    /// A truth value.
    Flag(bool),
    /// A list of strings.
    List(Vec<Vec<u8>>),
}

impl Value {
    /// A string or a file.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }

    /// A list of strings.
    pub fn list(items: &[&str]) -> Self {
        Self::List(items.iter().map(|item| item.as_bytes().to_vec()).collect())
    }
}

/// All values of a call; the generated `call` asks for each by its name.
///
/// # Panics
///
/// Each method does when the value is missing or of another kind.
#[derive(Debug, Clone, Default)]
pub struct Given(BTreeMap<String, Value>);

impl Given {
    /// Gives a parameter or an option its value.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn get(&self, name: &str) -> &Value {
        let value = self.0.get(name);
        value.unwrap_or_else(|| panic!("no value for '{name}'"))
    }

    /// Whether an option is given.
    pub fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }

    /// A string or a buffer.
    pub fn bytes(&self, name: &str) -> &[u8] {
        match self.get(name) {
            Value::Bytes(bytes) => bytes,
            other => panic!("'{name}' is no string: {other:?}"),
        }
    }

    /// What is sent as a file.
    pub fn file(&self, name: &str) -> Contents<'_> {
        match self.get(name) {
            Value::Broken(bytes) => Contents {
                left: bytes,
                broken: true,
            },
            _ => Contents {
                left: self.bytes(name),
                broken: false,
            },
        }
    }

    /// A string of text.
    pub fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.bytes(name)).expect("text")
    }

    /// A number of any size.
    pub fn number<T: TryFrom<i64>>(&self, name: &str) -> T {
        let Value::Number(number) = *self.get(name) else {
            panic!("'{name}' is no number");
        };
        let number = T::try_from(number).ok();
        number.unwrap_or_else(|| panic!("'{name}' does not fit"))
    }

    /// A truth value.
    pub fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Flag(flag) => *flag,
            other => panic!("'{name}' is no bool: {other:?}"),
        }
    }

    /// A list of strings.
    pub fn list(&self, name: &str) -> &[Vec<u8>] {
        match self.get(name) {
            Value::List(list) => list,
            other => panic!("'{name}' is no list: {other:?}"),
        }
    }

    /// The same, as options want it.
    pub fn strings(&self, name: &str) -> Vec<&[u8]> {
        self.list(name).iter().map(Vec::as_slice).collect()
    }
}

/// A file that is being sent.
#[derive(Debug)]
pub struct Contents<'g> {
    left: &'g [u8],
    broken: bool,
}

impl Read for Contents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.broken && self.left.is_empty() {
            return Err(io::Error::other("the file is broken"));
        }
        self.left.read(buffer)
    }
}
