//! Inversion: the urgent wait for the less urgent, by task and by kind of lock.

use crate::decompose::Decomposition;
use model::{LockKind, Nanos, TaskId, Trace};
use std::collections::BTreeMap;

/// Inversion of a set of waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Inversion {
    /// On mutexes: what proxy execution can act on.
    pub curable_ns: u64,
    /// On every other kind of lock.
    pub incurable_ns: u64,
}

impl Inversion {
    /// Both together.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.curable_ns.saturating_add(self.incurable_ns)
    }

    /// Adds one wait's.
    pub fn add(&mut self, kind: LockKind, span: Nanos) {
        if kind.is_proxied() {
            self.curable_ns = self.curable_ns.saturating_add(span.0);
        } else {
            self.incurable_ns = self.incurable_ns.saturating_add(span.0);
        }
    }
}

/// Inversion of all waits, by kind of lock; kinds without waits are left out.
#[must_use]
pub fn by_kind(trace: &Trace, decomposed: &[Decomposition]) -> BTreeMap<LockKind, Nanos> {
    let mut sums = BTreeMap::new();
    for (wait, d) in trace.waits.iter().zip(decomposed) {
        *sums.entry(wait.kind).or_default() += d.parts.inversion();
    }
    sums
}

/// Inversion suffered by each waiter that had any.
#[must_use]
pub fn by_task(trace: &Trace, decomposed: &[Decomposition]) -> BTreeMap<TaskId, Inversion> {
    let mut sums: BTreeMap<TaskId, Inversion> = BTreeMap::new();
    for (wait, d) in trace.waits.iter().zip(decomposed) {
        let span = d.parts.inversion();
        if span > Nanos(0) {
            sums.entry(wait.waiter).or_default().add(wait.kind, span);
        }
    }
    sums
}
