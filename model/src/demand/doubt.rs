//! Which of the owners that were concluded are wrong in one draw, and who had the lock instead.

use super::program::Build;
use super::section::Held;
use super::{LockIndex, Op};
use std::collections::BTreeMap;

/// Holds of each task, by its place among the programs.
pub(super) type Holds = Vec<Vec<Held>>;

/// The holds as one draw has them: of owners that are right in `permille` of a thousand cases, the
/// others go to another task that has this lock at some time and does not wait for it just then;
/// where there is none, nobody had the lock.
///
/// # Source
///
/// Our own rule: the draws vary what the ledger is not sure of, as often as it is not sure.
pub(super) fn holds_in_draw(programs: &[(&Build, &[Held])], seed: u64) -> Holds {
    let users = users(programs);
    let mut drawn: Holds = vec![Vec::new(); programs.len()];
    for (task, (_, held)) in programs.iter().enumerate() {
        for one in *held {
            let number = number(seed, one);
            if number % 1000 < u64::from(one.hold.permille) {
                drawn[task].push(*one);
                continue;
            }
            let all = users.get(&one.lock).map_or(&[][..], Vec::as_slice);
            let others: Vec<usize> = all
                .iter()
                .copied()
                .filter(|other| *other != task && !is_busy(&programs[*other], one))
                .collect();
            let place = usize::try_from(number / 1000).unwrap_or(0).checked_rem(others.len());
            if let Some(other) = place.and_then(|place| others.get(place)) {
                // Nothing is seen of it.
                let mut hold = one.hold;
                (hold.acquired.is_seen, hold.released.is_seen) = (false, false);
                drawn[*other].push(Held { hold, ..*one });
            }
        }
    }
    for of_task in &mut drawn {
        of_task.sort_by_key(|h| (h.hold.released.latest, h.hold.acquired.latest, h.lock));
    }
    drawn
}

/// Who has each lock at some time.
fn users(programs: &[(&Build, &[Held])]) -> BTreeMap<LockIndex, Vec<usize>> {
    let mut users: BTreeMap<LockIndex, Vec<usize>> = BTreeMap::new();
    for (task, (_, held)) in programs.iter().enumerate() {
        for one in *held {
            let of_lock = users.entry(one.lock).or_default();
            if of_lock.last() != Some(&task) {
                of_lock.push(task);
            }
        }
    }
    users
}

/// Whether a task has the lock, or waits for it, at some time of a hold that is not its own.
fn is_busy((build, held): &(&Build, &[Held]), other: &Held) -> bool {
    let (from, to) = (other.hold.acquired.latest, other.hold.released.earliest);
    let first = held.partition_point(|h| h.hold.released.latest < from);
    held[first..].iter().filter(|h| h.lock == other.lock).take(2).any(|h| {
        let asked = build.asked_before(h.hold.acquired.latest.0, h.lock);
        asked.unwrap_or(h.hold.acquired.latest.0) <= to.0
    })
}

/// A number of this hold in this draw.
fn number(seed: u64, held: &Held) -> u64 {
    let Held { lock, hold } = held;
    let words = [u64::from(lock.0), hold.acquired.latest.0, u64::from(hold.task.0)];
    // SplitMix64 (Steele, Lea and Flood, 2014), one round a word.
    words.into_iter().fold(seed, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

impl Build {
    /// When the task asked for a lock that it got at `at`, if its program shows that.
    fn asked_before(&self, at: u64, lock: LockIndex) -> Option<u64> {
        /// What lies between asking and getting is a few steps at most.
        const NEAR: usize = 8;
        let after = self.steps.partition_point(|s| s.at <= at);
        let steps = self.steps[..after].iter().rev().take(NEAR);
        steps.into_iter().find(|s| matches!(s.op, Op::Lock(l) if l == lock)).map(|s| s.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Edge, Hold, TaskId, Timestamp};

    fn held(task: u32, from: u64, to: u64, permille: u16) -> Held {
        let (acquired, released) = (Edge::seen(Timestamp(from)), Edge::seen(Timestamp(to)));
        let task = TaskId(task);
        let hold = Hold { task, acquired, released, permille, is_watched: false };
        Held { lock: LockIndex(0), hold }
    }

    #[test]
    fn owners_are_wrong_as_often_as_they_say() {
        let (a, b) = (Build::default(), Build::default());
        let doubted: Vec<Held> = (0..1000).map(|n| held(0, 10 * n, 10 * n + 5, 900)).collect();
        let other = [held(1, 100_000, 100_001, 1000)];
        let drawn = holds_in_draw(&[(&a, &doubted), (&b, &other)], 1);
        let kept = drawn[0].len();
        assert!((860..940).contains(&kept), "{kept}");
        // The others went to the one other task, unseen.
        assert_eq!(drawn[1].len(), 1000 - kept + 1);
        assert!(!drawn[1][0].hold.acquired.is_seen);
        assert_eq!(drawn[1].last().map(|h| h.hold.permille), Some(1000));
        let again = holds_in_draw(&[(&a, &doubted), (&b, &other)], 1);
        assert_eq!(again[0].len(), kept);
        assert_ne!(holds_in_draw(&[(&a, &doubted), (&b, &other)], 2)[0].len(), 0);
    }

    #[test]
    fn who_has_the_lock_already_is_nobody_to_take_it() {
        let (a, b) = (Build::default(), Build::default());
        let (doubted, busy) = ([held(0, 10, 20, 0)], [held(1, 5, 30, 1000)]);
        let drawn = holds_in_draw(&[(&a, &doubted), (&b, &busy)], 1);
        assert_eq!((drawn[0].len(), drawn[1].len()), (0, 1));
    }
}
