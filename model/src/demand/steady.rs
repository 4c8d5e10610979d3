//! How much the same work varies on the recorded machine.

use super::{Demand, Op};

/// Fewest rounds that say how much they vary.
const FEWEST: usize = 40;
/// Shorter rounds vary with the clock, ns.
const SHORTEST_NS: u64 = 20_000;
/// Rounds that vary more than this, in thousandths, are not the same work.
const MOST_PERMILLE: u64 = 250;
/// The distance of the quartiles of a normal distribution, in thousandths of its deviation.
const QUARTILES_PERMILLE: u64 = 1349;

impl Demand {
    /// The scatter of the CPU time of the steadiest loop's rounds, in thousandths of their median:
    /// what the machine makes of work that is always the same. `None`: no loop is steady.
    ///
    /// # Source
    ///
    /// Our own measure: the distance of the quartiles, which odd rounds do not change. It is 0 to
    /// 60 in the one-CPU recordings, whose guest counted instructions, and 52 to 221 in the
    /// two-CPU ones, whose guest ran beside others.
    #[must_use]
    pub fn steadiest_permille(&self) -> Option<u32> {
        let scatters = self.tasks.iter().filter_map(|task| scatter(&task.ops));
        let steadiest = scatters.min().filter(|s| *s <= MOST_PERMILLE)?;
        u32::try_from(steadiest).ok()
    }
}

fn scatter(ops: &[Op]) -> Option<u64> {
    let (mut rounds, mut length) = (Vec::new(), 0);
    for op in ops {
        match op {
            Op::Compute(span) => length += span.0,
            Op::Sleep { .. } if length > 0 => rounds.push(std::mem::take(&mut length)),
            _ => {}
        }
    }
    if rounds.len() < FEWEST {
        return None;
    }
    rounds.sort_unstable();
    let quarter = |n: usize| rounds[rounds.len() * n / 4];
    let median = quarter(2);
    let wide = (quarter(3) - quarter(1)).checked_mul(1_000_000)?;
    (median >= SHORTEST_NS).then(|| wide / QUARTILES_PERMILLE / median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::SleepEnd;
    use crate::{Nanos, PrevState};

    fn rounds(lengths: impl Iterator<Item = u64>) -> Vec<Op> {
        let until = SleepEnd::After(Nanos(5));
        let sleep = Op::Sleep { until, state: PrevState::Interruptible, on: None };
        lengths.flat_map(|length| [Op::Compute(Nanos(length)), sleep]).collect()
    }

    #[test]
    fn the_scatter_is_that_of_the_quartiles() {
        assert_eq!(scatter(&rounds((0..40).map(|_| 100_000))), Some(0));
        // Evenly from 80 to 120: the quartiles are 20 apart.
        let even = rounds((0..41).map(|n| 80_000 + 1000 * n));
        assert_eq!(scatter(&even), Some(148));
        // A few odd rounds change nothing.
        let odd = rounds((0..41).map(|n| if n < 38 { 100_000 } else { 1 }));
        assert_eq!(scatter(&odd), Some(0));
    }

    #[test]
    fn few_or_short_rounds_say_nothing() {
        assert_eq!(scatter(&rounds((0..39).map(|_| 100_000))), None);
        assert_eq!(scatter(&rounds((0..40).map(|_| 1_000))), None);
    }
}
