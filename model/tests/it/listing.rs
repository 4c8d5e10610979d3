//! A trace as text for goldens.

use model::{OwnerSpan, Ownership, Queued, TaskState, Timestamp, Trace};
use std::fmt::Write as _;

fn micros(at: Timestamp) -> u64 {
    at.0 / 1000
}

fn owner(trace: &Trace, span: &OwnerSpan) -> String {
    let who = match span.owner {
        Ownership::Held(task) => trace.name(task).to_owned(),
        Ownership::Free => "nobody".to_owned(),
        Ownership::Unknown => return format!("{}..{} ?", micros(span.from), micros(span.to)),
    };
    format!("{}..{} {who} ({})", micros(span.from), micros(span.to), span.basis.name())
}

fn state(state: TaskState) -> String {
    match state {
        TaskState::Unknown => "?".to_owned(),
        TaskState::Running(cpu) => format!("runs on {}", cpu.0),
        TaskState::Runnable(cpu, why) => {
            let cpu = cpu.map_or("?".to_owned(), |c| c.0.to_string());
            let why = if why == Queued::Woken { "woken" } else { "preempted" };
            format!("queued on {cpu}, {why}")
        }
        TaskState::Sleeping(state) => format!("sleeps {}", state.letter()),
        TaskState::Blocked(lock) => format!("blocked on {lock}"),
        TaskState::Exited => "gone".to_owned(),
    }
}

/// Intervals of all tasks, one task a line.
pub(crate) fn tasks(trace: &Trace) -> String {
    let mut out = String::new();
    for (id, task) in trace.tasks() {
        let spans = task.intervals.iter();
        let spans: Vec<String> = spans
            .map(|i| format!("{}..{} {}", micros(i.start), micros(i.end), state(i.state)))
            .collect();
        writeln!(out, "{}: {}", trace.name(id), spans.join("; ")).expect("to a string");
    }
    out
}

/// Waits with their owners.
pub(crate) fn waits(trace: &Trace) -> String {
    let mut out = String::new();
    for wait in &trace.waits {
        let owners: Vec<String> = wait.ownership.iter().map(|s| owner(trace, s)).collect();
        let end = wait.ret.map_or("open".to_owned(), |ret| format!("ret {ret}"));
        let (from, to) = (micros(wait.begin), micros(wait.until));
        let head = format!("{} {} {from}..{to} {end}", trace.name(wait.waiter), wait.kind.name());
        writeln!(out, "{head}: {}", owners.join("; ")).expect("to a string");
    }
    out
}

/// Notes.
pub(crate) fn notes(trace: &Trace) -> String {
    let mut out = String::new();
    for note in &trace.notes {
        let (severity, name) = (note.severity().name(), note.kind.name());
        writeln!(out, "{severity} {name} x{}", note.count).expect("to a string");
    }
    out
}
