//! One trace in short, as text.

use crate::render::headline::plural;
use crate::render::{ms, ms_mean, name};
use analysis::{Part, Parts, Summary};
use std::fmt::Write;

/// Most tasks that are listed.
const MOST_TASKS: usize = 16;

/// Waits by part, then tasks by the time they waited and responded.
pub(crate) fn text(s: &Summary) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let waits = &s.waits;
    let _ = writeln!(
        text,
        "{}, {} in all; inversion {}, of which proxy execution can act on {}",
        plural(waits.length.count, "lock wait"),
        ms(waits.length.total_ns),
        ms(waits.inversion.total_ns()),
        ms(waits.inversion.curable_ns)
    );
    text.push_str(&parts(&waits.parts));
    let m = s.migrations;
    let _ = writeln!(
        text,
        "{} switches, {} migrations, {} of donors, {} returns\n",
        s.switches, m.ordinary, m.donor, m.returned
    );
    let mut tasks: Vec<_> =
        s.tasks.iter().filter(|t| t.responses.count + t.waits.length.count > 0).collect();
    tasks.sort_by_key(|t| std::cmp::Reverse((t.waits.length.total_ns, t.responses.total_ns)));
    let width =
        tasks.iter().take(MOST_TASKS).map(|t| name(&t.key.to_string()).chars().count()).max();
    let width = width.unwrap_or(0).max(4);
    let _ = writeln!(
        text,
        "{:width$}  {:>9}  {:>11}  {:>11}  {:>11}  {:>6}  {:>11}  {:>11}",
        "task", "responses", "mean", "p95", "max", "waits", "lock wait", "inversion"
    );
    for t in tasks.iter().take(MOST_TASKS) {
        let r = t.responses;
        let _ = writeln!(
            text,
            "{:width$}  {:>9}  {:>11}  {:>11}  {:>11}  {:>6}  {:>11}  {:>11}",
            name(&t.key.to_string()),
            r.count,
            ms_mean(r.mean_ns),
            ms(r.p95_ns),
            ms(r.max_ns),
            t.waits.length.count,
            ms(t.waits.length.total_ns),
            ms(t.waits.inversion.total_ns())
        );
    }
    if tasks.len() > MOST_TASKS {
        let rest = plural((tasks.len() - MOST_TASKS) as u64, "more task");
        let _ = writeln!(text, "and {rest}: --table tasks lists all");
    }
    text
}

/// The parts that are not zero, with their share.
pub(crate) fn parts(parts: &Parts) -> String {
    let total = parts.total().0.max(1);
    let mut text = String::new();
    for part in Part::ALL {
        let ns = parts.get(part).0;
        if ns > 0 {
            let share = ns as f64 * 100.0 / total as f64;
            let _ = writeln!(text, "  {:>12}  {share:5.1} %  {}", ms(ns), part.text());
        }
    }
    text
}
