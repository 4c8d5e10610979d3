//! Guessed sections made consistent with the program that they are put into.

use super::{LockIndex, Op};

/// Makes guessed sections consistent: no mutex is taken twice, none is released unheld, and none
/// is held over a second sleep, or over a first one if it is of `awake`. Returns the number of ops
/// added or dropped.
pub(super) fn balance(
    ops: &mut Vec<Op>,
    holds: &[LockIndex],
    awake: &[LockIndex],
    is_guessed: impl Fn(LockIndex) -> bool,
) -> u64 {
    // Mutex and how often its holder has slept with it.
    let mut held: Vec<(LockIndex, u32)> =
        holds.iter().filter(|l| is_guessed(**l)).map(|l| (*l, 0)).collect();
    let mut balanced = Vec::with_capacity(ops.len());
    let mut changed = 0;
    for op in ops.drain(..) {
        match op {
            Op::Lock(lock) | Op::TryLock { lock, acquired: true } if is_guessed(lock) => {
                if let Some(again) = held.iter().position(|(l, _)| *l == lock) {
                    held.remove(again);
                    balanced.push(Op::Unlock(lock));
                    changed += 1;
                }
                held.push((lock, 0));
            }
            Op::Unlock(lock) if is_guessed(lock) => {
                match held.iter().rposition(|(l, _)| *l == lock) {
                    Some(at) => {
                        held.remove(at);
                    }
                    None => {
                        changed += 1;
                        continue;
                    }
                }
            }
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
        balance(&mut ops, &[], &[], |_| true);
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
