//! Which CPUs a list such as `0-3,8` names.

use crate::CpuId;
use std::fmt;

/// A set of CPUs, as the ranges that a list of them is written in: ascending, and apart.
///
/// It takes as much memory as its text, however many CPUs that names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList {
    /// First and last of each range.
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// The CPUs from 0 on.
    #[must_use]
    pub fn first(n: u32) -> Self {
        Self { ranges: n.checked_sub(1).map(|last| (0, last)).into_iter().collect() }
    }

    /// These CPUs, in any order.
    #[must_use]
    pub fn of(cpus: impl IntoIterator<Item = CpuId>) -> Self {
        Self::merged(cpus.into_iter().map(|cpu| (cpu.0, cpu.0)).collect())
    }

    /// Reads `0-3,8`, or `none`; `None` for anything else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::default());
        }
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
        };
        text.split(',').map(range).collect::<Option<_>>().map(Self::merged)
    }

    fn merged(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// These CPUs and those of another list.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.ranges.extend(other.ranges);
        Self::merged(self.ranges)
    }

    /// Every CPU, ascending.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last).map(CpuId)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The greatest number in it.
    #[must_use]
    pub fn last(&self) -> Option<CpuId> {
        self.ranges.last().map(|(_, last)| CpuId(*last))
    }

    /// Whether `cpu` is one of them.
    #[must_use]
    pub fn has(&self, cpu: CpuId) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= cpu.0);
        after.checked_sub(1).is_some_and(|at| cpu.0 <= self.ranges[at].1)
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (place, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_in_order() {
        for (text, written, len) in [
            ("0-3,8", "0-3,8", 5),
            ("1,0", "0-1", 2),
            ("7,2-5,4-6", "2-7", 6),
            ("none", "none", 0),
            ("0-4294967295", "0-4294967295", 1 << 32),
        ] {
            let list = CpuList::from_text(text).expect(text);
            assert_eq!((list.to_string().as_str(), list.len()), (written, len));
        }
        let list = CpuList::from_text("0-3,8").expect("a list");
        assert_eq!([3, 4, 8, 9].map(|cpu| list.has(CpuId(cpu))), [true, false, true, false]);
        assert_eq!(CpuList::of(list.iter()), list);
        assert_eq!((list.last(), CpuList::first(0).last()), (Some(CpuId(8)), None));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ",", "1,", "3-1", "-1", "1-", "+1", "4294967296", "a", "1-2-3"] {
            assert_eq!(CpuList::from_text(text), None, "{text}");
        }
    }
}
