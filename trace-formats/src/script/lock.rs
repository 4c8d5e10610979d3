//! The locks of a scenario: what they are, and where they lie.

use super::parse::Draft;
use super::word::{Word, Words};
use crate::{Error, LockFlags, LockId};

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// What it is, as `contention_begin` says.
    pub flags: LockFlags,
    /// Where it lies, when the scenario says.
    pub address: Option<LockId>,
    /// Its sections have preemption points, also where the kernel is not preemptible.
    pub is_preempted: bool,
}

/// What a lock is called that has these flags and no others.
const KINDS: [(&str, u32); 4] = [
    ("mutex", LockFlags::MUTEX),
    ("rwsem", LockFlags::WRITE),
    ("rt-mutex", LockFlags::RT),
    ("user-mutex", LockFlags::USER),
];

const FLAGS: [(&str, u32); 7] = [
    ("spin", LockFlags::SPIN),
    ("read", LockFlags::READ),
    ("write", LockFlags::WRITE),
    ("rt", LockFlags::RT),
    ("percpu", LockFlags::PERCPU),
    ("mutex", LockFlags::MUTEX),
    ("user", LockFlags::USER),
];

impl Lock {
    /// Whether its line would say nothing: it is a mutex that lies anywhere.
    pub(super) fn is_plain(&self) -> bool {
        self.flags == LockFlags(LockFlags::MUTEX) && self.address.is_none() && !self.is_preempted
    }

    /// The kind that comes nearest to its flags, and whether it says them all.
    pub(super) fn kind(&self) -> (&'static str, bool) {
        let nearest = KINDS.iter().find(|(_, flags)| self.flags.has(*flags));
        nearest.map_or(("rwsem", false), |(name, flags)| (*name, self.flags.0 == *flags))
    }
}

/// Reads `KIND NAME [ADDRESS] [flags F] [preempted]`; `word` is the kind.
pub(super) fn read<'t>(
    word: Word<'t>,
    words: &mut Words<'_, 't>,
    draft: &mut Draft<'t>,
) -> Result<(), Error> {
    let name = words.argument(word, "a lock")?;
    let known = draft.script.locks.len();
    let index = draft.lock(name)?;
    if index < known {
        return Err(name.error(format!("lock `{}` has a line already", name.text)));
    }
    let kind = KINDS.iter().find(|(kind, _)| *kind == word.text);
    let mut flags = LockFlags(kind.map_or(LockFlags::MUTEX, |(_, flags)| *flags));
    let (mut address, mut is_preempted) = (None, false);
    while let Some(next) = words.next() {
        if next.text == "flags" {
            flags = self::flags(words.argument(next, "flags, as in `spin+mutex`")?)?;
        } else if next.text == "preempted" {
            is_preempted = true;
        } else if let Some(hex) = next.text.strip_prefix("0x") {
            address =
                Some(LockId(u64::from_str_radix(hex, 16).map_err(|_| {
                    next.error(format!("`{}` is no address of 64 bits", next.text))
                })?));
        } else {
            return Err(next.error(format!(
                "a lock has an address, as in `0xffff888004e39b40`, `flags` and `preempted`, not `{}`",
                next.text
            )));
        }
    }
    let lock = &mut draft.script.locks[index];
    (lock.flags, lock.address, lock.is_preempted) = (flags, address, is_preempted);
    Ok(())
}

/// Reads flags with `+` between them.
pub(super) fn flags(word: Word<'_>) -> Result<LockFlags, Error> {
    if word.text == "none" {
        return Ok(LockFlags(0));
    }
    let mut flags = 0;
    for part in word.text.split('+') {
        let named = FLAGS.iter().find(|(name, _)| *name == part).map(|(_, flag)| *flag);
        let number = || u32::from_str_radix(part.strip_prefix("0x")?, 16).ok();
        flags |= named.or_else(number).ok_or_else(|| {
            word.error(format!(
                "`{part}` is no flag of a lock; there are {} and numbers, as in `0x40`",
                FLAGS.map(|(name, _)| name).join(", ")
            ))
        })?;
    }
    Ok(LockFlags(flags))
}

/// Flags as they are read.
pub(super) fn flags_text(flags: LockFlags) -> String {
    let mut parts: Vec<String> =
        FLAGS.iter().filter(|(_, f)| flags.has(*f)).map(|(name, _)| (*name).to_owned()).collect();
    let rest = FLAGS.iter().fold(flags.0, |rest, (_, flag)| rest & !flag);
    if rest != 0 {
        parts.push(format!("{rest:#x}"));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join("+") }
}
