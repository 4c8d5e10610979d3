//! Episodes drawn with characters: one line a task.

use crate::render::name;
use analysis::episode::{Lane, Mark};
use model::{Timestamp, Trace};
use std::fmt::Write;

/// Columns of the drawing itself.
const WIDTH: u64 = 64;

/// One line per lane; each column shows what the task did most in its span of time.
pub(crate) fn draw(
    title: &str,
    trace: &Trace,
    lanes: &[Lane],
    window: (Timestamp, Timestamp),
) -> String {
    let mut text = String::new();
    let label = |lane: &Lane| {
        let short: String = name(trace.name(lane.task)).chars().take(12).collect();
        short
    };
    for (n, lane) in lanes.iter().enumerate() {
        let head = if n == 0 { title } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {head:<9} {:<12} {}", label(lane), line(lane, window));
    }
    text
}

fn line(lane: &Lane, (from, to): (Timestamp, Timestamp)) -> String {
    let span = to.0.saturating_sub(from.0).max(1);
    let edge = |column: u64| {
        from.0
            + u64::try_from(u128::from(span) * u128::from(column) / u128::from(WIDTH))
                .unwrap_or(span)
    };
    (0..WIDTH).map(|column| mark_between(lane, edge(column), edge(column + 1))).collect()
}

/// The mark with most of the time; a mark of running wins over waiting when it is there at all.
fn mark_between(lane: &Lane, from: u64, to: u64) -> char {
    let mut best = (0u64, Mark::Unknown);
    let first = lane.spans.partition_point(|s| s.to.0 <= from);
    for span in lane.spans.iter().skip(first).take_while(|s| s.from.0 < to.max(from + 1)) {
        let time = span.to.0.min(to).saturating_sub(span.from.0.max(from));
        let executes = matches!(span.mark, Mark::Runs | Mark::RunsForDonor | Mark::Spins);
        let weight = if executes { time.saturating_mul(4) } else { time };
        if weight > best.0 {
            best = (weight, span.mark);
        }
    }
    best.1.character()
}

/// What the characters mean.
pub(crate) const LEGEND: &str = "  # runs   D runs on a donor's time   d lends its time   w waits for the lock   s spins\n  · wants a CPU   blank: sleeps   ? not known\n";
