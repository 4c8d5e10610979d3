//! Which stretch of a recording its clock carries through.

use crate::Timestamp;

/// Silence on all CPUs that no recording of a schedule has, in ns: ten minutes.
///
/// Kernel threads wake within seconds. Beyond this, a damaged time stamp or two recordings in one
/// file are far more likely, and a replay would run through years of idle time.
const SILENCE_NS: u64 = 600_000_000_000;

/// Finds the longest stretch of events without such a silence, by number of events; the first of
/// equals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unbroken {
    best: Stretch,
    current: Stretch,
}

/// Some events in a row, from the first to the last.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    n: usize,
    from: Timestamp,
    to: Timestamp,
}

impl Unbroken {
    /// Takes the next event.
    pub(crate) fn observe(&mut self, at: Timestamp) {
        let current = &mut self.current;
        if at.0.saturating_sub(current.to.0) > SILENCE_NS || current.n == 0 {
            *current = Stretch { n: 0, from: at, to: at };
        }
        current.n += 1;
        current.to = at;
        if current.n > self.best.n {
            self.best = *current;
        }
    }

    /// When it begins and ends; both 0 where there are no events.
    pub(crate) fn bounds(&self) -> (Timestamp, Timestamp) {
        (self.best.from, self.best.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: &[u64], expected: (u64, u64)) {
        let mut unbroken = Unbroken::default();
        let at = |second: u64| Timestamp(second * 1_000_000_000);
        seconds.iter().for_each(|second| unbroken.observe(at(*second)));
        assert_eq!(unbroken.bounds(), (at(expected.0), at(expected.1)));
    }

    #[test]
    fn a_silence_ends_a_stretch() {
        check(&[0, 600, 1200, 1801, 1802, 99_000_000], (0, 1200));
        check(&[1801, 1802, 99_000_000], (1801, 1802));
        check(&[], (0, 0));
    }

    #[test]
    fn the_first_of_equals_counts() {
        check(&[0, 1, 99_000, 99_001], (0, 1));
    }
}
