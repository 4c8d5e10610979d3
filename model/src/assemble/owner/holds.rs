//! From when to when each task had one lock, and how exactly either end is known.

use super::fill::Rule;
use crate::{Basis, Edge, Hold, Ownership, TaskId, Timestamp};

/// A hold whose end is not known yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    task: TaskId,
    acquired: Edge,
    /// The latest moment at which the task is known to have the lock.
    known: Timestamp,
    /// Of a thousand such owners so many are right.
    permille: u16,
}

/// The holds of one lock, while its line of owners is filled.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    done: Vec<Hold>,
    open: Option<Open>,
    /// Nobody that is not in the list had the lock after this.
    gone: Timestamp,
}

/// Where a list of holds stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    n: usize,
    open: Option<Open>,
    gone: Timestamp,
}

impl Holds {
    /// A span of the line of owners.
    pub(super) fn span(
        &mut self,
        (from, to): (Timestamp, Timestamp),
        owner: Ownership,
        (basis, rule): (Basis, Rule),
    ) {
        match owner {
            Ownership::Unknown => {}
            // Free because a release was seen, or because somebody looked.
            Ownership::Free => self.close(from),
            Ownership::Held(task) => {
                let permille = if basis == Basis::Exact { 1000 } else { rule.permille() };
                if self.open.is_none_or(|open| open.task != task) {
                    self.close(from);
                    let acquired = Edge { earliest: self.gone, latest: from, is_seen: false };
                    self.open = Some(Open { task, acquired, known: from, permille });
                }
                if let Some(open) = &mut self.open
                    && (basis == Basis::Exact || !rule.is_assumed())
                {
                    open.known = open.known.max(to);
                }
            }
        }
    }

    /// The task is seen to get the lock.
    pub(super) fn won(&mut self, task: TaskId, at: Timestamp) {
        // It may have had the lock a little before its event said so.
        if self.open.is_none_or(|open| open.task != task || open.acquired.is_seen) {
            self.close(at);
        }
        self.open = Some(Open { task, acquired: Edge::seen(at), known: at, permille: 1000 });
    }

    /// Its owner is seen to release the lock, for which somebody has been queued since then.
    pub(super) fn released(&mut self, at: Timestamp, queued_since: Option<Timestamp>) {
        if let Some(open) = self.open.take() {
            let is_watched = queued_since.is_some_and(|since| since <= open.acquired.latest);
            self.done.push(Hold { is_watched, ..open.end(Edge::seen(at)) });
        }
        self.gone = self.gone.max(at);
    }

    /// The task begins to wait for the lock, so it does not have it.
    pub(super) fn waits(&mut self, task: TaskId, at: Timestamp) {
        if self.open.is_some_and(|open| open.task == task) {
            self.close(at);
        }
    }

    /// The owner does not have the lock any more at `before`.
    pub(super) fn close(&mut self, before: Timestamp) {
        if let Some(open) = self.open.take() {
            let (earliest, latest) = (open.known, before.max(open.known));
            let released = Edge { earliest, latest, is_seen: false };
            self.gone = self.gone.max(earliest);
            self.done.push(open.end(released));
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { n: self.done.len(), open: self.open, gone: self.gone }
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        self.done.truncate(mark.n);
        (self.open, self.gone) = (mark.open, mark.gone);
    }

    pub(super) fn finish(mut self, end: Timestamp) -> Vec<Hold> {
        self.close(end);
        self.done
    }
}

impl Open {
    fn end(self, released: Edge) -> Hold {
        let Self { task, acquired, permille, .. } = self;
        Hold { task, acquired, released, permille, is_watched: false }
    }
}
