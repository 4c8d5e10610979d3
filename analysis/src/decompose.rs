//! A lock wait taken apart: at each moment, why the waiter did not have the lock.
//!
//! A sweep: at one moment every state that matters is looked up, together with the moment at
//! which the first of them changes; in between the answer is the same. Precedence: a waiter on
//! a CPU *spins*, whatever the owner does; a lock that nobody has is *released*, unless another
//! waiter is on its way to take it, which then counts as the owner; else the owner's state
//! decides, followed through the locks that the owner itself waits for.
//!
//! Urgency is compared between the waiter and whoever has the CPU on which the owner is queued;
//! where a donation is known, the donor's urgency counts for the running task's.

mod look;

use crate::part::{Part, Parts};
use look::Look;
use model::{LockWait, Nanos, TaskId, Timestamp, Trace};
use std::collections::BTreeMap;

/// A stretch of a wait with one answer: [from, to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// From here,
    pub from: Timestamp,
    /// to here, exclusive.
    pub to: Timestamp,
    /// What it was spent on.
    pub part: Part,
    /// The task at the end of the chain, where there is one.
    pub owner: Option<TaskId>,
    /// Who had the CPU on which that task was queued; after a release, the less urgent task that
    /// had the CPU on which the waiter was.
    pub instead: Option<TaskId>,
    /// Owners met on the way: 1 when the lock's owner decides, 0 when no owner does.
    pub depth: u32,
}

/// A wait taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decomposition {
    /// Pieces in order; they cover the wait without holes, and neighbours differ.
    pub pieces: Vec<Piece>,
    /// Time per part.
    pub parts: Parts,
    /// Longest chain of owners met.
    pub chain_depth: u32,
}

impl Decomposition {
    /// Of the time released and not running: with a less urgent task on the waiter's CPU.
    ///
    /// A hand-off can itself be an inversion: the former owner computes on while the lock is the
    /// waiter's already. Here the running task counts for itself, whoever's time it spends.
    #[must_use]
    pub fn handoff_inversion(&self) -> Nanos {
        let pieces = self.pieces.iter().filter(|p| p.part == Part::Released && p.instead.is_some());
        pieces.map(|p| p.to.since(p.from)).sum()
    }

    /// Who had the owner's CPU during the inversion, longest first.
    #[must_use]
    pub fn who_ran_instead(&self) -> Vec<(TaskId, Nanos)> {
        let mut spans: BTreeMap<TaskId, Nanos> = BTreeMap::new();
        for piece in self.pieces.iter().filter(|p| p.part == Part::BehindLessUrgent) {
            if let Some(task) = piece.instead {
                *spans.entry(task).or_default() += piece.to.since(piece.from);
            }
        }
        let mut list: Vec<(TaskId, Nanos)> = spans.into_iter().collect();
        list.sort_by_key(|(task, span)| (std::cmp::Reverse(*span), *task));
        list
    }
}

/// Takes one wait of the trace apart.
///
/// # Panics
///
/// When the parts do not sum to the wait: a bug here, never a property of the trace.
#[must_use]
pub fn decompose(trace: &Trace, wait: &LockWait) -> Decomposition {
    let mut result = Decomposition::default();
    let mut at = wait.begin;
    while at < wait.until {
        let mut look = Look::new(trace, wait.waiter, at, wait.until);
        let answer = look.answer(wait);
        let to = look.until;
        assert!(at < to, "a piece of a wait has a length");
        let piece = Piece {
            from: at,
            to,
            part: answer.part,
            owner: answer.owner,
            instead: answer.instead,
            depth: answer.depth,
        };
        result.add(piece);
        at = to;
    }
    assert_eq!(result.parts.total(), wait.until.since(wait.begin), "parts sum to their wait");
    result
}

impl Decomposition {
    fn add(&mut self, piece: Piece) {
        self.parts.add(piece.part, piece.to.since(piece.from));
        self.chain_depth = self.chain_depth.max(piece.depth);
        let same = |a: &Piece| {
            (a.part, a.owner, a.instead, a.depth)
                == (piece.part, piece.owner, piece.instead, piece.depth)
        };
        match self.pieces.last_mut().filter(|last| same(last)) {
            Some(last) => last.to = piece.to,
            None => self.pieces.push(piece),
        }
    }
}

/// All waits of a trace taken apart, in the order of [`Trace::waits`].
#[must_use]
pub fn decompose_all(trace: &Trace) -> Vec<Decomposition> {
    trace.waits.iter().map(|wait| decompose(trace, wait)).collect()
}
