//! Two traces side by side, as a table for mail.

use crate::render::headline::plural;
use crate::render::{change, ms_mean, name};
use analysis::compare::TaskPair;
use analysis::{
    Comparison, Interval, Intervals, Means, Part, Summary, TaskInterval, TaskKey, TaskSummary,
};
use replay::ProxyCounts;
use std::fmt::Write;

/// Most tasks that a table shows.
const MOST_TASKS: usize = 8;

/// A line of the table.
struct Row {
    task: String,
    what: &'static str,
    /// What was recorded, beside two replays; empty where there is nothing to say.
    recorded: String,
    before: String,
    after: String,
    change: String,
    interval: String,
    remark: String,
}

/// `[-80, -75] %`; nothing where there is none.
fn interval_text(interval: Option<Interval>) -> String {
    interval.map_or(String::new(), |i| format!("[{:+.0}, {:+.0}] %", 100.0 * i.low, 100.0 * i.high))
}

/// What is predicted: the means of all replays, or, without them, of the one that there is.
fn predicted(means: Option<Means>, before: f64, after: f64) -> Means {
    means.unwrap_or(Means { before, after })
}

/// Spans that differ by less say nothing.
const LEAST_SPAN_CHANGE: f64 = 0.02;

/// What stands beside a comparison.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside<'s> {
    /// What was recorded, where both sides are replays: a column of its own.
    pub(crate) recorded: Option<&'s Summary>,
    pub(crate) counts: Option<&'s ProxyCounts>,
    pub(crate) intervals: Option<&'s Intervals>,
}

impl Beside<'_> {
    /// A quantity of the recording.
    fn recorded(&self, of: impl Fn(&Summary) -> String) -> String {
        self.recorded.map(of).unwrap_or_default()
    }

    /// A quantity of a task in it.
    fn of_task(&self, key: &TaskKey, of: impl Fn(&TaskSummary) -> f64) -> String {
        let task = self.recorded.and_then(|s| s.tasks.iter().find(|t| t.key == *key));
        task.map(|task| ms_mean(of(task))).unwrap_or_default()
    }

    fn interval(&self, key: &TaskKey) -> Option<&TaskInterval> {
        self.intervals.and_then(|intervals| intervals.of(key))
    }
}

/// Renders the table; `labels` head its columns. Columns of which nothing is known are left out.
pub(crate) fn table(c: &Comparison, labels: [&str; 2], beside: Beside<'_>) -> String {
    let mut rows = vec![inversion_row(c, &beside)];
    for pair in interesting(c) {
        rows.extend(task_rows(pair, &beside));
    }
    rows.push(migration_row(c, &beside));
    let count = |n: u64| n.to_string();
    rows.push(Row {
        task: "switches".to_owned(),
        what: "",
        recorded: beside.recorded(|s| count(s.switches)),
        before: count(c.before.switches),
        after: count(c.after.switches),
        change: change(c.before.switches as f64, c.after.switches as f64),
        interval: String::new(),
        remark: beside.counts.map_or(String::new(), |c| format!("idle detours {}", c.idle_detours)),
    });
    render(&rows, labels)
}

fn render(rows: &[Row], labels: [&str; 2]) -> String {
    let width = |of: fn(&Row) -> &str, floor: usize| {
        rows.iter().map(|r| of(r).chars().count()).max().unwrap_or(0).max(floor)
    };
    let task = width(|r| &r.task, 4);
    let what = width(|r| r.what, 4);
    let before = width(|r| &r.before, labels[0].len());
    let after = width(|r| &r.after, labels[1].len());
    let recorded = width(|r| &r.recorded, 0);
    let recorded = if recorded > 0 { recorded.max("recorded".len()) + 2 } else { 0 };
    let recorded_head = if recorded > 0 { "recorded" } else { "" };
    let interval = width(|r| &r.interval, 0);
    let has_intervals = interval > 0;
    let interval = if has_intervals { interval.max("90 % interval".len()) + 2 } else { 0 };
    let head = if has_intervals { "90 % interval" } else { "" };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:task$}  {:what$}{recorded_head:>recorded$}  {:>before$}  {:>after$}  {:>8}{head:>interval$}",
        "", "", labels[0], labels[1], "change"
    );
    for r in rows {
        let line = format!(
            "{:task$}  {:what$}{:>recorded$}  {:>before$}  {:>after$}  {:>8}{:>interval$}  {}",
            r.task, r.what, r.recorded, r.before, r.after, r.change, r.interval, r.remark
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn inversion_row(c: &Comparison, beside: &Beside<'_>) -> Row {
    let (a, b) = (c.before.waits.inversion, c.after.waits.inversion);
    let intervals = beside.intervals;
    let curable = intervals.and_then(|i| i.curable_mean);
    let curable = predicted(curable, a.curable_ns as f64, b.curable_ns as f64);
    let all = intervals.and_then(|i| i.inversion_mean);
    let all = predicted(all, a.total_ns() as f64, b.total_ns() as f64);
    Row {
        task: "inversion".to_owned(),
        what: "all tasks",
        recorded: beside.recorded(|s| ms_mean(s.waits.inversion.total_ns() as f64)),
        before: ms_mean(all.before),
        after: ms_mean(all.after),
        change: change(all.before, all.after),
        interval: interval_text(intervals.and_then(|i| i.inversion)),
        remark: format!("curable: {} ms", short(curable.before)),
    }
}

/// Milliseconds in as few digits as a remark has room for.
fn short(ns: f64) -> String {
    let millis = ns / 1e6;
    if millis >= 100.0 { format!("{millis:.0}") } else { format!("{millis:.1}") }
}

/// Tasks with responses in both: first those whose total response time moved most, or that waited
/// longest for locks.
fn interesting(c: &Comparison) -> Vec<&TaskPair> {
    let weight = |p: &&TaskPair| match (&p.before, &p.after) {
        (Some(a), Some(b)) if a.responses.count > 4 && b.responses.count > 4 => {
            let moved = (b.responses.mean_ns - a.responses.mean_ns).abs();
            let waited = a.waits.length.total_ns.max(b.waits.length.total_ns);
            Some((moved * a.responses.count as f64).max(waited as f64))
        }
        _ => None,
    };
    let mut pairs: Vec<_> = c.tasks.iter().filter_map(|p| Some((weight(&p)?, p))).collect();
    pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut shown: Vec<&TaskPair> = pairs.into_iter().take(MOST_TASKS).map(|(_, p)| p).collect();
    shown.sort_by(|a, b| {
        a.response_change().unwrap_or(0.0).total_cmp(&b.response_change().unwrap_or(0.0))
    });
    shown
}

fn task_rows(pair: &TaskPair, beside: &Beside<'_>) -> Vec<Row> {
    let (Some(a), Some(b)) = (&pair.before, &pair.after) else { return Vec::new() };
    let interval = beside.interval(&pair.key);
    let response_means = interval.and_then(|i| i.response_mean);
    let mean = predicted(response_means, a.responses.mean_ns, b.responses.mean_ns);
    let mut rows = vec![Row {
        task: name(&pair.key.to_string()),
        what: "response mean",
        recorded: beside.of_task(&pair.key, |t| t.responses.mean_ns),
        before: ms_mean(mean.before),
        after: ms_mean(mean.after),
        change: change(mean.before, mean.after),
        interval: interval_text(interval.and_then(|i| i.response)),
        remark: responses(a.responses.count, b.responses.count),
    }];
    let (x, y) = (a.waits, b.waits);
    if x.length.count + y.length.count > 0 {
        let (before, after) = (x.length.total_ns as f64, y.length.total_ns as f64);
        let total = predicted(interval.and_then(|i| i.lock_wait_mean), before, after);
        let behind = |w: &analysis::summary::Waits| w.parts.get(Part::BehindLessUrgent).0 as f64;
        let inverted = predicted(interval.and_then(|i| i.inverted_mean), behind(&x), behind(&y));
        rows.push(Row {
            task: String::new(),
            what: "lock wait",
            recorded: beside.of_task(&pair.key, |t| t.waits.length.total_ns as f64),
            before: ms_mean(total.before),
            after: ms_mean(total.after),
            change: change(total.before, total.after),
            interval: interval_text(interval.and_then(|i| i.lock_wait)),
            remark: format!("inverted {} -> {} ms", short(inverted.before), short(inverted.after)),
        });
    }
    let span = predicted(interval.and_then(|i| i.span_mean), a.span_ns as f64, b.span_ns as f64);
    if (span.after - span.before).abs() > LEAST_SPAN_CHANGE * span.before {
        rows.push(Row {
            task: String::new(),
            what: "span",
            recorded: beside.of_task(&pair.key, |t| t.span_ns as f64),
            before: ms_mean(span.before),
            after: ms_mean(span.after),
            change: change(span.before, span.after),
            interval: interval_text(interval.and_then(|i| i.span)),
            remark: String::new(),
        });
    }
    rows
}

fn responses(a: u64, b: u64) -> String {
    if a == b { plural(a, "response") } else { format!("{a} -> {b} responses") }
}

fn migration_row(c: &Comparison, beside: &Beside<'_>) -> Row {
    let (a, b) = (c.before.migrations, c.after.migrations);
    let mut remark = format!("return {}", b.returned);
    if let Some(counts) = beside.counts {
        remark = format!("{remark}, hand-offs {}", counts.handoffs);
    }
    Row {
        task: "migrations".to_owned(),
        what: "of donors",
        recorded: beside.recorded(|s| s.migrations.donor.to_string()),
        before: a.donor.to_string(),
        after: b.donor.to_string(),
        change: change(a.donor as f64, b.donor as f64),
        interval: String::new(),
        remark,
    }
}
