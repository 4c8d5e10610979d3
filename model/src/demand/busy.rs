//! Programs that compute until a date, and not for a time.
//!
//! Who watches the clock in a loop takes as much CPU time as it gets until the date. Replayed as
//! CPU time, it would make up for every preemption, and the phases of such tasks would drift.

use super::program::Build;
use crate::Nanos;

/// Fewest stretches that can show a date.
const FEWEST: usize = 5;
/// Shorter ones are not looked at, ns.
const SHORTEST_NS: u64 = 200_000;
/// Ends on time lie within this of each other, ns: what the program and the kernel still do.
const SPREAD_NS: u64 = 20_000;
/// Who was off its CPU for less than this was not preempted, ns.
const PREEMPTED_NS: u64 = 50_000;
/// Of all stretches, so many in a hundred may end before the date: they are of another kind.
const EARLY_PERCENT: usize = 5;
/// Of all stretches, at least so many in a hundred end on time.
const ON_TIME_PERCENT: usize = 25;
/// Of those on time, at least so many in a hundred were preempted before.
const PREEMPTED_PERCENT: usize = 25;

/// From the moment a task comes to its CPU out of a sleep to its next step.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// The step that ends it.
    step: usize,
    /// By the clock.
    wall: u64,
    /// On a CPU.
    cpu: u64,
}

impl Stretch {
    fn is_preempted(&self) -> bool {
        self.wall.saturating_sub(self.cpu) > PREEMPTED_NS
    }
}

/// The steps before which a task computes until a date, and how long after it came to its CPU that
/// is. Empty where the task just computes.
///
/// # Source
///
/// Our own rule. Work takes as long as the CPU time for it: its ends scatter as soon as it is
/// preempted. Here none ends before the date, many end on it, and many of these were preempted on
/// the way.
///
/// # Deviation
///
/// The date is counted from the first moment on a CPU after a sleep. A program that counts from
/// somewhere else is taken to compute.
pub(super) fn busy_waits(build: &Build) -> Vec<(usize, Nanos)> {
    let stretches = stretches(build);
    let Some(date) = date(&stretches) else { return Vec::new() };
    let waits = stretches.iter().filter(|s| s.wall + SPREAD_NS / 2 >= date);
    waits.map(|s| (s.step, Nanos(date))).collect()
}

fn stretches(build: &Build) -> Vec<Stretch> {
    let pairs = build.steps.windows(2).enumerate();
    let after_sleep = pairs.filter(|(_, pair)| pair[0].leaves());
    let stretch = |(n, pair): (usize, &[super::program::Step])| {
        let from = build.came_after(&pair[0])?;
        Some(Stretch {
            step: n + 1,
            wall: pair[1].at.checked_sub(from)?,
            cpu: pair[1].total.saturating_sub(pair[0].total),
        })
    };
    after_sleep.filter_map(stretch).filter(|s| s.wall >= SHORTEST_NS).collect()
}

/// The span after which the stretches end, if they end at a date.
fn date(stretches: &[Stretch]) -> Option<u64> {
    let mut sorted = stretches.to_vec();
    sorted.sort_unstable_by_key(|s| (s.wall, s.cpu));
    let until = |from: usize| {
        let most = sorted[from].wall + SPREAD_NS;
        from + sorted[from..].partition_point(|s| s.wall <= most)
    };
    let first = (0..sorted.len()).max_by_key(|&n| (until(n) - n, std::cmp::Reverse(n)))?;
    let on_time = &sorted[first..until(first)];
    let preempted = on_time.iter().filter(|s| s.is_preempted()).count();
    let n = sorted.len();
    let is_date = on_time.len() >= FEWEST
        && first * 100 <= n * EARLY_PERCENT
        && on_time.len() * 100 >= n * ON_TIME_PERCENT
        && preempted >= FEWEST
        && preempted * 100 >= on_time.len() * PREEMPTED_PERCENT;
    is_date.then(|| on_time[on_time.len() / 2].wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(wall: u64, cpu: u64) -> Stretch {
        Stretch { step: 0, wall: wall * 1000, cpu: cpu * 1000 }
    }

    #[test]
    fn ends_at_a_date_whatever_the_cpu_time() {
        let on_time = (0..10).map(|n| stretch(30_000 + n % 3, 30_000 - 2_000 * n));
        let late = (0..6).map(|n| stretch(31_000 + 700 * n, 20_000));
        let all: Vec<Stretch> = on_time.chain(late).collect();
        assert_eq!(date(&all), Some(30_001_000));
    }

    #[test]
    fn work_is_no_date() {
        // Ten are never preempted and end alike; the others end later for it.
        let work = (0..10).map(|_| stretch(30_000, 30_000));
        let late = (0..10).map(|n| stretch(30_100 + 900 * n, 30_000));
        let all: Vec<Stretch> = work.chain(late).collect();
        assert_eq!(date(&all), None);
        assert_eq!(date(&[]), None);
    }
}
