//! Closed loops: where a program's rounds begin, and whether a date ends them.
//!
//! A recording holds as many rounds of a loop as its schedule had room for. A replay that is
//! faster has room for more, and a task that stopped after its recorded rounds would leave CPU
//! time to others that the real one would take.

use super::{LockIndex, Op, SleepEnd};
use crate::{PrevState, Timestamp};
use std::ops::Range;

/// Fewest rounds that make a loop.
const FEWEST: usize = 4;
/// Fewest rounds of a loop whose end may show a date.
const FEWEST_FOR_A_DATE: usize = 8;

/// The rounds of a closed loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// Ops at which a round begins, ascending; what follows the last one is the loop's end.
    pub seams: Vec<usize>,
    /// Rounds that can be run once more: they involve nobody but the task itself. Each is from one
    /// seam to the next.
    pub repeatable: Vec<Range<usize>>,
    /// Before this op something involves others: what comes before it must not be left out.
    pub own_from: usize,
    /// When the loop ends; `None`: not within the recording.
    pub until: Option<Timestamp>,
}

impl Rounds {
    /// The first op behind the loop.
    #[must_use]
    pub fn end(&self) -> usize {
        self.seams.last().copied().unwrap_or(0)
    }

    /// The first seam behind op `pc`.
    #[must_use]
    pub fn seam_after(&self, pc: usize) -> Option<usize> {
        self.seams.get(self.seams.partition_point(|seam| *seam <= pc)).copied()
    }
}

/// Finds the rounds of a program: each ends with a timed sleep outside of all critical sections.
pub(super) fn find(ops: &[Op], holds: &[LockIndex]) -> Option<Rounds> {
    // Uninterruptible sleeps are a device's, and no round's end.
    rounds(ops, holds, |op| {
        matches!(
            op,
            Op::Sleep {
                until: SleepEnd::After(_) | SleepEnd::Tick { .. },
                on: None,
                state: PrevState::Interruptible
            }
        )
    })
}

/// Finds the rounds of a program that never sleeps by itself: each ends with a release after
/// which it holds nothing.
///
/// # Source
///
/// Our own rule. Who only computes and takes locks goes on doing so; without it, a task that a
/// replay gives more CPU time than it had runs out of program, and leaves its share to others.
pub(super) fn find_sleepless(ops: &[Op], holds: &[LockIndex]) -> Option<Rounds> {
    let sleeps = ops.iter().any(|op| matches!(op, Op::Sleep { .. }));
    if sleeps {
        return None;
    }
    rounds(ops, holds, |op| matches!(op, Op::Unlock(_)))
}

/// Whether time passes in a round; one without would be repeated without end at one instant.
fn takes_time(round: &[Op]) -> bool {
    round.iter().any(|op| match op {
        Op::Compute(span) | Op::BusyWait(span) | Op::Sleep { until: SleepEnd::After(span), .. } => {
            span.0 > 0
        }
        Op::Sleep { until: SleepEnd::Tick { .. }, .. } => true,
        _ => false,
    })
}

fn rounds(ops: &[Op], holds: &[LockIndex], is_end: impl Fn(&Op) -> bool) -> Option<Rounds> {
    let mut held = holds.len();
    let mut seams = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Lock(_) | Op::TryLock { acquired: true, .. } => held += 1,
            Op::Unlock(_) => held = held.saturating_sub(1),
            _ => {}
        }
        if held == 0 && is_end(op) {
            seams.push(at + 1);
        }
    }
    let is_own = |op: &Op| {
        matches!(
            op,
            Op::Compute(_)
                | Op::BusyWait(_)
                | Op::Lock(_)
                | Op::TryLock { .. }
                | Op::Unlock(_)
                | Op::Contend { .. }
                | Op::Contended { .. }
                | Op::Put { is_nonblocking: true, .. }
                | Op::Take { is_nonblocking: true, .. }
                | Op::Yield
                | Op::Sleep { until: SleepEnd::After(_) | SleepEnd::Tick { .. }, .. }
        )
    };
    let rounds = seams.windows(2).map(|w| w[0]..w[1]);
    let own: Vec<_> = rounds.filter(|r| ops[r.clone()].iter().all(is_own)).collect();
    // What mostly talks to others is no loop of its own, however regularly it sleeps.
    let is_alone = own.len() * 10 >= seams.len().saturating_sub(1) * 9;
    let repeatable: Vec<_> = own.into_iter().filter(|r| takes_time(&ops[r.clone()])).collect();
    let is_loop = is_alone && repeatable.len() >= FEWEST;
    let end = seams.last().copied().unwrap_or(0);
    let own_from = ops[..end].iter().rposition(|op| !is_own(op)).map_or(0, |at| at + 1);
    is_loop.then_some(Rounds { seams, repeatable, own_from, until: None })
}

/// The last round of a long loop, for a task that ended: the times are those at which its rounds
/// began.
pub(super) fn ending(times: &[u64], by: u64) -> Option<Ending> {
    let after = *times.get(times.len().checked_sub(2)?)?;
    (times.len() >= FEWEST_FOR_A_DATE).then_some(Ending { after, by })
}

/// When the last round of a loop began at the earliest, and when its task was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub after: u64,
    pub by: u64,
}

/// The date at which most loops end, and how many do: one at which two or more were in their last
/// round.
///
/// # Source
///
/// Our own rule. Loops that end after a number of rounds end at times that have nothing to do
/// with each other; loops that are told to stop, or watch the clock, end within a round of one
/// another, however many rounds each had.
pub(super) fn common_end(endings: &[Ending]) -> Option<Timestamp> {
    let covering = |date: u64| endings.iter().filter(move |e| e.after < date && date <= e.by);
    // The best date is just behind the beginning of some last round.
    let best = endings.iter().map(|e| e.after + 1).max_by_key(|date| {
        // Of equals, the earliest.
        (covering(*date).count(), std::cmp::Reverse(*date))
    })?;
    if covering(best).count() < 2 {
        return None;
    }
    let after = covering(best).map(|e| e.after).max()?;
    let by = covering(best).map(|e| e.by).min()?;
    Some(Timestamp(after + (by - after) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Nanos, TaskId};

    const SLEEP: Op =
        Op::Sleep { until: SleepEnd::After(Nanos(5)), state: PrevState::Interruptible, on: None };
    const RUN: Op = Op::Compute(Nanos(1));
    const LOCK: Op = Op::Lock(LockIndex(0));
    const UNLOCK: Op = Op::Unlock(LockIndex(0));

    #[test]
    fn a_round_ends_with_a_sleep_outside_of_sections() {
        let round = [RUN, LOCK, SLEEP, UNLOCK, SLEEP];
        let ops: Vec<Op> = std::iter::repeat_n(round, 6).flatten().collect();
        let rounds = find(&ops, &[]).expect("a loop");
        assert_eq!(rounds.seams, [5, 10, 15, 20, 25, 30]);
        assert_eq!(rounds.repeatable, [5..10, 10..15, 15..20, 20..25, 25..30]);
        assert_eq!((rounds.seam_after(7), rounds.seam_after(10)), (Some(10), Some(15)));
        assert_eq!((rounds.seam_after(30), rounds.end()), (None, 30));
    }

    #[test]
    fn who_never_sleeps_goes_round_by_its_releases() {
        let round = [RUN, LOCK, RUN, UNLOCK];
        let mut ops: Vec<Op> = std::iter::repeat_n(round, 5).flatten().collect();
        assert_eq!(find(&ops, &[]), None);
        let rounds = find_sleepless(&ops, &[]).expect("a loop");
        assert_eq!(rounds.seams, [4, 8, 12, 16, 20]);
        assert_eq!(rounds.repeatable, [4..8, 8..12, 12..16, 16..20]);
        // Rounds without work are not run again.
        let idle: Vec<Op> = std::iter::repeat_n([LOCK, UNLOCK], 9).flatten().collect();
        assert_eq!(find_sleepless(&idle, &[]), None);
        ops.push(SLEEP);
        assert_eq!(find_sleepless(&ops, &[]), None);
    }

    #[test]
    fn a_round_without_time_is_not_repeated() {
        let sleep = |span| Op::Sleep {
            until: SleepEnd::After(Nanos(span)),
            state: PrevState::Interruptible,
            on: None,
        };
        let looping = |round: [Op; 2]| std::iter::repeat_n(round, 6).flatten().collect::<Vec<Op>>();
        let none = looping([Op::Compute(Nanos(0)), sleep(0)]);
        assert_eq!(find(&none, &[]), None);
        let mut some = none;
        some.extend(looping([Op::Yield, sleep(1)]));
        let rounds = find(&some, &[]).expect("a loop");
        assert_eq!(rounds.repeatable, [12..14, 14..16, 16..18, 18..20, 20..22, 22..24]);
        assert_eq!(rounds.seams.len(), 12);
    }

    #[test]
    fn a_round_with_others_in_it_is_not_repeated() {
        let mut ops: Vec<Op> = std::iter::repeat_n([RUN, SLEEP], 12).flatten().collect();
        ops[6] = Op::Wake { target: TaskId(1) };
        let rounds = find(&ops, &[]).expect("a loop");
        assert_eq!(rounds.repeatable[..3], [2..4, 4..6, 8..10]);
        assert_eq!(rounds.own_from, 7);
        ops[10] = Op::Wake { target: TaskId(1) };
        assert_eq!(find(&ops, &[]), None, "two of eleven rounds are not its own");
    }

    #[test]
    fn loops_that_end_together_end_at_a_date() {
        let ending = |(after, by)| Ending { after, by };
        let together = [(90, 104), (95, 120), (98, 101), (10, 20)].map(ending);
        assert_eq!(common_end(&together), Some(Timestamp(99)));
        assert_eq!(common_end(&[(90, 95), (95, 120), (10, 20)].map(ending)), None);
        assert_eq!(common_end(&[]), None);
    }
}
