//! How load and utilization are remembered: a geometric average with a half-life of 32 ms.

/// One period, ns: 1024 us of 1024 ns.
const PERIOD_NS: u64 = 1 << 20;
/// Periods in which the past loses half of its weight.
const HALF_LIFE: usize = 32;
/// Fixed-point one.
const ONE: u64 = 1 << 32;
/// `2^(-1/32)` in units of `2^-32`.
const Y: u64 = 4_202_935_003;

/// `Y^n` for n below the half-life.
const POWERS: [u64; HALF_LIFE] = {
    let mut powers = [ONE; HALF_LIFE];
    let mut n = 1;
    while n < HALF_LIFE {
        powers[n] = (powers[n - 1] * Y) >> 32;
        n += 1;
    }
    powers
};

/// What is left of the past after `ns`, in units of `2^-32`.
///
/// # Source
///
/// Kernel model 6.6 and 9.1; `decay_load` in `kernel/sched/pelt.c`.
///
/// # Deviation
///
/// The kernel decays at the borders of periods; here the decay within one is linear.
#[must_use]
pub fn rest(ns: u64) -> u64 {
    let (periods, part) = (ns / PERIOD_NS, ns % PERIOD_NS);
    let halvings = periods / HALF_LIFE as u64;
    if halvings >= 32 {
        return 0;
    }
    let position = usize::try_from(periods % HALF_LIFE as u64).unwrap_or(0);
    let whole = POWERS[position] >> halvings;
    let kept = ONE - (((ONE - Y) * part) >> 20);
    u64::try_from((u128::from(whole) * u128::from(kept)) >> 32).unwrap_or(ONE)
}

/// The average of a level over time, remembered with a half-life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Average {
    /// In 1024ths, so that small levels do not vanish.
    scaled: i64,
    at: u64,
}

impl Average {
    /// An average that has been at `level` forever.
    #[must_use]
    pub fn of(level: i64, at: u64) -> Self {
        Self { scaled: level << 10, at }
    }

    /// Takes in that the level was `level` up to `now`.
    pub fn advance(&mut self, now: u64, level: i64) {
        if now <= self.at {
            return;
        }
        let rest = i128::from(rest(now - self.at));
        let target = level << 10;
        let past = (i128::from(self.scaled - target) * rest) >> 32;
        self.scaled = target + i64::try_from(past).unwrap_or(0);
        self.at = now;
    }

    /// The average now.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.scaled >> 10
    }

    /// Adds what a task brings along, or takes what it carries off.
    pub fn add(&mut self, level: i64) {
        self.scaled = (self.scaled + (level << 10)).max(0);
    }
}

/// CPUs of a cache that a wakeup looks at before it stops looking for an idle one; `utilization` is
/// their sum, 1024 for a CPU that is always busy.
///
/// # Source
///
/// Kernel model 4.3; `update_idle_cpu_scan`.
#[must_use]
pub fn nr_idle_scan(cpus: u64, utilization: u64) -> u64 {
    let each = (utilization / cpus.max(1)).min(1024);
    let squared = each * each * 117 * 117 / (100 * 100 * 1024);
    1024u64.saturating_sub(squared) * cpus / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_left_after_32_periods() {
        let percent = |periods: u64| rest(periods * PERIOD_NS) * 1000 / ONE;
        assert_eq!([0, 1, 16, 32, 64, 96].map(percent), [1000, 978, 707, 500, 250, 125]);
        assert_eq!(rest(u64::MAX), 0);
    }

    #[test]
    fn an_average_goes_half_way_in_a_half_life() {
        let mut average = Average::default();
        average.advance(32 * PERIOD_NS, 1000);
        assert_eq!(average.value(), 500);
        average.advance(64 * PERIOD_NS, 1000);
        assert_eq!(average.value(), 750);
        average.advance(96 * PERIOD_NS, 0);
        assert_eq!(average.value(), 375);
    }

    #[test]
    fn the_busier_a_cache_the_shorter_the_search() {
        let of_16 = |percent: u64| nr_idle_scan(16, 16 * 1024 * percent / 100);
        assert_eq!([0, 25, 50, 70, 80, 86].map(of_16), [16, 14, 10, 5, 2, 0]);
        assert_eq!([0, 60, 61].map(|p| nr_idle_scan(2, 2 * 1024 * p / 100)), [2, 1, 0]);
    }
}
