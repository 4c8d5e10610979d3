//! Two readings of one machine, at the start and at the end of a recording, as one.

use super::Snapshot;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use trace_formats::{Host, HostGroup, HostTask};

/// One sidecar of both readings: the start's values, and at `at_end` what differed later.
///
/// Tasks and cgroups that are new at the end are added. A task at the end with the tid of one
/// that was there at the start, but started later, is among that one's `successors`.
pub(super) fn merge(start: Snapshot, end: Snapshot) -> Host {
    let mut host = start.machine;
    host.at_end = difference(&plain(&host), &plain(&end.machine));
    host.tasks = tasks(start.tasks.tasks, end.tasks.tasks);
    host.cgroups = groups(start.tasks.cgroups, end.tasks.cgroups);
    let vanished = start.tasks.vanished.saturating_add(end.tasks.vanished);
    host.tasks_vanished = Some(vanished).filter(|n| *n > 0);
    for (path, error) in start.tasks.unreadable.iter().chain(&end.tasks.unreadable) {
        host.add_unreadable(path, error);
    }
    for source in &end.machine.unreadable {
        host.add_unreadable(&source.path, &source.error);
    }
    host
}

/// The machine without what tells of the reading.
fn plain(host: &Host) -> Host {
    let mut host = host.clone();
    host.unreadable.clear();
    host.derived.clear();
    host
}

/// The end's values of the fields that differ; null for those that are gone.
fn difference<T: Serialize + PartialEq>(start: &T, end: &T) -> BTreeMap<String, Value> {
    if start == end {
        return BTreeMap::new();
    }
    let fields = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        // Strings, numbers and lists of them can always be written.
        _ => serde_json::Map::new(),
    };
    let (start, end) = (fields(start), fields(end));
    let mut changed = BTreeMap::new();
    for name in start.keys().chain(end.keys()) {
        if start.get(name) != end.get(name) {
            changed.insert(name.clone(), end.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    changed
}

fn tasks(start: Vec<HostTask>, end: Vec<HostTask>) -> Vec<HostTask> {
    let mut by_tid: BTreeMap<Option<i32>, HostTask> =
        start.into_iter().map(|t| (t.tid, t)).collect();
    for mut task in end {
        match by_tid.entry(task.tid) {
            Entry::Vacant(free) => {
                task.only_at_end = Some(true);
                free.insert(task);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.start_time_ticks == task.start_time_ticks {
                    known.at_end = difference(known, &task);
                } else {
                    known.successors.push(task);
                }
            }
        }
    }
    by_tid.into_values().collect()
}

fn groups(start: Vec<HostGroup>, end: Vec<HostGroup>) -> Vec<HostGroup> {
    let mut by_path: BTreeMap<String, HostGroup> =
        start.into_iter().map(|g| (g.path.clone(), g)).collect();
    for group in end {
        match by_path.entry(group.path.clone()) {
            Entry::Vacant(free) => {
                free.insert(group);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.at_end = difference(known, &group);
            }
        }
    }
    by_path.into_values().collect()
}
