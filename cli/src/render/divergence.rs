//! Where a replay leaves its recording, as text and as JSON.

use crate::render::{ms, name};
use analysis::Divergence;
use analysis::divergence::{Act, Difference, Measure, Place, Toll, Waiting};
use serde_json::{Value, json};
use std::fmt::Write;

/// Most lines of what the differences come to.
const MOST_TOLLS: usize = 12;

/// Below the headline: the first difference, the sums, and where tasks part. Fits 100 columns.
pub(crate) fn as_text(policy: &str, d: &Divergence) -> String {
    let mut text = format!("recorded, beside its replay under {policy}\n\n");
    let agreed = format!(
        "{} turns on CPUs agree before it; {} slipped, and agreed again at once",
        d.agreed, d.slips
    );
    match &d.first {
        None => {
            let _ = writeln!(text, "no decision differs ({} turns on CPUs)", d.agreed);
        }
        Some(first) => {
            let place = match &first.place {
                Place::Cpu(cpu) => format!("on CPU {cpu}"),
                Place::Task(task) => format!("of {}", name(task)),
            };
            let _ = writeln!(text, "the first decision that differs: {place}");
            let _ = writeln!(text, "  recorded  {}  {}", at(first.at_ns), act(&first.recorded));
            let _ =
                writeln!(text, "  replayed  {}  {}", at(first.replay_at_ns), act(&first.replayed));
            let _ = writeln!(text, "  rule      {} ({})", first.rule, first.source);
            let _ = writeln!(text, "  {agreed}");
        }
    }
    tolls(&mut text, &d.tolls);
    partings(&mut text, &d.partings);
    text
}

/// Seconds of trace time, to the microsecond.
fn at(ns: u64) -> String {
    format!("{}.{:06} s", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}

fn who(task: Option<&String>) -> String {
    task.map_or("idle".to_owned(), |task| name(task))
}

fn act(act: &Act) -> String {
    match act {
        Act::ComesTo { task } => format!("switches to {}", who(task.as_ref())),
        Act::Ran { task, ns, end, next } => {
            format!("{} runs {}, then {}: {end}", who(task.as_ref()), ms(*ns), who(next.as_ref()))
        }
        Act::Sleeps { computed_ns } => format!("computes {}, sleeps", ms(*computed_ns)),
        Act::Woken { cpu, slept_ns, by } => {
            let by = by.as_ref().map_or(String::new(), |by| format!(" by {}", name(by)));
            let slept = slept_ns.map_or(String::new(), |ns| format!(" after {}", ms(ns)));
            format!("is woken{by}{slept}, onto CPU {cpu}")
        }
        Act::Waits { lock, how, computed_ns } => {
            let how = match how {
                Waiting::Spins => "spins",
                Waiting::Sleeps => "sleeps",
            };
            format!("computes {}, {how} for lock {lock}", ms(*computed_ns))
        }
        Act::Ends { computed_ns } => format!("computes {}, ends", ms(*computed_ns)),
        Act::Nothing => "nothing more".to_owned(),
    }
}

fn tolls(text: &mut String, tolls: &[Toll]) {
    if tolls.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:18} {:12} {:>12} {:>12} {:>12}   times",
        "what it comes to", "", "recorded", "replayed", "otherwise"
    );
    for toll in tolls.iter().take(MOST_TOLLS) {
        let mut task: String = name(&toll.task).chars().take(18).collect();
        if toll.tasks > 1 {
            let several = format!(" x{}", toll.tasks);
            task = task.chars().take(18usize.saturating_sub(several.len())).collect::<String>()
                + &several;
        }
        let what = match toll.what {
            Measure::Cpu => "CPU time",
            Measure::Delay => "wants a CPU",
            Measure::Away => "asleep, gone",
            Measure::LockWait => "lock waits",
        };
        let broken = if toll.breaks_conservation() { "  not conserved" } else { "" };
        let _ = writeln!(
            text,
            "{task:18} {what:12} {:>12} {:>12} {:>12}   {} -> {}{broken}",
            ms(toll.recorded.ns),
            ms(toll.replayed.ns),
            ms(toll.ns()),
            toll.recorded.count,
            toll.replayed.count,
        );
    }
    if let Some(more @ 1..) = tolls.len().checked_sub(MOST_TOLLS) {
        let _ = writeln!(text, "and {more} smaller ones; --json has all");
    }
    text.push_str(
        "times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began\n",
    );
}

fn partings(text: &mut String, partings: &[(String, Difference)]) {
    if partings.is_empty() {
        return;
    }
    text.push_str("\nwhere these tasks themselves part from the recording\n");
    for (task, d) in partings {
        let full = match &d.place {
            Place::Task(full) => full.clone(),
            Place::Cpu(_) => task.clone(),
        };
        let _ = writeln!(text, "  {}: {} ({})", name(&full), d.rule, d.source);
        let _ = writeln!(text, "    recorded  {}  {}", at(d.at_ns), act(&d.recorded));
        let _ = writeln!(text, "    replayed  {}  {}", at(d.replay_at_ns), act(&d.replayed));
    }
}

/// Everything, with names that do not change.
pub(crate) fn as_json(file: &str, policy: &str, d: &Divergence) -> Value {
    let tolls: Vec<Value> = d
        .tolls
        .iter()
        .map(|toll| {
            let mut value = json!(toll);
            value["otherwise_ns"] = json!(toll.ns());
            value["breaks_conservation"] = json!(toll.breaks_conservation());
            value
        })
        .collect();
    let partings: Vec<Value> = d
        .partings
        .iter()
        .map(|(task, difference)| json!({ "task": task, "difference": difference }))
        .collect();
    json!({
        "file": file,
        "policy": policy,
        "first": d.first,
        "agreed": d.agreed,
        "slips": d.slips,
        "tolls": tolls,
        "partings": partings,
    })
}
