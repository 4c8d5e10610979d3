//! What this kernel can give: events and their numbers, clocks, ways to see every mutex call.

use crate::refusal::Refusal;
use crate::tracefs::Tracefs;
use std::collections::BTreeMap;

/// An event of the kernel, by system and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// Its folder below `events`.
    pub system: &'static str,
    /// Its name.
    pub name: &'static str,
}

impl std::fmt::Display for EventName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.system, self.name)
    }
}

const fn event(system: &'static str, name: &'static str) -> EventName {
    EventName { system, name }
}

/// Without these nothing can be said about a schedule.
pub const SCHEDULE: [EventName; 2] =
    [event("sched", "sched_switch"), event("sched", "sched_waking")];

/// Without these one answer or another is missing or guessed.
pub const REST: [EventName; 11] = [
    event("sched", "sched_wakeup"),
    event("sched", "sched_wakeup_new"),
    event("sched", "sched_migrate_task"),
    event("sched", "sched_process_fork"),
    event("sched", "sched_process_exec"),
    event("sched", "sched_process_exit"),
    event("sched", "sched_pi_setprio"),
    event("lock", "contention_begin"),
    event("lock", "contention_end"),
    event("lock", "contended_release"),
    HRTIMER_START,
];

/// The timers of sleepers.
pub const HRTIMER_START: EventName = event("timer", "hrtimer_start");

/// The system calls behind user-space locks.
pub const FUTEX: [EventName; 2] =
    [event("syscalls", "sys_enter_futex"), event("syscalls", "sys_exit_futex")];

/// Where every system call begins and ends.
pub const SYSTEM_CALLS: [EventName; 2] =
    [event("raw_syscalls", "sys_enter"), event("raw_syscalls", "sys_exit")];

/// How every call of a mutex function can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallProbe {
    /// Dynamic events on function entry and return.
    Fprobe,
    /// Dynamic events on breakpoints.
    Kprobe,
    /// BPF programs on function entry and return.
    Fentry,
}

impl CallProbe {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fprobe => "fprobe events",
            Self::Kprobe => "kprobe events",
            Self::Fentry => "BPF fentry and fexit",
        }
    }
}

/// What this kernel offers.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Numbers of the events that it has.
    pub events: BTreeMap<EventName, u16>,
    /// The machine's memory, KiB; 0 when it is unknown.
    pub memory_kib: u64,
    /// Its CPUs.
    pub n_cpus: u64,
    /// Whether an instance can be made; else why not.
    pub instances: Option<String>,
    /// Whether `perf_event_open` works for system-wide tracepoints; else why not.
    pub perf: Option<String>,
    /// Whether BPF programs can be loaded; else why not.
    pub bpf: Option<String>,
    /// Whether calls on pipes and sockets can be seen; else why not.
    pub transfers: Option<String>,
    /// Whether futex calls can be seen with BPF; else why not.
    pub futexes: Option<String>,
    /// Numbers of [`SYSTEM_CALLS`].
    pub system_calls: Option<[u16; 2]>,
    /// The ways to see every mutex call, the cheapest first, each with why it does not work.
    pub call_probes: Vec<(CallProbe, Option<String>)>,
    /// The ways to see every call of contended mutexes, the best first, each with why it does not
    /// work.
    pub contended_calls: Vec<(CallProbe, Option<String>)>,
    /// Addresses of the timer functions of sleepers and slices; empty when hidden.
    pub timer_functions: Vec<u64>,
}

/// Reads the events' numbers.
///
/// # Errors
///
/// When an event is there and its number cannot be read.
pub fn events(tracefs: &Tracefs) -> Result<BTreeMap<EventName, u16>, Refusal> {
    let mut found = BTreeMap::new();
    for event in SCHEDULE.iter().chain(&REST).chain(&FUTEX) {
        if let Some(id) = tracefs.event_id(event.system, event.name)? {
            found.insert(*event, id);
        }
    }
    Ok(found)
}

/// The machine's memory in KiB, from the text of `/proc/meminfo`.
#[must_use]
pub fn memory_kib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Timers whose start says when a task will be woken or its slice ends.
const TIMER_FUNCTIONS: [&str; 4] =
    ["hrtimer_wakeup", "hrtick", "dl_task_timer", "inactive_task_timer"];

/// Functions that the readers of a recording ask the names of.
pub(crate) const NAMED_FUNCTIONS: [&str; 5] =
    ["hrtimer_wakeup", "hrtick", "dl_task_timer", "inactive_task_timer", "tick_nohz_handler"];

/// Addresses of the timer functions in a `kallsyms` text; none where the kernel hides them.
#[must_use]
pub fn timer_functions(kallsyms: &str) -> Vec<u64> {
    symbols(kallsyms, &TIMER_FUNCTIONS).map(|(address, _)| address).collect()
}

/// The lines of a `kallsyms` text that a recording takes along.
#[must_use]
pub(crate) fn named_functions(kallsyms: &str) -> String {
    let line = |(_, line): (u64, &str)| format!("{line}\n");
    symbols(kallsyms, &NAMED_FUNCTIONS).map(line).collect()
}

fn symbols<'t>(
    kallsyms: &'t str,
    wanted: &'static [&'static str],
) -> impl Iterator<Item = (u64, &'t str)> {
    kallsyms.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok().filter(|at| *at != 0)?;
        let name = words.nth(1)?;
        wanted.contains(&name).then_some((address, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_functions_are_found_unless_hidden() {
        let kallsyms = "ffffffff81234560 t hrtimer_wakeup\nffffffff81234570 T hrtimer_start\n\
                        ffffffff81234580 t hrtick\n0000000000000000 t dl_task_timer\nnonsense\n";
        assert_eq!(timer_functions(kallsyms), [0xffff_ffff_8123_4560, 0xffff_ffff_8123_4580]);
        assert_eq!(named_functions(kallsyms).lines().count(), 2);
    }
}
