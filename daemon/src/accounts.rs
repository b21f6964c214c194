//! The appliance's users and groups, which have nothing to do with the guest's.
//!
//! Read from `/etc/passwd` and `/etc/group`; most appliances have neither.

use std::collections::HashMap;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// Longer files are no user databases of an appliance.
const LIMIT: u64 = 4 << 20;

/// Names and numbers of users, or of groups.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl Accounts {
    /// The users that the appliance knows.
    pub(crate) fn users() -> Self {
        Self::read(PASSWD)
    }

    /// The groups that the appliance knows.
    pub(crate) fn groups() -> Self {
        Self::read(GROUP)
    }

    /// The name of a number.
    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    fn read(path: &str) -> Self {
        let small = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= LIMIT);
        let text = if small {
            std::fs::read(path).unwrap_or_default()
        } else {
            Vec::new()
        };
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let mut accounts = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if let Ok(id) = id.parse() {
                accounts.names.entry(id).or_insert_with(|| name.to_owned());
                accounts.numbers.entry(name.to_owned()).or_insert(id);
            }
        }
        accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_counts() {
        let accounts = Accounts::parse("root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbad\nx:y:z\nu:x:7\n");
        assert_eq!(accounts.name(0), Some("root"));
        assert_eq!(accounts.number("toor"), Some(0));
        assert_eq!((accounts.name(7), accounts.number("x")), (Some("u"), None));
    }
}
