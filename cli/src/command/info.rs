//! `resched info`: what is in a trace, what is missing, what can be asked of it.

use super::{print, print_json};
use crate::args::Info;
use crate::input::{Input, Source};
use crate::outcome::Outcome;
use crate::render::{headline, name, scenario};
use crate::scenario::Scenario;
use analysis::Question;
use anyhow::Result;
use model::demand::{Choices, Cover, Demand};
use model::{History, Trace};
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn run(args: &Info) -> Result<Outcome> {
    let input = match Source::read(&args.file)? {
        Source::Trace(input) => *input,
        Source::Scenario(scenario) => return of_scenario(args, &scenario),
    };
    let history = input.history(Cover::default());
    if args.json {
        print_json(&as_json(&input, &history))?;
    } else {
        print(&as_text(&input, &history))?;
    }
    Ok(Outcome::Done)
}

fn of_scenario(args: &Info, scenario: &Scenario) -> Result<Outcome> {
    if args.json {
        let mut json = scenario::as_json(scenario);
        json["calibrated"] = calibrated_json(&scenario.demand);
        print_json(&json)?;
    } else {
        print(&(scenario::as_text(scenario) + &calibrated(&scenario.demand)))?;
    }
    Ok(Outcome::Done)
}

fn as_json(input: &Input, history: &History) -> Value {
    let trace = &history.trace;
    let r = &input.recording;
    let format = r.format.as_ref();
    let questions: serde_json::Map<String, Value> = Question::ALL
        .iter()
        .map(|q| {
            let answer = match q.ask(trace) {
                Ok(()) => json!({ "can": true }),
                Err(missing) => {
                    json!({ "can": false, "missing": missing.events(), "advice": missing.advice() })
                }
            };
            (q.text().to_owned(), answer)
        })
        .collect();
    let lost: Vec<Value> = r
        .lost
        .iter()
        .map(|l| json!({ "cpu": l.cpu.map(|c| c.0), "events": l.events, "after_ns": l.after.0, "before_ns": l.before.0 }))
        .collect();
    let notes: Vec<Value> = trace
        .notes
        .iter()
        .map(|n| json!({ "kind": n.kind.name(), "severity": n.severity(), "count": n.count, "first_ns": n.at.0 }))
        .collect();
    let oddities: Vec<Value> =
        r.oddities.iter().map(|o| json!({ "place": o.place, "text": o.text })).collect();
    json!({
        "file": input.name,
        "format": format.map(|f| f.name.clone()),
        "kernel": kernel(input),
        "clock": format.and_then(|f| f.clock.clone()),
        "events": r.total(),
        "used": used(trace),
        "counts": r.counts,
        "cpus": r.cpus.iter().map(|c| c.0).collect::<Vec<_>>(),
        "begin_ns": r.span.map(|s| s.0.0),
        "end_ns": r.span.map(|s| s.1.0),
        "tasks": trace.tasks.len(),
        "sidecar": input.host.is_some(),
        "interrupted": input.host.as_ref().is_some_and(|host| host.interrupted),
        "span_ns": trace.span().0,
        "lost": lost,
        "oddities": oddities,
        "notes": notes,
        "questions": questions,
        "calibrated": demand(history).map_or(Value::Null, |d| calibrated_json(&d)),
    })
}

/// Events of the file that something is made of; what was concluded from them is not counted.
fn used(trace: &Trace) -> u64 {
    trace.counts.values().sum()
}

fn kernel(input: &Input) -> Option<String> {
    let host = input.host.as_ref().and_then(|h| h.kernel.clone());
    host.or_else(|| input.recording.format.as_ref().and_then(|f| f.kernel.clone()))
}

fn as_text(input: &Input, history: &History) -> String {
    let trace = &history.trace;
    let r = &input.recording;
    let summary = analysis::summary(trace);
    let mut text = headline::of_trace(&input.name, trace, &summary);
    text.push('\n');
    // Writing to a string cannot fail.
    let (format, clock) = match &r.format {
        Some(f) => (f.name.clone(), f.clock.clone().unwrap_or_else(|| "not named".to_owned())),
        None => (String::new(), String::new()),
    };
    let sidecar = if input.host.is_some() { "read" } else { "none beside it" };
    let _ = writeln!(text, "{format}, clock {clock}, sidecar {sidecar}\n");
    if input.host.as_ref().is_some_and(|host| host.interrupted) {
        text.push_str(
            "its recorder was killed: the recording ends there, in the middle of things\n\n",
        );
    }
    let _ = writeln!(text, "{:>12}  events, of these {} are used:", r.total(), used(trace));
    for (event, count) in &r.counts {
        let _ = writeln!(text, "{count:>12}  {}", name(event));
    }
    text.push('\n');
    for question in Question::ALL {
        match question.ask(trace) {
            Ok(()) => {
                let _ = writeln!(
                    text,
                    "can be asked:  {}{}",
                    question.text(),
                    question.precision(trace)
                );
            }
            Err(missing) => {
                let _ = writeln!(text, "cannot:        {missing}");
            }
        }
    }
    text.push_str(&demand(history).map_or_else(String::new, |d| calibrated(&d)));
    for oddity in &r.oddities {
        let _ = writeln!(text, "odd:           {}: {}", oddity.place, name(&oddity.text));
    }
    for note in &trace.notes {
        let _ = writeln!(
            text,
            "{:<14} {} ({}, first at {})",
            format!("{}:", note.severity().name()),
            note.kind.text(),
            note.count,
            note.at
        );
    }
    text
}

/// What tasks asked for, when there is a schedule at all.
fn demand(history: &History) -> Option<Demand> {
    history.trace.has("sched_switch").then(|| history.demand(Choices::default()).0)
}

/// What a replay takes from the recording or the scenario, for those who want to set it otherwise.
fn calibrated(demand: &Demand) -> String {
    let mut text = String::new();
    let l = demand.latencies;
    let costs = [
        ("wake-busy", l.wake_busy),
        ("wake-idle", l.wake_idle),
        ("wake-deep", l.wake_deep),
        ("slice-end", l.slice_end),
        ("lock-contended", l.lock_contended),
        ("lock-sleep", l.lock_sleep),
        ("lock-wake", l.lock_wake),
        ("buffer-sleep", l.buffer_sleep),
        ("buffer-wake", l.buffer_wake),
        ("buffer-tell", l.buffer_tell),
    ];
    let costs = costs.map(|(name, ns)| format!("{name}={}", ns.0)).join(",");
    let _ = writeln!(text, "calibrated:    --cost {costs} (nanoseconds)");
    let m = &demand.machine;
    let taken = m.cpus.iter().zip(&m.newidle_of_cpu).filter_map(|(cpu, share)| {
        let percent = (*share)? * 100 / 1024;
        Some(format!("CPU {} {percent} %", cpu.0))
    });
    let taken: Vec<String> = taken.take(8).collect();
    if !taken.is_empty() {
        let _ = writeln!(text, "calibrated:    work taken before going idle: {}", taken.join(", "));
    }
    if m.passes_over_halted {
        let _ = writeln!(text, "calibrated:    wakeups pass over CPUs that have halted");
    }
    if let Some(permille) = demand.steadiest_permille() {
        let percent = f64::from(permille) / 10.0;
        let _ = writeln!(text, "calibrated:    the steadiest loop varies by {percent:.1} %");
    }
    for assumption in &m.assumed {
        let _ = writeln!(text, "assumed:       {assumption}");
    }
    text
}

fn calibrated_json(demand: &Demand) -> Value {
    let (l, m) = (demand.latencies, &demand.machine);
    json!({
        "wake_busy_ns": l.wake_busy.0,
        "wake_idle_ns": l.wake_idle.0,
        "wake_deep_ns": l.wake_deep.0,
        "slice_end_ns": l.slice_end.0,
        "lock_contended_ns": l.lock_contended.0,
        "lock_sleep_ns": l.lock_sleep.0,
        "lock_wake_ns": l.lock_wake.0,
        "buffer_sleep_ns": l.buffer_sleep.0,
        "buffer_wake_ns": l.buffer_wake.0,
        "buffer_tell_ns": l.buffer_tell.0,
        "newidle_of_1024": m.newidle_of_cpu,
        "passes_over_halted": m.passes_over_halted,
        "steadiest_permille": demand.steadiest_permille(),
        "hz": m.hz,
        "assumed": m.assumed,
    })
}
