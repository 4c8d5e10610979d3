//! Recordings of the project's shared folder, where there is one.

use model::{Host, Trace, assemble};
use std::path::{Path, PathBuf};

/// The shared folder; `None` outside the project's own machines.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    folder.is_dir().then_some(folder)
}

/// All recordings of the ground truth, sorted.
pub(crate) fn recordings() -> Vec<PathBuf> {
    let Some(folder) = folder() else {
        eprintln!("skipped: no shared folder");
        return Vec::new();
    };
    let mut list = Vec::new();
    for machine in entries(&folder.join("ground-truth")) {
        for run in entries(&machine) {
            list.extend(
                entries(&run).into_iter().filter(|p| p.extension().is_some_and(|e| e == "dat")),
            );
        }
    }
    list.sort();
    list
}

/// The first run of each kind: enough for what takes long.
pub(crate) fn first_runs() -> Vec<PathBuf> {
    let is_first = |p: &PathBuf| {
        p.parent()
            .and_then(Path::file_name)
            .is_some_and(|run| run.to_string_lossy().ends_with("-1"))
    };
    recordings().into_iter().filter(is_first).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|e| e.path()).collect()
}

/// Reads and assembles a recording with its sidecar.
pub(crate) fn trace(path: &Path) -> Trace {
    let bytes = std::fs::read(path).expect("readable");
    let recording = trace_formats::read(&bytes).expect("a trace");
    let mut sidecar = path.as_os_str().to_owned();
    sidecar.push(".host.json");
    let host = std::fs::read_to_string(sidecar).ok();
    let host = host.map(|text| Host::from_json(&text).expect("a sidecar"));
    assemble(&recording, host.as_ref())
}
