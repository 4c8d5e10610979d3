//! How nice levels become weights, and weights become rates of virtual time.

/// Weight of nice 0, and the unit of virtual time: 1 ns of CPU time at nice 0.
pub const NICE_0: i64 = 1 << 20;

/// Load units by nice level, -20 first.
const LOAD_OF_NICE: [i64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// Weight of a fair task, scaled so that nice 0 is [`NICE_0`].
///
/// Nice levels outside -20..=19 count as the nearest one.
///
/// # Source
///
/// Kernel model 5.2; `sched_prio_to_weight` and `set_load_weight` in `kernel/sched/core.c`.
#[must_use]
pub fn weight_of_nice(nice: i32) -> i64 {
    let index = usize::try_from(nice.clamp(-20, 19) + 20).unwrap_or(0);
    LOAD_OF_NICE[index] * 1024
}

/// Weight of a `SCHED_IDLE` task.
pub const IDLE_WEIGHT: i64 = 3 * 1024;

/// Virtual time that `cpu_ns` of CPU time at `weight` amounts to, rounded down.
///
/// # Source
///
/// Kernel model 5.3; `calc_delta_fair` in `kernel/sched/fair.c` (exact division on 64 bits).
///
/// # Panics
///
/// If `weight` is not positive.
#[must_use]
pub fn calc_delta(cpu_ns: i64, weight: i64) -> i64 {
    assert!(weight > 0, "a weight is positive, not {weight}");
    if weight == NICE_0 {
        return cpu_ns;
    }
    let scaled = i128::from(cpu_ns) * i128::from(NICE_0) / i128::from(weight);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

/// EEVDF base slice in nanoseconds on a machine of `n_cpus`.
///
/// # Source
///
/// Kernel model 5.4; `get_update_sysctl_factor` in `kernel/sched/fair.c`.
#[must_use]
pub fn base_slice(n_cpus: usize) -> i64 {
    let factor = match n_cpus {
        0 | 1 => 1,
        2 | 3 => 2,
        4..=7 => 3,
        _ => 4,
    };
    700_000 * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_millisecond_at_each_weight() {
        let at = |nice| calc_delta(1_000_000, weight_of_nice(nice));
        let got = [-20, -10, -5, -1, 0, 1, 5, 10, 19].map(at);
        let kernel = [
            11536, 107_247, 328_099, 801_879, 1_000_000, 1_248_780, 3_056_716, 9_309_090,
            68_266_666,
        ];
        assert_eq!(got, kernel);
        assert_eq!(calc_delta(1_000_000, IDLE_WEIGHT), 341_333_333);
    }

    #[test]
    fn base_slices_of_small_and_large_machines() {
        let us = [1, 2, 3, 4, 7, 8, 16].map(|n| base_slice(n) / 1000);
        assert_eq!(us, [700, 1400, 1400, 2100, 2100, 2800, 2800]);
    }
}
