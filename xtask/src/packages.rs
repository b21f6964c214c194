//! Lists of distribution packages: `appliance/packages/*.list` and `xtask/packages/*.list`.
//!
//! One package a line; `#` starts a comment; a leading `?` marks a package that
//! is welcome when it is there; `a|b` are names that one package has had.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// The names it may have, the preferred one first.
    pub(crate) names: Vec<String>,
    /// Taken when installed, never asked for.
    pub(crate) optional: bool,
}

impl Package {
    /// The name under which it is installed here.
    pub(crate) fn installed<'a>(&'a self, installed: &BTreeSet<String>) -> Option<&'a str> {
        self.names
            .iter()
            .map(String::as_str)
            .find(|name| installed.contains(*name))
    }
}

/// Reads a list.
pub(crate) fn read(list: &Path) -> Result<Vec<Package>> {
    let text =
        std::fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Package> {
    lines(text)
        .map(|line| {
            let name = line.strip_prefix('?');
            Package {
                names: name.unwrap_or(line).split('|').map(String::from).collect(),
                optional: name.is_some(),
            }
        })
        .collect()
}

/// The lines of a list, without comments and without empty ones.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

/// Which of these packages Debian's dpkg has installed.
pub(crate) fn installed(packages: &[Package]) -> Result<BTreeSet<String>> {
    let names: BTreeSet<&String> = packages.iter().flat_map(|package| &package.names).collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    // It fails when it does not know a name, and still prints the others.
    let finished = process::output(
        Command::new("dpkg-query")
            .args(["--show", "--showformat", "${db:Status-Abbrev}${Package}\n"])
            .arg("--")
            .args(names),
        Duration::from_secs(60),
    )?;
    Ok(finished
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("ii "))
        .map(|name| name.trim().to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_alternatives_and_optional_packages() {
        let packages = parse("# why\n\nlvm2   # volumes\n?jfsutils\nlibmagic1|libmagic1t64\n");
        let named = |names: &[&str], optional| Package {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            optional,
        };
        assert_eq!(
            packages,
            [
                named(&["lvm2"], false),
                named(&["jfsutils"], true),
                named(&["libmagic1", "libmagic1t64"], false),
            ]
        );
    }

    #[test]
    fn an_alternative_is_found_under_the_name_it_has_here() {
        let package = parse("a|b").remove(0);
        assert_eq!(package.installed(&["b".to_owned()].into()), Some("b"));
        assert_eq!(package.installed(&["c".to_owned()].into()), None);
    }
}
