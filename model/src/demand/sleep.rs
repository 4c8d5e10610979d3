//! Whether a timer sleep is a span or a date: closed loops from periodic tasks.

use super::{Machine, SleepEnd};
use crate::{Nanos, Timestamp};

/// A sleep ended by an interrupt, while its task's program is being built.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimerSleep {
    /// Its step.
    pub step: usize,
    /// When it began.
    pub since: u64,
    /// When the wakeup was recorded.
    pub woken: u64,
    /// When its timer was due, when the trace has the timer.
    pub expiry: Option<u64>,
    /// Whether a softirq woke it: timers that count jiffies do.
    pub by_softirq: bool,
}

/// Fewest sleeps that can show a period.
const FEWEST: usize = 5;
/// Shortest period that is told from chance, ns.
const SHORTEST_NS: u64 = 100_000;

/// The sleeps of one task that end at dates of the machine and not after a span of their own.
pub(super) fn timed(sleeps: &[TimerSleep], machine: &Machine) -> Vec<(usize, SleepEnd)> {
    let (by_softirq, others): (Vec<TimerSleep>, Vec<TimerSleep>) =
        sleeps.iter().partition(|s| s.by_softirq && s.expiry.is_none());
    let period = u64::from(1_000_000_000 / machine.hz.max(1)).max(1);
    let mut timed = at_ticks(&by_softirq, period, machine.tick_phase.0 % period);
    if timed.is_empty() {
        return periodic(sleeps);
    }
    timed.extend(periodic(&others));
    timed.sort_unstable_by_key(|(step, _)| *step);
    timed
}

/// Sleeps that end in the softirq behind a tick: timers that count jiffies (`schedule_timeout`).
///
/// # Source
///
/// `run_timer_base` in `kernel/time/timer.c` runs behind the tick. Half of the sleeps must end in
/// the first tenth of a tick's period; chance would put a tenth there.
fn at_ticks(sleeps: &[TimerSleep], period: u64, phase: u64) -> Vec<(usize, SleepEnd)> {
    let behind = |s: &TimerSleep| s.woken.saturating_add(period - phase) % period;
    let mut near: Vec<u64> = sleeps.iter().map(behind).filter(|b| *b < period / 10).collect();
    near.sort_unstable();
    if near.len() < FEWEST || near.len() * 2 < sleeps.len() {
        return Vec::new();
    }
    let after = near[near.len() / 2];
    let ticks = |at: u64| at.saturating_add(period - phase) / period;
    let at_tick = sleeps.iter().filter(|s| behind(s) < period / 10);
    let end = |s: &TimerSleep| {
        let nth = ticks(s.woken).saturating_sub(ticks(s.since));
        // What a scenario can say.
        let nth = i32::try_from(nth).unwrap_or(i32::MAX).unsigned_abs();
        (s.step, SleepEnd::Tick { nth, after: Nanos(after) })
    };
    at_tick.map(end).collect()
}

/// The sleeps of one task that keep to a period, by their steps, and how they end.
///
/// # Source
///
/// Our own rule. A periodic task's releases keep one phase over the whole
/// recording; a closed loop of constant length drifts with every preemption.
/// With timers recorded the phase must agree within 2 us, else within 0.1 ms.
pub(super) fn periodic(sleeps: &[TimerSleep]) -> Vec<(usize, SleepEnd)> {
    let with_timer = sleeps.iter().filter(|s| s.expiry.is_some()).count();
    let exact = with_timer * 10 >= sleeps.len() * 9 && with_timer > 0;
    let sleeps: Vec<_> = sleeps.iter().filter(|s| !exact || s.expiry.is_some()).collect();
    let date = |s: &TimerSleep| if exact { s.expiry.unwrap_or(s.woken) } else { s.woken };
    let tolerance = if exact { 2_000 } else { 100_000 };
    if sleeps.len() < FEWEST {
        return Vec::new();
    }
    let dates: Vec<u64> = sleeps.iter().map(|s| date(s)).collect();
    let Some(period) = period_of(&dates, tolerance) else { return Vec::new() };
    let mut late: Vec<u64> = sleeps.iter().map(|s| s.woken.saturating_sub(date(s))).collect();
    late.sort_unstable();
    let latency = if exact { late[late.len() / 2] } else { 0 };
    let phase = phase_of(&dates, period);
    let on_phase = sleeps.iter().filter(|s| off_phase(date(s), phase, period) <= tolerance);
    let end = |sleep: &&TimerSleep| {
        let span = (date(sleep) + latency).saturating_sub(sleep.since);
        // A sleep over several releases waits for a date: a start, not the next round.
        let until = if span > period {
            SleepEnd::At(Timestamp(date(sleep) + latency))
        } else {
            SleepEnd::Period { phase: Timestamp(phase + latency), period: Nanos(period) }
        };
        (sleep.step, until)
    };
    on_phase.map(end).collect()
}

/// The period that at least nine in ten dates keep.
fn period_of(dates: &[u64], tolerance: u64) -> Option<u64> {
    let mut gaps: Vec<u64> = dates.windows(2).map(|w| w[1].saturating_sub(w[0])).collect();
    gaps.sort_unstable();
    // The shortest gap may be an outlier; try a few low quantiles.
    let candidates = [0, gaps.len() / 20, gaps.len() / 10, gaps.len() / 4, gaps.len() / 2];
    candidates.into_iter().filter_map(|i| gaps.get(i).copied()).find_map(|gap| {
        let period = refine(dates, gap)?;
        // A tolerance near the period itself would accept anything.
        if period < SHORTEST_NS || tolerance * 20 > period {
            return None;
        }
        let phase = phase_of(dates, period);
        let kept = dates.iter().filter(|d| off_phase(**d, phase, period) <= tolerance).count();
        (kept * 10 >= dates.len() * 9).then_some(period)
    })
}

/// The period nearest to `gap` that divides the whole recording, rounded to a round microsecond
/// when that changes nothing over its length.
fn refine(dates: &[u64], gap: u64) -> Option<u64> {
    let total = dates.last()?.saturating_sub(*dates.first()?);
    if gap == 0 || total < gap {
        return None;
    }
    let mut period = gap;
    // Multiples by the guess so far; longer and longer spans sharpen it.
    for window in [8u64, 64, 512, u64::MAX] {
        let last = dates.iter().take_while(|d| (**d - dates[0]) / gap <= window).last()?;
        let span = last - dates[0];
        let n = (span + period / 2) / period;
        period = (span + n / 2).checked_div(n).unwrap_or(period).max(1);
    }
    let round = (period + 500) / 1000 * 1000;
    let n = total / period.max(1);
    Some(if round.abs_diff(period) * n < 20_000 { round } else { period })
}

/// The median phase of dates near the first one's.
fn phase_of(dates: &[u64], period: u64) -> u64 {
    let first = dates[0];
    let half = period / 2;
    let mut shifts: Vec<u64> = dates.iter().map(|d| (d - first + half) % period).collect();
    shifts.sort_unstable();
    (first + shifts[shifts.len() / 2]).saturating_sub(half)
}

fn off_phase(date: u64, phase: u64, period: u64) -> u64 {
    let r = (date.abs_diff(phase)) % period;
    r.min(period - r)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeps(dates: &[u64]) -> Vec<TimerSleep> {
        let one = |(step, woken): (usize, &u64)| TimerSleep {
            step,
            since: woken.saturating_sub(9),
            woken: *woken,
            expiry: None,
            by_softirq: false,
        };
        dates.iter().enumerate().map(one).collect()
    }

    #[test]
    fn releases_that_skip_and_jitter_keep_their_period() {
        let dates: Vec<u64> =
            [0u64, 1, 2, 4, 5, 7, 8, 9, 12].map(|k| 5_000 + k * 10_000_000 + k % 3 * 900).into();
        let found = periodic(&sleeps(&dates));
        assert_eq!(found.len(), dates.len());
        let (3, SleepEnd::Period { phase, period }) = found[3] else { panic!("{:?}", found[3]) };
        assert_eq!(period, Nanos(10_000_000));
        assert!(off_phase(phase.0, 5_000, period.0) < 2_000, "{phase}");
    }

    #[test]
    fn jiffies_are_counted_from_the_next_tick() {
        // Ticks at 300, 1300, 2300, ...; each sleep begins 9 ns before it ends, or two ticks.
        let mut list = sleeps(&[1305, 2304, 4305, 5306, 6305]);
        list[1].since = 1200;
        let ends: Vec<SleepEnd> = at_ticks(&list, 1000, 300).into_iter().map(|(_, e)| e).collect();
        let tick = |nth| SleepEnd::Tick { nth, after: Nanos(5) };
        assert_eq!(ends, [tick(1), tick(2), tick(1), tick(1), tick(1)]);
        // Anywhere in the period: a device.
        assert_eq!(at_ticks(&sleeps(&[1305, 2504, 4705, 5906, 6105]), 1000, 300), []);
    }

    #[test]
    fn a_closed_loop_drifts_and_is_no_period() {
        let mut at = 0;
        let dates: Vec<u64> = (0..50u64)
            .map(|k| {
                at += 1_500_000 + if k % 4 == 0 { 700_000 } else { 0 };
                at
            })
            .collect();
        assert_eq!(periodic(&sleeps(&dates)), []);
    }
}
