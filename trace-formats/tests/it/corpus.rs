//! Counts of public traces, against what their reference tools counted.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trace_formats::{ErrorKind, read};

/// Other people's traces beside the repository; `None` where there are none.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let is_there = folder.join("expected.json").exists();
    if !is_there {
        eprintln!("skipped: no public traces at {}", folder.display());
    }
    is_there.then_some(folder)
}

fn counts_in(value: &Value) -> BTreeMap<String, u64> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, n)| Some((name.clone(), n.as_u64()?))).collect()
}

#[test]
fn every_expected_count_is_met() {
    let Some(folder) = corpus() else { return };
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("readable");
    let expected: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let mut read_files = 0;
    for (name, expected) in &expected {
        let path = folder.join(name);
        // A trace that is a folder is refused by the caller, who sees the folder.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let recording = match read(&bytes) {
            Ok(recording) => recording,
            Err(error) if matches!(error.kind, ErrorKind::NotBuilt { .. }) => continue,
            Err(error) => panic!("{name}: {error}"),
        };
        read_files += 1;
        if let Some(total) = expected["total"].as_u64() {
            assert_eq!(recording.total(), total, "{name}");
            assert_eq!(recording.counts, counts_in(&expected["events"]), "{name}");
            continue;
        }
        // Of two perfs, the newer one's word counts; each reads files that the other does not.
        let samples = ["script72", "script61"].map(|script| counts_in(&expected[script]));
        let samples = samples.into_iter().find(|counts| !counts.is_empty()).expect("a count");
        assert_eq!(recording.total(), samples.values().sum::<u64>(), "{name}");
        let kinds = ["stats72", "stats61"].map(|stats| counts_in(&expected[stats]));
        if let Some(mut kinds) = kinds.into_iter().find(|counts| !counts.is_empty()) {
            kinds.remove("TOTAL");
            assert_eq!(recording.records, kinds, "{name}");
        }
    }
    assert_eq!(read_files, 14, "files of formats that are built");
}

/// Every file of these folders is read or refused with a reason.
#[test]
fn no_file_panics() {
    let Some(folder) = corpus() else { return };
    let mut todo = vec![folder];
    while let Some(path) = todo.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            todo.extend(entries.flatten().map(|entry| entry.path()));
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        if let Err(error) = read(&bytes) {
            assert!(error.to_string().len() > 20, "{}: {error}", path.display());
        }
    }
}
