//! The worst inversion episodes, as data to tell and to draw.

mod lane;

pub use lane::{Lane, LaneSpan, Mark};

use crate::decompose::{Decomposition, decompose};
use crate::identity::counterpart;
use crate::part::Parts;
use lane::lane;
use model::{
    Basis, LockId, LockKind, LockWait, Nanos, OwnerSpan, Ownership, Response, TaskId, Timestamp,
    Trace,
};
use std::cmp::Reverse;

/// One lock wait with all that took part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Its place in [`Trace::waits`].
    pub wait: usize,
    /// Who waits.
    pub waiter: TaskId,
    /// For what.
    pub lock: LockId,
    /// What sort of lock.
    pub kind: LockKind,
    /// From here,
    pub begin: Timestamp,
    /// to here.
    pub until: Timestamp,
    /// Who had the lock meanwhile, in order, without repeats.
    pub owners: Vec<EpisodeOwner>,
    /// Tasks at the end of a chain that begins with such an owner, and that are none themselves.
    pub chain: Vec<TaskId>,
    /// Who had the owner's CPU during the inversion, longest first.
    pub instead: Vec<(TaskId, Nanos)>,
    /// The wait taken apart.
    pub parts: Parts,
    /// Whether events were lost near.
    pub is_lossy: bool,
    /// The drawing's bounds: the wait and a quarter of it on either side, within the trace.
    pub window: (Timestamp, Timestamp),
    /// Waiter, owners, chain, then at most three of those who ran instead.
    pub lanes: Vec<Lane>,
}

/// Somebody who had the lock during an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeOwner {
    /// Who.
    pub task: TaskId,
    /// How well that is known where it is known worst.
    pub basis: Basis,
    /// How often such a conclusion is right, of a thousand.
    pub permille: u16,
}

/// The `n` waits with the most inversion, the worst first; where none has any, the longest.
#[must_use]
pub fn worst_episodes(trace: &Trace, n: usize) -> Vec<Episode> {
    worst_episodes_of(trace, n, |_| true)
}

/// As [`worst_episodes`], among the waits of tasks that `counts` accepts.
///
/// Only what is returned is drawn: ranking takes the waits apart and keeps two numbers of each.
#[must_use]
pub fn worst_episodes_of(
    trace: &Trace,
    n: usize,
    mut counts: impl FnMut(TaskId) -> bool,
) -> Vec<Episode> {
    let waits = trace.waits.iter().enumerate().filter(|(_, wait)| counts(wait.waiter));
    let weighed = waits.map(|(index, wait)| {
        let Decomposition { parts, .. } = decompose(trace, wait);
        (Reverse((parts.inversion(), parts.total())), index)
    });
    let mut order: Vec<_> = weighed.collect();
    order.sort_unstable();
    order.into_iter().take(n).filter_map(|(_, index)| episode(trace, index)).collect()
}

/// The episode of one wait, by its place in [`Trace::waits`]; `None` out of range.
#[must_use]
pub fn episode(trace: &Trace, wait: usize) -> Option<Episode> {
    let decomposition = decompose(trace, trace.waits.get(wait)?);
    Some(of(trace, wait, &decomposition))
}

fn of(trace: &Trace, index: usize, decomposition: &Decomposition) -> Episode {
    let wait = &trace.waits[index];
    let owners = owners(wait);
    let mut chain = Vec::new();
    for owner in decomposition.pieces.iter().filter_map(|p| p.owner) {
        if !chain.contains(&owner) && !owners.iter().any(|o| o.task == owner) {
            chain.push(owner);
        }
    }
    let instead = decomposition.who_ran_instead();
    let margin = Nanos(wait.until.since(wait.begin).0 / 4);
    let from = Timestamp(wait.begin.0.saturating_sub(margin.0)).max(trace.start);
    let window = (from, (wait.until + margin).min(trace.end));
    let mut involved = vec![wait.waiter];
    let others = owners.iter().map(|o| o.task).chain(chain.iter().copied());
    for task in others.chain(instead.iter().map(|(task, _)| *task).take(3)) {
        if !involved.contains(&task) {
            involved.push(task);
        }
    }
    Episode {
        wait: index,
        waiter: wait.waiter,
        lock: wait.lock,
        kind: wait.kind,
        begin: wait.begin,
        until: wait.until,
        owners,
        chain,
        instead,
        parts: decomposition.parts,
        is_lossy: trace.lossy(wait.begin, wait.until),
        window,
        lanes: involved.into_iter().map(|task| lane(trace, task, window)).collect(),
    }
}

fn owners(wait: &LockWait) -> Vec<EpisodeOwner> {
    let mut owners: Vec<EpisodeOwner> = Vec::new();
    for span in &wait.ownership {
        if let Ownership::Held(task) = span.owner {
            match owners.iter_mut().find(|known| known.task == task) {
                Some(known) => {
                    known.basis = known.basis.max(span.basis);
                    known.permille = known.permille.min(span.permille);
                }
                None => {
                    let OwnerSpan { basis, permille, .. } = *span;
                    owners.push(EpisodeOwner { task, basis, permille });
                }
            }
        }
    }
    owners
}

/// The response of `task` that covers `at` in `a`, and the same one in `b`: of the same task, by
/// name and position, with the same ordinal. `None` when either trace lacks it.
#[must_use]
pub fn same_response(
    a: &Trace,
    task: TaskId,
    at: Timestamp,
    b: &Trace,
) -> Option<(Response, Response)> {
    let mine = a.responses.iter().filter(|r| r.task == task).enumerate();
    let (ordinal, found) = mine.into_iter().find(|(_, r)| r.begin <= at && at <= r.end)?;
    let other = counterpart(a, task, b)?;
    let same = b.responses.iter().filter(|r| r.task == other).nth(ordinal)?;
    Some((*found, *same))
}

/// The wait of `b` that is wait `index` of `a`: of the same task, with the same ordinal among
/// its waits for that lock. `None` when `b` has fewer.
#[must_use]
pub fn same_wait(a: &Trace, index: usize, b: &Trace) -> Option<usize> {
    let wait = a.waits.get(index)?;
    let earlier = a.task(wait.waiter).waits.iter().filter(|&&w| w < index);
    let ordinal = earlier.filter(|&&w| a.waits[w].lock == wait.lock).count();
    let other = counterpart(a, wait.waiter, b)?;
    let theirs = b.task(other).waits.iter().copied();
    theirs.filter(|&w| b.waits[w].lock == wait.lock).nth(ordinal)
}

/// Lanes of any tasks over any window: for a drawing of one's own.
#[must_use]
pub fn lanes(trace: &Trace, tasks: &[TaskId], window: (Timestamp, Timestamp)) -> Vec<Lane> {
    tasks.iter().map(|&task| lane(trace, task, window)).collect()
}
