//! Where virtual time stands on a runqueue, who is owed service, and where a task joins.
//!
//! All virtual times are in ns of CPU time at nice 0, compared by signed difference.

use super::weight::calc_delta;

/// The weighted sum of vruntimes of all queued fair tasks, the running donor included.
///
/// Exact: V is `sum / weight`, never rounded before it is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sum of weights.
    pub weight: i64,
    /// Sum of weight times vruntime.
    pub weighted_vruntime: i128,
}

impl Load {
    /// This load with one more task.
    #[must_use]
    pub fn with(self, vruntime: i64, weight: i64) -> Self {
        Self {
            weight: self.weight + weight,
            weighted_vruntime: self.weighted_vruntime + i128::from(vruntime) * i128::from(weight),
        }
    }

    /// This load with one task less.
    #[must_use]
    pub fn without(self, vruntime: i64, weight: i64) -> Self {
        Self {
            weight: self.weight - weight,
            weighted_vruntime: self.weighted_vruntime - i128::from(vruntime) * i128::from(weight),
        }
    }

    /// V, rounded down; `empty` when nothing is queued.
    ///
    /// # Source
    ///
    /// Kernel model 5.3; `avg_vruntime` in `kernel/sched/fair.c`.
    #[must_use]
    pub fn average(self, empty: i64) -> i64 {
        if self.weight <= 0 {
            return empty;
        }
        let v = self.weighted_vruntime.div_euclid(i128::from(self.weight));
        i64::try_from(v).unwrap_or(empty)
    }

    /// Whether a task at `vruntime` is owed service: not beyond the exact weighted mean.
    ///
    /// # Source
    ///
    /// Kernel model 5.3; `vruntime_eligible`.
    #[must_use]
    pub fn is_eligible(self, vruntime: i64) -> bool {
        self.weighted_vruntime >= i128::from(vruntime) * i128::from(self.weight)
    }
}

/// The lag a task keeps when it leaves its runqueue or changes weight.
///
/// `limit_ns` is the largest slice queued plus one tick, in CPU time.
///
/// # Source
///
/// Kernel model 5.3; `entity_lag`.
#[must_use]
pub fn clamp_lag(average: i64, vruntime: i64, limit_ns: i64, weight: i64) -> i64 {
    let limit = calc_delta(limit_ns, weight);
    (average - vruntime).clamp(-limit, limit)
}

/// The lag of a delayed task: it decays toward zero and never becomes positive.
///
/// # Source
///
/// Kernel model 5.9 (`DELAY_ZERO`); `update_entity_lag`.
#[must_use]
pub fn decayed_lag(lag_now: i64, lag_at_sleep: i64) -> i64 {
    lag_now.max(lag_at_sleep).min(0)
}

/// Vruntime at which a task with `lag` joins `others` so that it keeps that lag.
///
/// `average` is V of `others`. Joining moves V itself, hence the inflation by `(W + w) / W`.
///
/// # Source
///
/// Kernel model 5.5; `place_entity` with `PLACE_LAG`.
#[must_use]
pub fn place(average: i64, others: Load, lag: i64, weight: i64) -> i64 {
    if others.weight <= 0 || lag == 0 {
        return average;
    }
    let inflated = i128::from(lag) * i128::from(others.weight + weight) / i128::from(others.weight);
    average - i64::try_from(inflated).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::weight::{NICE_0, weight_of_nice};

    fn load(tasks: &[(i64, i64)]) -> Load {
        tasks.iter().fold(Load::default(), |l, &(v, w)| l.with(v, w))
    }

    #[test]
    fn average_is_the_weighted_mean_rounded_down() {
        assert_eq!(load(&[(-1, NICE_0), (0, NICE_0)]).average(7), -1);
        assert_eq!(load(&[(1, NICE_0), (0, NICE_0)]).average(7), 0);
        let three = load(&[(1000, NICE_0), (2000, NICE_0), (4000, weight_of_nice(5))]);
        assert_eq!(three.average(7), 1851);
        assert_eq!(Load::default().average(7), 7);
    }

    #[test]
    fn a_task_at_the_exact_mean_is_eligible_and_one_above_the_rounded_mean_is_not() {
        let l = load(&[(0, NICE_0), (1, NICE_0)]);
        assert!(l.is_eligible(0));
        assert!(!l.is_eligible(1));
    }

    #[test]
    fn joining_keeps_the_lag() {
        let one = load(&[(1_000_000, NICE_0)]);
        assert_eq!(place(one.average(0), one, 500_000, NICE_0), 0);
        let two = load(&[(1_000_000, NICE_0), (1_000_000, NICE_0)]);
        assert_eq!(1_000_000 - place(1_000_000, two, 500_000, weight_of_nice(5)), 581_787);
    }

    #[test]
    fn lag_is_limited_by_the_largest_slice_and_a_tick() {
        assert_eq!(clamp_lag(1 << 40, 0, 3_800_000, NICE_0), 3_800_000);
        assert_eq!(clamp_lag(-(1 << 40), 0, 3_800_000, weight_of_nice(5)), -11_615_522);
    }

    #[test]
    fn a_delayed_task_never_gains_lag_by_sleeping() {
        assert_eq!(decayed_lag(-5, -10), -5);
        assert_eq!(decayed_lag(-20, -10), -10);
        assert_eq!(decayed_lag(3, -10), 0);
    }
}
