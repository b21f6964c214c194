//! The values of one call, by the names that the IDL gives them.

use std::collections::BTreeMap;

/// A value of a parameter or of an option.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Strings of all kinds, buffers, and what is sent as a file.
    Bytes(Vec<u8>),
    Number(i64),
    Flag(bool),
    List(Vec<Vec<u8>>),
}

impl Value {
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }

    pub(crate) fn list(items: &[&str]) -> Self {
        Self::List(items.iter().map(|item| item.as_bytes().to_vec()).collect())
    }
}

/// All values of a call; the generated `call` asks for each by its name.
///
/// # Panics
///
/// Each method does when the value is missing or of another kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(BTreeMap<String, Value>);

impl Given {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn get(&self, name: &str) -> &Value {
        let value = self.0.get(name);
        value.unwrap_or_else(|| panic!("no value for '{name}'"))
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        match self.get(name) {
            Value::Bytes(bytes) => bytes,
            other => panic!("'{name}' is no string: {other:?}"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.bytes(name)).expect("text")
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, name: &str) -> T {
        let Value::Number(number) = *self.get(name) else {
            panic!("'{name}' is no number");
        };
        let number = T::try_from(number).ok();
        number.unwrap_or_else(|| panic!("'{name}' does not fit"))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Flag(flag) => *flag,
            other => panic!("'{name}' is no bool: {other:?}"),
        }
    }

    pub(crate) fn list(&self, name: &str) -> &[Vec<u8>] {
        match self.get(name) {
            Value::List(list) => list,
            other => panic!("'{name}' is no list: {other:?}"),
        }
    }

    pub(crate) fn strings(&self, name: &str) -> Vec<&[u8]> {
        self.list(name).iter().map(Vec::as_slice).collect()
    }
}
