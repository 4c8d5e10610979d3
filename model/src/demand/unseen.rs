//! Ends of critical sections that the trace does not show: without the mutex calls, an
//! uncontended acquisition or release leaves no event.

use super::extract::{DemandNote, Extract};
use super::{LockIndex, Op};
use crate::{Event, LockId, NameId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// An acquisition whose release the trace may not show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) task: TaskId,
    /// CPU time of the task when it got the mutex.
    pub(super) total: u64,
    /// The same when it first slept after that.
    pub(super) slept: Option<u64>,
}

impl Extract<'_> {
    /// The mutex changes hands, so its holder let go without a trace: after its usual section,
    /// or when it first slept.
    pub(super) fn release_unseen(&mut self, lock: LockIndex, at: u64) {
        let Some(holder) = self.holders.remove(&lock) else { return };
        let name = self.tracker.tasks()[holder.task.index()].comm;
        let typical = self.typical.get(&(name, lock)).map(|span| holder.total + span);
        let is_awake = self.awake.contains(&(name, lock));
        let b = &mut self.builds[holder.task.index()];
        let typical = typical.map(|t| t.min(holder.slept.filter(|_| is_awake).unwrap_or(t)));
        let total = typical.or(holder.slept).unwrap_or(b.total).min(b.total);
        let mark = b.mark_before(at, total);
        b.insert(mark, Op::Unlock(lock));
        if let Some(held) = b.held.iter().rposition(|l| *l == lock) {
            b.held.remove(held);
        }
        self.count(DemandNote::SectionEndGuessed);
    }

    /// Without the mutex calls a contended release is all that shows the owner (kernel model 7.6, O2).
    pub(super) fn contended_release(&mut self, e: &Event, lock: LockId) {
        let Some(index) = self.lock_index.get(&lock).copied() else { return };
        let flags = self.locks[index.index()].flags;
        if !self.hides_sections(flags) || !self.cover.has(flags) {
            return;
        }
        let at = e.at.0;
        let known = self.last_known.get(&index).copied().unwrap_or(0);
        let Some(b) = self.current(e) else { return };
        b.run_to(at);
        let (total, woken) = (b.total, b.woken);
        let Some(task) = self.id(e.tid) else { return };
        let name = self.tracker.tasks()[task.index()].comm;
        let typical = self.typical.get(&(name, index)).copied();
        if let Some(holder) = self.holders.get(&index).copied() {
            let held = total.saturating_sub(holder.total);
            // Much longer than usual: it let go in between and took it again, both unseen.
            let twice = typical.is_some_and(|t| held > t + t / 2)
                || (typical.is_none() && holder.slept.is_some());
            if holder.task == task && !twice {
                self.sections.entry((name, index)).or_default().push(held);
                if holder.slept.is_some() {
                    *self.slept_in.entry((name, index)).or_insert(0) += 1;
                }
                self.holders.remove(&index);
                self.unlock(e, index);
                return;
            }
            self.release_unseen(index, at);
        }
        let is_awake = self.awake.contains(&(name, index));
        let b = &mut self.builds[task.index()];
        let earliest = if woken.at >= known { woken } else { b.mark(at) };
        let mark = match typical {
            Some(span) if is_awake => b.mark_at(at, total.saturating_sub(span).max(b.slept_at)),
            Some(span) => b.mark_at(at, total.saturating_sub(span)),
            None => earliest,
        };
        b.insert(mark, Op::Lock(index));
        b.held.push(index);
        self.count(DemandNote::SectionStartGuessed);
        self.unlock(e, index);
    }
}

/// Fewest known sections that tell whether their task sleeps in them.
const FEWEST: usize = 5;

/// The sections in which tasks do not sleep, of those of which enough are known.
pub(super) fn awake(
    sections: &BTreeMap<(NameId, LockIndex), Vec<u64>>,
    slept_in: &BTreeMap<(NameId, LockIndex), usize>,
) -> BTreeSet<(NameId, LockIndex)> {
    let known = sections.iter().filter(|(_, spans)| spans.len() >= FEWEST);
    let slept = |key| slept_in.get(key).copied().unwrap_or(0);
    known.filter(|(key, spans)| slept(key) * 10 < spans.len()).map(|(key, _)| *key).collect()
}

/// Makes guessed sections consistent: no mutex is taken twice, none is released unheld, and none
/// is held over a second sleep, or over a first one if it is of `awake`. Returns the number of ops
/// added or dropped.
pub(super) fn balance(ops: &mut Vec<Op>, holds: &[LockIndex], awake: &[LockIndex]) -> u64 {
    // Mutex and how often its holder has slept with it.
    let mut held: Vec<(LockIndex, u32)> = holds.iter().map(|l| (*l, 0)).collect();
    let mut balanced = Vec::with_capacity(ops.len());
    let mut changed = 0;
    for op in ops.drain(..) {
        match op {
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } => {
                if let Some(again) = held.iter().position(|(l, _)| *l == lock) {
                    held.remove(again);
                    balanced.push(Op::Unlock(lock));
                    changed += 1;
                }
                held.push((lock, 0));
            }
            Op::Unlock(lock) => match held.iter().rposition(|(l, _)| *l == lock) {
                Some(at) => {
                    held.remove(at);
                }
                None => {
                    changed += 1;
                    continue;
                }
            },
            Op::Sleep { .. } | Op::Wait { .. } => {
                for (lock, sleeps) in &mut held {
                    *sleeps += if awake.contains(lock) { 2 } else { 1 };
                    if *sleeps > 1 {
                        balanced.push(Op::Unlock(*lock));
                        changed += 1;
                    }
                }
                held.retain(|(_, sleeps)| *sleeps <= 1);
            }
            _ => {}
        }
        balanced.push(op);
    }
    *ops = balanced;
    changed
}

/// Releases what a program still holds at its end, so that nobody waits for it for ever. Returns
/// the number of ops added.
///
/// A recording may end inside a section; what its task does next, a replay does not know.
pub(super) fn release_at_end(ops: &mut Vec<Op>, holds: &[LockIndex]) -> u64 {
    let mut held = holds.to_vec();
    for op in &*ops {
        match op {
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } => held.push(*lock),
            Op::Unlock(lock) => {
                if let Some(at) = held.iter().rposition(|l| l == lock) {
                    held.remove(at);
                }
            }
            _ => {}
        }
    }
    // An exit, or a wait that nothing ends, comes behind the release.
    let at = ops.len() - usize::from(matches!(ops.last(), Some(Op::Exit | Op::Wait { .. })));
    let added = held.len() as u64;
    ops.splice(at..at, held.into_iter().rev().map(Op::Unlock));
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::SleepEnd;
    use crate::{Nanos, PrevState};

    const M: LockIndex = LockIndex(0);
    const SLEEP: Op =
        Op::Sleep { until: SleepEnd::After(Nanos(1)), state: PrevState::Interruptible, on: None };

    fn check(ops: &[Op], expected: &[Op]) {
        let mut ops = ops.to_vec();
        balance(&mut ops, &[], &[]);
        assert_eq!(ops, expected);
    }

    #[test]
    fn a_mutex_taken_twice_was_released_between() {
        check(
            &[Op::Lock(M), Op::Lock(M), Op::Unlock(M)],
            &[Op::Lock(M), Op::Unlock(M), Op::Lock(M), Op::Unlock(M)],
        );
    }

    #[test]
    fn what_is_held_at_the_end_is_released_before_the_exit() {
        let mut ops = vec![Op::Lock(M), Op::Compute(Nanos(1)), Op::Exit];
        assert_eq!(release_at_end(&mut ops, &[LockIndex(1)]), 2);
        let unlocks = [Op::Unlock(M), Op::Unlock(LockIndex(1)), Op::Exit];
        assert_eq!(ops[2..], unlocks);
        assert_eq!(release_at_end(&mut ops, &[LockIndex(1)]), 0);
    }

    #[test]
    fn a_release_without_a_section_is_dropped() {
        check(&[Op::Unlock(M), SLEEP], &[SLEEP]);
    }

    #[test]
    fn one_sleep_may_lie_in_a_section_and_two_may_not() {
        check(
            &[Op::Lock(M), SLEEP, SLEEP, Op::Unlock(M)],
            &[Op::Lock(M), SLEEP, Op::Unlock(M), SLEEP],
        );
    }
}
