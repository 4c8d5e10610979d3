//! Identifiers as the kernel printed them, and nothing more.

use crate::bytes::Endian;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A CPU of the traced machine. Numbers may have holes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CpuId(pub u32);

/// What a sched event calls `pid`: a kernel thread id, reused after exit. 0 is an idle task.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Tid(pub i32);

impl Tid {
    /// The idle task of any CPU (`swapper`).
    pub const IDLE: Self = Self(0);
}

/// The address of a lock object, as in `lock_addr`. The kernel may reuse it after a free.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LockId(pub u64);

impl LockId {
    /// Marks the mutexes of programs: no kernel has an address with this and without the highest bit.
    const OF_PROGRAM: u64 = 1 << 62;
    /// Addresses of programs have fewer bits on most machines.
    const ADDRESS_BITS: u32 = 47;

    /// The mutex that a program keeps at this address; `space` tells the memory of one process from
    /// that of another.
    #[must_use]
    pub fn of_program(uaddr: u64, space: u32) -> Self {
        let place = (u64::from(space) << Self::ADDRESS_BITS) ^ uaddr;
        Self(Self::OF_PROGRAM | place & (Self::OF_PROGRAM - 1))
    }

    /// Whether it is the mutex of a program, and not a lock of the kernel's.
    #[must_use]
    pub fn is_of_program(self) -> bool {
        self.0 >> 62 == 1
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An index into [`Names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

/// The distinct task and timer-function names of one recording.
///
/// Names come from outside: they may hold spaces, brackets, arrows or markup.
/// Bytes that are not UTF-8 are kept readable as U+FFFD.
#[derive(Clone, Debug)]
pub struct Names {
    texts: Vec<String>,
    ids: std::collections::BTreeMap<String, NameId>,
    /// The last name met of each hash: records repeat few names very often.
    recent: Vec<NameId>,
}

/// Slots for recent names.
const RECENT: usize = 512;

impl Default for Names {
    fn default() -> Self {
        let recent = vec![NameId(0); RECENT];
        let ids = std::collections::BTreeMap::new();
        let mut names = Self { texts: Vec::new(), ids, recent };
        names.id("");
        names
    }
}

impl Names {
    /// The id of `text`, new or known. The empty name is always id 0.
    ///
    /// # Panics
    ///
    /// After 2^32 distinct names.
    pub fn id(&mut self, text: &str) -> NameId {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = NameId(u32::try_from(self.texts.len()).expect("fewer than 2^32 distinct names"));
        self.texts.push(text.to_owned());
        self.ids.insert(text.to_owned(), id);
        id
    }

    /// The id of a name as it stands in a record.
    pub(crate) fn id_of_bytes(&mut self, bytes: &[u8]) -> NameId {
        // Short keys, and a collision only costs a look-up.
        let step = |hash: u64, word: &[u8]| {
            (hash.rotate_left(23) ^ Endian::Little.number(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let hash = bytes.chunks(8).fold(bytes.len() as u64, step);
        let slot = usize::try_from(hash >> 40).unwrap_or(0) % RECENT;
        if let Some(&id) = self.recent.get(slot)
            && self.text(id).as_bytes() == bytes
        {
            return id;
        }
        let id = self.id(&String::from_utf8_lossy(bytes));
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = id;
        }
        id
    }

    /// The text of `id`; empty for an id of another recording that is out of range.
    #[must_use]
    pub fn text(&self, id: NameId) -> &str {
        self.texts.get(id.0 as usize).map_or("", String::as_str)
    }
}
