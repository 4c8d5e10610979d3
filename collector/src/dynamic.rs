//! Dynamic events of tracefs on the mutex functions: fprobes or kprobes, gone when we are.

use crate::offer::CallProbe;
use crate::refusal::Refusal;
use crate::tracefs::{self, Tracefs};
use anyhow::{Context, Result, anyhow};
use std::fs;

/// Groups of dynamic events begin with this; the recorder's process id and start time follow.
const GROUP: &str = "resched_";

/// One event of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DynamicEvent {
    /// Its system.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u16,
}

/// Events on function calls; dropping the value removes them.
#[derive(Debug)]
pub(crate) struct DynamicEvents {
    tracefs: Tracefs,
    group: String,
    pub events: Vec<DynamicEvent>,
    /// Functions that this kernel does not have.
    pub missing: Vec<&'static str>,
}

/// Whether an event is at the entry or at the return of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Entry,
    Return,
}

/// What is recorded: function, where, name of the event.
///
/// `mutex_lock` returns nothing: it is acquired at its entry, or at `contention_end` when it
/// contended. A `mutex_trylock` says at its return whether it got the mutex.
const CALLS: [(&str, At, &str); 7] = [
    ("mutex_lock", At::Entry, "mutex_lock_in"),
    ("mutex_unlock", At::Entry, "mutex_unlock_in"),
    ("mutex_trylock", At::Return, "mutex_trylock_ret"),
    ("mutex_lock_interruptible", At::Entry, "mutex_lock_interruptible_in"),
    ("mutex_lock_interruptible", At::Return, "mutex_lock_interruptible_ret"),
    ("mutex_lock_killable", At::Entry, "mutex_lock_killable_in"),
    ("mutex_lock_killable", At::Return, "mutex_lock_killable_ret"),
];

/// Without these a recording of mutex calls is wrong, not only incomplete.
const NEEDED: [&str; 3] = ["mutex_lock", "mutex_unlock", "mutex_trylock"];

fn definition(probe: CallProbe, group: &str, (function, at, name): (&str, At, &str)) -> String {
    match (probe, at) {
        (CallProbe::Kprobe, At::Entry) => format!("p:{group}/{name} {function} lock=$arg1"),
        (CallProbe::Kprobe, At::Return) => {
            format!("r:{group}/{name} {function} lock=$arg1 ret=$retval:s32")
        }
        (_, At::Entry) => format!("f:{group}/{name} {function} lock=$arg1"),
        (_, At::Return) => {
            format!("f:{group}/{name} {function}%return lock=$arg1 ret=$retval:s32")
        }
    }
}

impl DynamicEvents {
    /// Makes the events.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one that is needed, with what its error log says.
    pub(crate) fn create(tracefs: &Tracefs, probe: CallProbe, me: (u32, u64)) -> Result<Self> {
        let group = format!("{GROUP}{}_{}", me.0, me.1);
        let mut made =
            Self { tracefs: tracefs.clone(), group, events: Vec::new(), missing: Vec::new() };
        for call in CALLS {
            let definition = definition(probe, &made.group, call);
            match made.add(&definition, call.2) {
                Ok(event) => made.events.push(event),
                Err(_) if !NEEDED.contains(&call.0) => made.missing.push(call.0),
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    fn add(&self, definition: &str, name: &str) -> Result<DynamicEvent> {
        append(&self.tracefs, definition).with_context(|| last_error(&self.tracefs))?;
        let id = tracefs::read(
            &self.tracefs.root().join("events").join(&self.group).join(name).join("id"),
            "know the event's number",
        )?;
        let id = id.trim().parse().with_context(|| format!("the number of {name}"))?;
        Ok(DynamicEvent { group: self.group.clone(), name: name.to_owned(), id })
    }
}

impl Drop for DynamicEvents {
    fn drop(&mut self) {
        for event in &self.events {
            let _ = append(&self.tracefs, &format!("-:{}/{}", event.group, event.name));
        }
    }
}

fn append(tracefs: &Tracefs, line: &str) -> Result<(), Refusal> {
    let path = tracefs.root().join("dynamic_events");
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()))
        .map_err(|e| Refusal::new(&path, "written", "record every mutex call (`full`)", e))
}

/// The newest entry of the kernel's log of such errors.
fn last_error(tracefs: &Tracefs) -> String {
    let log = tracefs.read("error_log", "say why").unwrap_or_default();
    let last = log.rsplit_once("error: ").map_or("", |(_, rest)| rest);
    let line = last.lines().next().unwrap_or_default().trim();
    if line.is_empty() { "the kernel says no more".to_owned() } else { format!("kernel: {line}") }
}

/// Removes the events of dead recorders; returns their groups.
///
/// None can be removed while an instance records it.
pub(crate) fn remove_leftovers(
    tracefs: &Tracefs,
    is_alive: impl Fn(u32, u64) -> tracefs::Alive,
) -> Vec<String> {
    let Ok(all) = tracefs.read("dynamic_events", "find what a killed recorder left") else {
        return Vec::new();
    };
    let mut groups = Vec::new();
    for event in leftovers(&all, is_alive) {
        let group = event.split('/').next().unwrap_or_default().to_owned();
        if append(tracefs, &format!("-:{event}")).is_ok() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// `GROUP/NAME` of the events in this list whose recorder is dead.
fn leftovers(all: &str, is_alive: impl Fn(u32, u64) -> tracefs::Alive) -> Vec<String> {
    let event = |line: &str| Some(line.split_once(':')?.1.split_whitespace().next()?.to_owned());
    let is_dead = |event: &String| {
        let own = event.strip_prefix(GROUP).and_then(|rest| rest.split_once('/'));
        let (pid, start) = own.and_then(|(me, _)| me.split_once('_'))?;
        Some(is_alive(pid.parse().ok()?, start.parse().ok()?) == tracefs::Alive::No)
    };
    all.lines().filter_map(event).filter(|event| is_dead(event) == Some(true)).collect()
}

/// Which kinds of dynamic events on functions the tracefs of this kernel explains.
pub(crate) fn offered(readme: &str) -> Vec<(CallProbe, Option<String>)> {
    let has = |syntax: &str| readme.contains(syntax);
    let without = |option: &str| Some(format!("this kernel is built without {option}"));
    vec![
        (
            CallProbe::Fprobe,
            if has("f[:[<group>/]") { None } else { without("CONFIG_FPROBE_EVENTS") },
        ),
        (
            CallProbe::Kprobe,
            if has("p[:[<group>/]") && readme.contains("place (kretprobe)") {
                None
            } else {
                without("CONFIG_KPROBE_EVENTS")
            },
        ),
    ]
}

/// An error for a kernel on which no way works.
pub(crate) fn nothing_works(reasons: &[String]) -> anyhow::Error {
    anyhow!("no way to see every mutex call works: {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracefs::Alive;

    #[test]
    fn definitions_are_in_the_kernels_syntax() {
        let text = |probe| -> Vec<String> {
            CALLS.iter().take(3).map(|call| definition(probe, "g", *call)).collect()
        };
        assert_eq!(
            text(CallProbe::Fprobe),
            [
                "f:g/mutex_lock_in mutex_lock lock=$arg1",
                "f:g/mutex_unlock_in mutex_unlock lock=$arg1",
                "f:g/mutex_trylock_ret mutex_trylock%return lock=$arg1 ret=$retval:s32",
            ]
        );
        assert_eq!(
            text(CallProbe::Kprobe)[2],
            "r:g/mutex_trylock_ret mutex_trylock lock=$arg1 ret=$retval:s32"
        );
    }

    #[test]
    fn events_of_dead_recorders_are_found_among_others() {
        let all = "f:resched_12_34/mutex_lock_in mutex_lock lock=$arg1\n\
                   p:resched_56_78/mutex_lock_in mutex_lock lock=$arg1\n\
                   p:kprobes/other do_exit\n\nnonsense\n";
        let alive = |pid, _| if pid == 56 { Alive::Yes } else { Alive::No };
        assert_eq!(leftovers(all, alive), ["resched_12_34/mutex_lock_in"]);
    }
}
