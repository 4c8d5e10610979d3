//! What is predicted, and how far that may be off: several replays of one recording, each with
//! other random numbers.

use crate::fidelity::Fidelity;
use crate::identity::TaskKey;
use crate::part::Part;
use crate::summary::{Summary, TaskSummary};
use serde::Serialize;
use std::collections::BTreeMap;

/// Half of a 90 % interval in standard deviations.
const HALF_WIDTH: f64 = 1.645;

/// Of the scatter of equal work within a recording, what the means of two runs differ by.
const OF_STEADIEST: f64 = 0.5;
/// That difference where a recording has no work that is always the same.
const UNSTEADY: f64 = 0.1;

/// What widens intervals beside the draws.
#[derive(Clone, Copy, Debug)]
pub struct Doubts<'f> {
    /// How far the baseline replay is from the recording.
    pub fidelity: &'f Fidelity,
    /// `Demand::steadiest_permille`.
    pub steadiest_permille: Option<u32>,
}

/// The baseline and the other policy, replayed with the same random numbers.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Under the baseline.
    pub before: Summary,
    /// Under the other policy.
    pub after: Summary,
}

/// Where a relative change lies with 90 % confidence: -0.5 is half, 1 is twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A quantity under the baseline and under the other policy, each the mean of all draws.
///
/// One replay is one throw: whether two tasks meet inside a short section hangs on microseconds.
/// The prediction is the ratio of the means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Means {
    /// Under the baseline.
    pub before: f64,
    /// Under the other policy.
    pub after: f64,
}

/// The estimates of one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskInterval {
    /// Who.
    pub key: TaskKey,
    /// Of the mean response.
    pub response: Option<Interval>,
    /// The mean response, ns.
    pub response_mean: Option<Means>,
    /// Of the total lock wait.
    pub lock_wait: Option<Interval>,
    /// The total lock wait, ns.
    pub lock_wait_mean: Option<Means>,
    /// What of it the owner was runnable behind a less urgent task, ns.
    pub inverted_mean: Option<Means>,
    /// Of the time from its first to its last moment on a CPU.
    pub span: Option<Interval>,
    /// That time, ns.
    pub span_mean: Option<Means>,
}

/// The intervals of a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Intervals {
    /// Pairs of replays behind them.
    pub draws: usize,
    /// Of the inversion time of all tasks.
    pub inversion: Option<Interval>,
    /// That time, ns.
    pub inversion_mean: Option<Means>,
    /// What of it proxy execution can act on, ns.
    pub curable_mean: Option<Means>,
    /// Tasks in order of name and position.
    pub tasks: Vec<TaskInterval>,
}

impl Intervals {
    /// Those of a task.
    #[must_use]
    pub fn of(&self, key: &TaskKey) -> Option<&TaskInterval> {
        self.tasks.binary_search_by(|t| t.key.cmp(key)).ok().map(|index| &self.tasks[index])
    }
}

/// What one draw says about a quantity: before, after, and the relative error of each.
#[derive(Clone, Copy, Debug)]
struct Pair {
    before: f64,
    after: f64,
    /// Squared relative errors of both, added up.
    sampling: f64,
}

/// Intervals from several draws.
///
/// Four things that widen one are added as variances of the logarithm of the ratio: how much the
/// draws differ; how much a mean of so few episodes may be off; by how much the baseline replay
/// misses the recording, task by task; and how much two runs of the same work differ on this
/// machine, taken from how much its steadiest loop varies.
///
/// # Source
///
/// Our own; `docs/fidelity.md` says how often the truth lies inside.
#[must_use]
pub fn intervals(draws: &[Draw], doubts: &Doubts<'_>) -> Intervals {
    let fidelity = doubts.fidelity;
    let steadiest = doubts.steadiest_permille.map(|p| OF_STEADIEST * f64::from(p) / 1000.0);
    let machine = steadiest.unwrap_or(UNSTEADY).powi(2);
    let misses: BTreeMap<&TaskKey, f64> =
        fidelity.tasks.iter().map(|t| (&t.key, t.response_error)).collect();
    let typical = fidelity.median_response_error.unwrap_or(0.0);
    let mut by_task: BTreeMap<&TaskKey, [Vec<Pair>; 4]> = BTreeMap::new();
    for draw in draws {
        let after: BTreeMap<&TaskKey, &TaskSummary> =
            draw.after.tasks.iter().map(|t| (&t.key, t)).collect();
        for before in &draw.before.tasks {
            let Some(after) = after.get(&before.key) else { continue };
            let [responses, waits, spans, inverted] = by_task.entry(&before.key).or_default();
            responses.push(response(before, after));
            waits.push(lock_wait(before, after));
            spans.push(Pair::of(before, after, |t| t.span_ns));
            inverted.push(Pair::of(before, after, |t| t.waits.parts.get(Part::BehindLessUrgent).0));
        }
    }
    let inversion = |s: &Summary| s.waits.inversion.total_ns() as f64;
    let whole = |d: &Draw| {
        let (a, b) = (d.before.waits.length.count, d.after.waits.length.count);
        Pair { before: inversion(&d.before), after: inversion(&d.after), sampling: of_counts(a, b) }
    };
    let inversions: Vec<Pair> = draws.iter().map(whole).collect();
    let can_act_on = |s: &Summary| s.waits.inversion.curable_ns as f64;
    let curable: Vec<Pair> = draws
        .iter()
        .map(|d| Pair { before: can_act_on(&d.before), after: can_act_on(&d.after), sampling: 0.0 })
        .collect();
    let task = |(key, [responses, waits, spans, inverted]): (&TaskKey, [Vec<Pair>; 4])| {
        let miss = misses.get(key).copied().unwrap_or(typical);
        TaskInterval {
            key: key.clone(),
            response: interval(&responses, draws.len(), (miss, machine)),
            response_mean: means(&responses, draws.len()),
            lock_wait: interval(&waits, draws.len(), (miss, machine)),
            lock_wait_mean: means(&waits, draws.len()),
            inverted_mean: means(&inverted, draws.len()),
            span: interval(&spans, draws.len(), (0.0, machine)),
            span_mean: means(&spans, draws.len()),
        }
    };
    Intervals {
        draws: draws.len(),
        inversion: interval(&inversions, draws.len(), (typical, machine)),
        inversion_mean: means(&inversions, draws.len()),
        curable_mean: means(&curable, draws.len()),
        tasks: by_task.into_iter().map(task).collect(),
    }
}

/// Of the error of a mean over draws: where it is less, more of them say no more.
const SETTLED: f64 = 0.02;
/// Tasks with fewer responses have other doubts.
const FEWEST_RESPONSES: u64 = 20;

/// Whether the predicted changes of mean responses and of the inversion are known so well that more
/// draws are not needed.
///
/// # Source
///
/// The standard error of the mean of the logarithms of the draws' own ratios.
#[must_use]
pub fn is_settled(draws: &[Draw]) -> bool {
    let mut ratios: BTreeMap<&TaskKey, Vec<f64>> = BTreeMap::new();
    for draw in draws {
        let after: BTreeMap<&TaskKey, &TaskSummary> =
            draw.after.tasks.iter().map(|t| (&t.key, t)).collect();
        for before in &draw.before.tasks {
            let Some(after) = after.get(&before.key) else { continue };
            let (a, b) = (before.responses, after.responses);
            if a.count.min(b.count) >= FEWEST_RESPONSES && a.mean_ns > 0.0 && b.mean_ns > 0.0 {
                ratios.entry(&before.key).or_default().push((b.mean_ns / a.mean_ns).ln());
            }
        }
    }
    ratios.values().all(|logs| standard_error(logs) <= SETTLED)
}

/// Of the mean of these numbers.
fn standard_error(numbers: &[f64]) -> f64 {
    let n = numbers.len() as f64;
    let middle = numbers.iter().sum::<f64>() / n;
    let spread = numbers.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (spread / n).sqrt()
}

fn response(before: &TaskSummary, after: &TaskSummary) -> Pair {
    let (a, b) = (before.responses, after.responses);
    let squared = |error: f64, mean: f64| if mean > 0.0 { (error / mean).powi(2) } else { 0.0 };
    Pair {
        before: a.mean_ns,
        after: b.mean_ns,
        sampling: squared(a.error_ns, a.mean_ns) + squared(b.error_ns, b.mean_ns),
    }
}

fn lock_wait(before: &TaskSummary, after: &TaskSummary) -> Pair {
    let (a, b) = (before.waits.length, after.waits.length);
    Pair {
        before: a.total_ns as f64,
        after: b.total_ns as f64,
        sampling: of_counts(a.count, b.count),
    }
}

impl Pair {
    /// One quantity of both, without an error of its own.
    fn of(before: &TaskSummary, after: &TaskSummary, ns: impl Fn(&TaskSummary) -> u64) -> Self {
        Self { before: ns(before) as f64, after: ns(after) as f64, sampling: 0.0 }
    }
}

/// The means over all draws; `None` where one of them lacks the task, and without draws.
fn means(pairs: &[Pair], draws: usize) -> Option<Means> {
    if pairs.len() < draws || pairs.is_empty() {
        return None;
    }
    let n = pairs.len() as f64;
    let mean = |of: fn(&Pair) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    Some(Means { before: mean(|p| p.before), after: mean(|p| p.after) })
}

/// The relative variance of a sum over so many episodes on either side.
fn of_counts(a: u64, b: u64) -> f64 {
    1.0 / (a.max(1) as f64) + 1.0 / (b.max(1) as f64)
}

/// `None` where a draw has nothing to compare.
fn interval(pairs: &[Pair], draws: usize, (miss, machine): (f64, f64)) -> Option<Interval> {
    if pairs.len() < draws
        || pairs.is_empty()
        || pairs.iter().any(|p| p.before <= 0.0 || p.after <= 0.0)
    {
        return None;
    }
    let n = pairs.len() as f64;
    let logs: Vec<f64> = pairs.iter().map(|p| (p.after / p.before).ln()).collect();
    // The interval is around what is predicted.
    let means = means(pairs, draws)?;
    let predicted = (means.after / means.before).ln();
    let middle = logs.iter().sum::<f64>() / n;
    let spread = logs.iter().map(|l| (l - middle).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let sampling = pairs.iter().map(|p| p.sampling).sum::<f64>() / n;
    // A miss is as far off as that, not a deviation of it.
    let missed = ((1.0 + miss).ln() / HALF_WIDTH).powi(2);
    let half = HALF_WIDTH * (spread + sampling + machine + missed).sqrt();
    Some(Interval { low: (predicted - half).exp() - 1.0, high: (predicted + half).exp() - 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ratios: &[f64], sampling: f64) -> Vec<Pair> {
        ratios.iter().map(|r| Pair { before: 10.0, after: 10.0 * r, sampling }).collect()
    }

    #[test]
    fn replays_that_agree_leave_what_the_baseline_misses() {
        let same = pairs(&[0.5; 8], 0.0);
        assert_eq!(interval(&same, 8, (0.0, 0.0)), Some(Interval { low: -0.5, high: -0.5 }));
        let missed = interval(&same, 8, (0.1, 0.0)).expect("an interval");
        assert!(missed.low < -0.5 && missed.high > -0.5);
    }

    #[test]
    fn each_cause_widens_an_interval() {
        let width = |i: Option<Interval>| i.map(|i| i.high - i.low).expect("an interval");
        let narrow = width(interval(&pairs(&[0.9, 1.1], 0.0), 2, (0.0, 0.0)));
        assert!(width(interval(&pairs(&[0.8, 1.2], 0.0), 2, (0.0, 0.0))) > narrow);
        assert!(width(interval(&pairs(&[0.9, 1.1], 0.1), 2, (0.0, 0.0))) > narrow);
        assert!(width(interval(&pairs(&[0.9, 1.1], 0.0), 2, (0.2, 0.0))) > narrow);
        assert!(width(interval(&pairs(&[0.9, 1.1], 0.0), 2, (0.0, 0.1))) > narrow);
    }

    #[test]
    fn draws_that_differ_much_are_not_settled() {
        assert!(is_settled(&[]), "nothing to predict");
        assert!(standard_error(&[0.50, 0.51, 0.50, 0.49]) <= SETTLED);
        assert!(standard_error(&[0.3, 0.5, 0.7, 0.9]) > SETTLED);
        // Four times as many draws halve it.
        let few = standard_error(&[0.4, 0.6].repeat(8));
        assert!((standard_error(&[0.4, 0.6].repeat(32)) * 2.0 - few).abs() < 0.001);
    }

    #[test]
    fn nothing_to_compare_is_no_interval() {
        assert_eq!(interval(&pairs(&[0.5, 0.0], 0.0), 2, (0.0, 0.0)), None);
        assert_eq!(interval(&pairs(&[0.5], 0.0), 2, (0.0, 0.0)), None, "a draw without the task");
        assert_eq!(interval(&[], 0, (0.0, 0.0)), None);
    }
}
