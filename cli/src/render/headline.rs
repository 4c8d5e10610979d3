//! The lines that say what a trace is and how far its replay can be trusted.

use crate::render::{ms, name};
use crate::study::Verdict;
use analysis::{Fidelity, Measure, Miss, Summary};
use model::{Demand, Trace};

/// `classic3.dat · Linux 7.3.0-rc7 · 1 CPU · 3.05 s · 12 tasks · 3 mutexes · nothing lost`
pub(crate) fn of_trace(file: &str, trace: &Trace, summary: &Summary) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    let host = trace.host.as_ref().and_then(|h| h.kernel.clone());
    let kernel = host.or_else(|| trace.format.as_ref().and_then(|f| f.kernel.clone()));
    let mut parts = vec![name(file)];
    parts.extend(kernel.map(|k| format!("Linux {}", name(&k))));
    parts.push(plural(summary.n_cpus as u64, "CPU"));
    let hundredths = summary.span_ns / 10_000_000;
    parts.push(format!("{}.{:02} s", hundredths / 100, hundredths % 100));
    parts.push(plural(summary.n_tasks as u64, "task"));
    parts.push(match summary.n_mutexes {
        1 => "1 mutex".to_owned(),
        n => format!("{n} mutexes"),
    });
    parts.push(lost(trace));
    parts.join(" · ")
}

/// `classic3.sched · 1 CPU · 3.05 s · 12 tasks · 4311 ops · 3 locks`
pub(crate) fn of_scenario(file: &str, demand: &Demand) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    let hundredths = demand.end.since(demand.start).0 / 10_000_000;
    let ops: usize = demand.tasks.iter().map(|task| task.ops.len()).sum();
    [
        name(file),
        plural(demand.machine.cpus.len() as u64, "CPU"),
        format!("{}.{:02} s", hundredths / 100, hundredths % 100),
        plural(demand.tasks.len() as u64, "task"),
        plural(ops as u64, "op"),
        plural(demand.locks.len() as u64, "lock"),
    ]
    .join(" · ")
}

fn lost(trace: &Trace) -> String {
    if trace.lost.is_empty() {
        return "nothing lost".to_owned();
    }
    let known: u64 = trace.lost.iter().filter_map(|l| l.events).sum();
    let unknown = trace.lost.iter().filter(|l| l.events.is_none()).count();
    match unknown {
        0 => format!("{known} events lost"),
        n => format!("at least {} events lost", known + n as u64),
    }
}

pub(crate) fn plural(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `replay under none is within 3 % of the recording (worst: low 5 %); owners 100 % exact`
pub(crate) fn trust(fidelity: &Fidelity) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut text = match (fidelity.median_response_error, &fidelity.worst) {
        (Some(median), Some((task, worst))) => format!(
            "replay under none: median error {:.1} % of mean response against the recording \
             (worst: {} {:.1} %)",
            median * 100.0,
            name(&task.to_string()),
            worst * 100.0
        ),
        _ => "too few responses to compare the replay under none with the recording".to_owned(),
    };
    let owners = fidelity.owners;
    if owners.exact + owners.inferred + owners.unknown > 0.0 {
        text.push_str(&format!("; owners {} exact", percent(owners.exact)));
        if owners.inferred >= 0.005 {
            text.push_str(&format!(", {} inferred", percent(owners.inferred)));
        }
        if owners.unknown >= 0.005 {
            text.push_str(&format!(", {} unknown", percent(owners.unknown)));
        }
    }
    text
}

/// `against the recording: lock waits -2 %, run delays +1 %, switches +1 %, migrations -4 %`
pub(crate) fn overall(fidelity: &Fidelity) -> Option<String> {
    let o = fidelity.overall;
    let parts: Vec<String> = [
        ("lock waits", o.lock_wait),
        ("run delays", o.run_delay),
        ("switches", o.switches),
        ("wakeups", o.wakeups),
        ("CPU time", o.cpu_time),
        ("migrations", o.migrations),
    ]
    .into_iter()
    // Minus zero is zero.
    .filter_map(|(what, change)| Some(format!("{what} {:+.0} %", (100.0 * change?).round() + 0.0)))
    .collect();
    (!parts.is_empty()).then(|| format!("all tasks against the recording: {}", parts.join(", ")))
}

/// Why no prediction can rest on a baseline: `its lock waits are 3 % of those recorded`.
pub(crate) fn misses(fidelity: &Fidelity) -> String {
    let text = |miss: &Miss| {
        let what = match miss.measure {
            Measure::Response => {
                return "half of its tasks are more than 50 % off what was recorded".to_owned();
            }
            Measure::LockWait => "its time in lock waits is",
            Measure::Switches => "its switches are",
            Measure::Wakeups => "its wakeups are",
            Measure::CpuTime => "its CPU time is",
        };
        format!("{what} {:.0} % of what was recorded", (1.0 + miss.error) * 100.0)
    };
    fidelity.misses.iter().map(text).collect::<Vec<_>>().join(", and ")
}

/// What the demand had to guess, and what the machine is assumed to be.
pub(crate) fn assumptions(verdict: &Verdict) -> Vec<String> {
    use model::demand::DemandNote as N;
    let study = &verdict.study;
    let mut lines = Vec::new();
    let sections: u64 = [N::SectionStartGuessed, N::SectionEndGuessed]
        .iter()
        .filter_map(|n| study.guesses.get(n))
        .sum();
    if sections > 0 {
        lines.push(format!(
            "{} of critical sections guessed, and uncontended sections not seen: record detail full",
            plural(sections, "bound")
        ));
    }
    if let Some(n) = study.guesses.get(&N::SectionAssumed) {
        lines.push(format!(
            "{} assumed as in other rounds of their loops",
            plural(*n, "critical section")
        ));
    }
    if let Some(n) = study.guesses.get(&N::SwitchMissing) {
        lines.push(plural(*n, "missing switch event"));
    }
    if let Some(n) = study.guesses.get(&N::WakerContextGuessed) {
        lines.push(format!("{} without a recorded context", plural(*n, "wakeup")));
    }
    if !study.demand.machine.assumed.is_empty() {
        lines.push(format!("assumed: {}", study.demand.machine.assumed.join(", ")));
    }
    let c = study.costs;
    if c.wake_busy + c.wake_idle + c.wake_deep + c.slice_end > 0 {
        let from = if study.is_scenario() { "of the scenario" } else { "from the recording" };
        lines.push(format!(
            "costs {from}: wakeup to switch {} (idle CPU {}, deep {}), slice end to \
             switch {}, sleeping for a mutex {} and {} back",
            ms(c.wake_busy),
            ms(c.wake_idle),
            ms(c.wake_deep),
            ms(c.slice_end),
            ms(c.lock_sleep),
            ms(c.lock_wake)
        ));
    }
    let set: Vec<String> = c.all()[10..]
        .iter()
        .filter(|(_, ns)| *ns > 0)
        .map(|(name, ns)| format!("{name} {ns} ns"))
        .collect();
    if !set.is_empty() {
        lines.push(format!("costs as set: {}", set.join(", ")));
    }
    lines
}
