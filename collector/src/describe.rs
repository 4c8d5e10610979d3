//! Collects what describes the records of a recording: formats, symbols, names.

use crate::offer;
use crate::refusal::Refusal;
use crate::trace_dat::Formats;
use crate::tracefs::{self, Tracefs};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A system and the names of its events that are recorded.
pub(crate) type Systems = BTreeMap<String, Vec<String>>;

/// Formats of `systems`, of ftrace's own events and of pages; symbols from `kallsyms`.
pub(crate) fn formats(
    tracefs: &Tracefs,
    systems: &Systems,
    kallsyms: &str,
    clock: String,
    n_cpus: u32,
) -> Result<Formats, Refusal> {
    let describe = "describe the records in the file";
    let mut described = Vec::new();
    for (system, names) in systems {
        let formats: Result<Vec<String>, Refusal> =
            names.iter().map(|name| tracefs.event_format(system, name)).collect();
        described.push((system.clone(), formats?));
    }
    Ok(Formats {
        header_page: tracefs.read("events/header_page", describe)?,
        header_event: tracefs.read("events/header_event", describe)?,
        ftrace: ftrace_formats(tracefs),
        systems: described,
        kallsyms: offer::named_functions(kallsyms),
        uname: uname(),
        clock,
        n_cpus,
        trace_id: trace_id(),
    })
}

/// None of these is recorded; readers want to know some of them nevertheless.
fn ftrace_formats(mounted: &Tracefs) -> Vec<String> {
    let dir = mounted.root().join("events/ftrace");
    let mut paths: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| tracefs::read(&path.join("format"), "").ok()).collect()
}

/// What the kernel says of itself: `hostname`, `osrelease`.
pub(crate) fn kernel(file: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    text.trim().to_owned()
}

fn uname() -> String {
    let host = kernel("hostname");
    format!("Linux {host} {} {}", kernel("osrelease"), std::env::consts::ARCH)
}

/// The CPUs that are on, in ascending order.
pub(crate) fn online_cpus() -> Result<Vec<u32>, Refusal> {
    let path = Path::new("/sys/devices/system/cpu/online");
    tracefs::read(path, "know the CPUs").map(|list| cpu_list(&list))
}

/// The CPUs of a list such as `0-3,8`; parts that are none are left out.
fn cpu_list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            cpus.extend(first..=last.min(first.saturating_add(1 << 16)));
        }
    }
    cpus
}

/// Time and process: no two recordings of a machine share both.
fn trace_id() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(0));
    nanos ^ u64::from(std::process::id()) << 40
}

/// `TID NAME` of every thread there is, for readers that print names beside numbers.
pub(crate) fn task_names() -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if number(&process).is_none() {
            continue;
        }
        // Threads end while one looks.
        let threads = fs::read_dir(process.path().join("task")).into_iter().flatten().flatten();
        for thread in threads {
            let comm = fs::read(thread.path().join("comm")).unwrap_or_default();
            let comm = String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned();
            if let Some(tid) = number(&thread).filter(|_| !comm.is_empty()) {
                names.insert(tid, comm);
            }
        }
    }
    names
}

/// As trace.dat keeps them: a line each, so a name cannot hold a line's end.
pub(crate) fn names_text(names: &BTreeMap<u32, String>) -> String {
    names.iter().map(|(tid, name)| format!("{tid} {}\n", name.replace('\n', " "))).collect()
}
