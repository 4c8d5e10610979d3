//! Spans summed up; quantiles are exact on integers.

use model::Nanos;
use serde::Serialize;

/// A list of spans in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their sum; stops at 584 years.
    pub total_ns: u64,
    /// Arithmetic mean; 0 of none.
    pub mean_ns: f64,
    /// Standard error of the mean; 0 of fewer than two.
    ///
    /// Spans that follow each other are alike, so that many of them say less than as many that
    /// are drawn by chance. Of 40 and more it is the scatter of the means of ten equal runs of
    /// them (batch means), where that is greater.
    pub error_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 95 %.
    pub p95_ns: u64,
    /// Greatest.
    pub max_ns: u64,
}

impl Distribution {
    /// Of these spans, in the order in which they happened.
    #[must_use]
    pub fn of(spans: impl IntoIterator<Item = Nanos>) -> Self {
        let mut spans: Vec<u64> = spans.into_iter().map(|s| s.0).collect();
        let error = standard_error(&spans).max(batch_error(&spans));
        spans.sort_unstable();
        let total = spans.iter().fold(0u64, |sum, span| sum.saturating_add(*span));
        let mean = if spans.is_empty() { 0.0 } else { total as f64 / spans.len() as f64 };
        Self {
            count: spans.len() as u64,
            total_ns: total,
            mean_ns: mean,
            error_ns: error,
            p50_ns: quantile(&spans, 500),
            p95_ns: quantile(&spans, 950),
            max_ns: quantile(&spans, 1000),
        }
    }
}

/// Spans that make ten batches worth their name.
const FEWEST_FOR_BATCHES: usize = 40;
const BATCHES: usize = 10;

fn batch_error(spans: &[u64]) -> f64 {
    if spans.len() < FEWEST_FOR_BATCHES {
        return 0.0;
    }
    // What is left over behind the last batch does not count here.
    let batches = spans.chunks_exact(spans.len() / BATCHES).take(BATCHES);
    let sum = |b: &[u64]| b.iter().fold(0u64, |sum, span| sum.saturating_add(*span));
    let means: Vec<u64> = batches.map(|b| sum(b) / b.len() as u64).collect();
    standard_error(&means)
}

fn standard_error(values: &[u64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|v| *v as f64).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (*v as f64 - mean).powi(2)).sum();
    (squares / (n * (n - 1.0))).sqrt()
}

/// The value at `permille` of a sorted list: an element of it, the lower one between two; 0 of
/// none.
///
/// # Source
///
/// The same definition as the project's independent judge of responses: element
/// `floor((n - 1) * p)`.
#[must_use]
pub fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * permille.min(1000) / 1000).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_elements() {
        let list: Vec<u64> = (1..=21).collect();
        assert_eq!([0, 500, 950, 1000].map(|p| quantile(&list, p)), [1, 11, 20, 21]);
        assert_eq!(quantile(&[7, 9], 999), 7);
        assert_eq!(quantile(&[], 500), 0);
    }

    /// Damaged time stamps make spans whose sum leaves 64 bits.
    #[test]
    fn absurd_spans_are_summed_up() {
        let d = Distribution::of([Nanos(u64::MAX); 80]);
        assert_eq!((d.count, d.total_ns), (80, u64::MAX));
    }

    #[test]
    fn no_spans_have_no_mean() {
        assert_eq!(Distribution::of([]), Distribution::default());
        assert_eq!(Distribution::of([Nanos(1), Nanos(2)]).mean_ns, 1.5);
    }

    #[test]
    fn the_error_of_a_mean_shrinks_with_the_root_of_their_number() {
        let error = |n: usize| Distribution::of((0..n).map(|i| Nanos(i as u64 % 2))).error_ns;
        assert_eq!((error(1), error(2)), (0.0, 0.5));
        assert!((error(101) / error(10_001) - 10.0).abs() < 0.5);
    }

    #[test]
    fn spans_that_are_alike_for_a_while_say_less() {
        let alike = |run: usize| Distribution::of((0..400).map(|i| Nanos((i / run % 2) as u64)));
        assert!(alike(40).error_ns > 5.0 * alike(1).error_ns);
    }
}
