//! Capabilities of executable files: their text form, and the form in which
//! Linux keeps them in an extended attribute.

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::number;

/// The extended attribute.
pub(super) const ATTRIBUTE: &[u8] = b"security.capability";

/// The names, by number. Numbers above these stand for themselves.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

const BITS: usize = 64;
const EFFECTIVE: u8 = 1;
const PERMITTED: u8 = 2;
const INHERITABLE: u8 = 4;
/// The flags in the order of their letters.
const LETTERS: [(u8, char); 3] = [(EFFECTIVE, 'e'), (INHERITABLE, 'i'), (PERMITTED, 'p')];

const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const FLAG_EFFECTIVE: u32 = 1;

/// For each capability, the sets that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities([u8; BITS]);

impl Capabilities {
    /// Reads the value of the extended attribute.
    pub(super) fn from_xattr(value: &[u8]) -> Result<Self> {
        let malformed = || Error::with_errno(Errno::EINVAL, "malformed capabilities");
        let (words, _) = value.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (&magic, sets) = words.split_first().ok_or_else(malformed)?;
        let pairs = match magic & REVISION_MASK {
            REVISION_1 => 1,
            // The third has a user namespace's root in addition.
            REVISION_2 | REVISION_3 => 2,
            _ => return Err(malformed()),
        };
        let (sets, _) = sets.as_chunks::<2>();
        let mut all = [0; BITS];
        for (base, &[permitted, inheritable]) in sets.iter().take(pairs).enumerate() {
            for (bit, flags) in all.iter_mut().skip(32 * base).take(32).enumerate() {
                if permitted >> bit & 1 == 1 {
                    *flags |= PERMITTED;
                }
                if inheritable >> bit & 1 == 1 {
                    *flags |= INHERITABLE;
                }
                if *flags != 0 && magic & FLAG_EFFECTIVE != 0 {
                    *flags |= EFFECTIVE;
                }
            }
        }
        if sets.len() < pairs {
            return Err(malformed());
        }
        Ok(Self(all))
    }

    /// The value of the extended attribute. It has a single bit for the
    /// effective set: all or nothing.
    pub(super) fn to_xattr(self) -> Result<Vec<u8>> {
        let effective = self.0.iter().any(|flags| flags & EFFECTIVE != 0);
        let partly = self
            .0
            .iter()
            .any(|flags| flags & EFFECTIVE == 0 && *flags != 0);
        if effective && partly {
            return Err(Error::from(Errno::EINVAL));
        }
        let magic = REVISION_2 | if effective { FLAG_EFFECTIVE } else { 0 };
        let mut value = magic.to_le_bytes().to_vec();
        for half in self.0.chunks(32) {
            for set in [PERMITTED, INHERITABLE] {
                let word = half
                    .iter()
                    .enumerate()
                    .filter(|(_, flags)| *flags & set != 0)
                    .fold(0_u32, |word, (bit, _)| word | 1 << bit);
                value.extend_from_slice(&word.to_le_bytes());
            }
        }
        Ok(value)
    }

    /// Reads the text form.
    pub(super) fn from_text(text: &str) -> Result<Self> {
        let mut all = [0; BITS];
        let blank = |letter: char| letter.is_ascii_whitespace() || letter == '\x0b';
        for clause in text.split(blank).filter(|clause| !clause.is_empty()) {
            apply(&mut all, clause)
                .ok_or_else(|| Error::os(Errno::EINVAL, format!("'{clause}'")))?;
        }
        Ok(Self(all))
    }

    /// The text form: what most capabilities have, then those that differ.
    pub(super) fn to_text(self) -> String {
        let (known, unknown) = self.0.split_at(NAMES.len());
        let count = |flags: u8| known.iter().filter(|&&each| each == flags).count();
        let base = (0..8_u8)
            .max_by_key(|&flags| (count(flags), std::cmp::Reverse(flags)))
            .unwrap_or(0);
        let mut clauses = Vec::new();
        for flags in (0..8_u8).rev().filter(|&flags| flags != base) {
            let names: Vec<&str> = NAMES
                .iter()
                .zip(known)
                .filter(|(_, each)| **each == flags)
                .map(|(name, _)| *name)
                .collect();
            if !names.is_empty() {
                clauses.push((names.join(","), flags));
            }
        }
        let mut text = String::new();
        if base != 0 || clauses.is_empty() {
            text = format!("={}", letters(base));
        }
        for (names, flags) in clauses {
            // Without a base the first clause sets what it names.
            let plus = if text.is_empty() { '=' } else { '+' };
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&names);
            if flags & !base != 0 {
                text.push(plus);
                text.push_str(&letters(flags & !base));
            }
            if base & !flags != 0 {
                text.push('-');
                text.push_str(&letters(base & !flags));
            }
        }
        for (at, &flags) in unknown.iter().enumerate().filter(|(_, flags)| **flags != 0) {
            text.push_str(&format!(" {}+{}", NAMES.len() + at, letters(flags)));
        }
        text
    }
}

/// Applies a clause such as `cap_kill,cap_chown+ep-i`.
fn apply(all: &mut [u8; BITS], clause: &str) -> Option<()> {
    let end = clause.find(['=', '+', '-'])?;
    let (names, actions) = clause.split_at(end);
    let chosen = chosen(names)?;
    // Without names there is nothing but what `=` says of all.
    if names.is_empty() && (!actions.starts_with('=') || actions.contains(['+', '-'])) {
        return None;
    }
    let actions = if let Some(rest) = actions.strip_prefix('=') {
        for &bit in &chosen {
            *all.get_mut(bit)? = 0;
        }
        let (flags, rest) = flags(rest)?;
        change(all, &chosen, true, flags)?;
        rest
    } else {
        actions
    };
    changes(all, &chosen, actions)
}

/// The capabilities of a list of names.
fn chosen(names: &str) -> Option<Vec<usize>> {
    if names.is_empty() {
        return Some((0..NAMES.len()).collect());
    }
    let mut chosen = Vec::new();
    for name in names.split(',') {
        if name.eq_ignore_ascii_case("all") {
            chosen.extend(0..NAMES.len());
        } else {
            chosen.push(number(name)?);
        }
    }
    Some(chosen)
}

/// Raises and lowers flags as in `+ep-i`; each sign has at least one.
fn changes(all: &mut [u8; BITS], chosen: &[usize], mut actions: &str) -> Option<()> {
    while !actions.is_empty() {
        let rest = actions.strip_prefix(['+', '-'])?;
        let (set, after) = flags(rest)?;
        if set == 0 {
            return None;
        }
        change(all, chosen, actions.starts_with('+'), set)?;
        actions = after;
    }
    Some(())
}

fn change(all: &mut [u8; BITS], chosen: &[usize], raise: bool, flags: u8) -> Option<()> {
    for &bit in chosen {
        let each = all.get_mut(bit)?;
        *each = if raise { *each | flags } else { *each & !flags };
    }
    Some(())
}

fn number(name: &str) -> Option<usize> {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        let number = usize::try_from(number::parse(name)?).ok()?;
        return (number < BITS).then_some(number);
    }
    NAMES
        .iter()
        .position(|each| each.eq_ignore_ascii_case(name))
}

/// The flags up to the next sign, and what follows them.
fn flags(text: &str) -> Option<(u8, &str)> {
    let (letters, rest) = text.split_at(text.find(['=', '+', '-']).unwrap_or(text.len()));
    let flags = letters.chars().try_fold(0, |flags, letter| {
        LETTERS
            .iter()
            .find(|(_, each)| *each == letter)
            .map(|(flag, _)| flags | flag)
    })?;
    Some((flags, rest))
}

fn letters(flags: u8) -> String {
    LETTERS
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, letter)| *letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Capabilities::from_text(text)
            .ok()
            .map(Capabilities::to_text)
    }

    #[test]
    fn texts_are_those_of_libcap() {
        for (from, to) in [
            ("cap_chown=p cap_chown+e", "cap_chown=ep"),
            ("all=ep", "=ep"),
            ("", "="),
            ("=ep cap_chown-e", "=ep cap_chown-e"),
            (
                "cap_chown,cap_kill=ep cap_net_raw=i",
                "cap_net_raw=i cap_chown,cap_kill+ep",
            ),
            ("40+ep", "cap_checkpoint_restore=ep"),
            ("all+i cap_kill-i", "=i cap_kill-i"),
            ("cap_chown=pe-e", "cap_chown=p"),
            ("cap_chown=+p", "cap_chown=p"),
            ("cap_chown+p-e+i", "cap_chown=ip"),
            ("all=p cap_kill=", "=p cap_kill-p"),
            ("41=p", "= 41+p"),
            ("0x1,01=p", "cap_dac_override=p"),
            ("cap_chown=p\x0bcap_kill=\tcap_chown+e\x0c", "cap_chown=ep"),
            ("cap_chown=-p+i", "cap_chown=i"),
        ] {
            assert_eq!(text(from).as_deref(), Some(to), "{from}");
        }
        for wrong in [
            "cap_chown",
            "+ep",
            "=+ep",
            "cap_none=p",
            "cap_chown,=p",
            "cap_chown=x",
            "cap_chown=p=e",
            "cap_chown=p,cap_kill=e",
            "cap_chown+P",
            "cap_chown=p-",
            "cap_chown=+-p",
            "cap_chown+",
            "=p+e",
            "08=p",
            "64=p",
        ] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn attributes_survive_both_ways() {
        for text in ["cap_net_raw=ep", "=i", "cap_bpf=p cap_chown+i", "="] {
            let capabilities = Capabilities::from_text(text).unwrap();
            let value = capabilities.to_xattr().unwrap();
            assert_eq!(
                Capabilities::from_xattr(&value).unwrap(),
                capabilities,
                "{text}"
            );
        }
        assert!(
            Capabilities::from_text("cap_chown=e cap_kill=p")
                .unwrap()
                .to_xattr()
                .is_err()
        );
        for wrong in [&[][..], &[0, 0, 0, 9], &[1, 0, 0, 2, 0, 0, 0, 0]] {
            assert!(Capabilities::from_xattr(wrong).is_err());
        }
    }
}
