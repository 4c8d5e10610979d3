//! The self-tests of model and engine on real recordings.
//!
//! `recorded` must give a recording back to the nanosecond, and the same demand must give the
//! same schedule every time.

use model::demand::{Choices, Cover};
use model::{History, Host, Recording, SchedEvent};
use replay::{Options, Policy, Rule};
use std::path::{Path, PathBuf};

pub(crate) fn is_trace(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".zst").unwrap_or(&name);
    [".dat", ".data", ".txt"].iter().any(|end| name.ends_with(end)) && name != "owner-truth.txt"
}

/// Recordings of the repository, without those whose schedule holds invisible donors.
fn fixtures() -> Vec<PathBuf> {
    let all = fixtures::list("recorded").into_iter().map(|name| fixtures::path(&name));
    all.filter(|p| is_trace(p) && !p.display().to_string().contains("proxy-on")).collect()
}

/// Recordings in folders beside the repository; empty where there are none.
fn shared(folders: &[String]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let mut list = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        list.extend(entries.flatten().map(|e| e.path()).filter(|p| is_trace(p)));
    }
    list.sort();
    list
}

pub(crate) fn open(path: &Path) -> (Recording, Option<Host>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let recording =
        trace_formats::read(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let sidecar = std::fs::read_to_string(format!("{}.host.json", path.display()));
    let host = sidecar.ok().map(|text| Host::from_json(&text).expect("a sidecar"));
    (recording, host)
}

/// `recorded` plays what was recorded, word for word.
pub(crate) const LITERAL: Choices = Choices { section_percentile: 50, literal: true, seed: 0 };

fn check_identity(path: &Path, recording: &Recording, host: Option<&Host>) {
    let (demand, _) = History::read(recording, host, Cover::default()).demand(LITERAL);
    let (schedule, divergence) = replay::recorded(&demand, recording);
    assert_eq!(divergence.map(|d| d.to_string()), None, "{}", path.display());
    // The schedule itself: every event, at its time, on its CPU.
    assert!(schedule.recording.events == recording.events, "{}", path.display());
}

/// Plays all of a list back, and says how many that were.
#[expect(clippy::print_stderr, reason = "a test that skips something says so")]
fn check_all(what: &str, list: &[PathBuf]) {
    if list.is_empty() {
        eprintln!("SKIPPED: no {what} beside the repository");
    }
    let (mut count, mut events) = (0, 0);
    for path in list {
        let (recording, host) = open(path);
        check_identity(path, &recording, host.as_ref());
        (count, events) = (count + 1, events + recording.events.len());
    }
    eprintln!("{what}: {count} recordings with {events} events come back as they were");
}

fn runs(machine: &str, kinds: &[&str]) -> Vec<String> {
    let run = |kind: &&str| (1..=3).map(move |n| format!("{kind}-{n}")).collect::<Vec<_>>();
    let runs = kinds.iter().flat_map(run);
    runs.map(|run| format!("ground-truth/{machine}/{run}")).collect()
}

#[test]
fn recorded_gives_every_fixture_back() {
    let mut list = fixtures();
    list.push(fixtures::path("recorded/localhandoff-proxy-on.dat"));
    assert!(list.len() >= 11, "{list:?}");
    check_all("fixtures", &list);
}

/// Where a demand acquires other locks than mutexes itself, their waits are acquisitions.
#[test]
fn recorded_gives_covered_locks_back() {
    let cover = Cover { rwsem: true, pi_futex: true, user_locks: true, buffers: true };
    for name in ["pipe-inversion.perf.data", "affine-full-2cpus.dat", "classic3-contention.dat"] {
        let (recording, host) = open(&fixtures::path(&format!("recorded/{name}")));
        let history = History::read(&recording, host.as_ref(), cover);
        let (demand, _) = history.demand(LITERAL);
        assert_eq!(replay::recorded(&demand, &recording).1, None, "{name}");
    }
}

#[test]
fn recorded_gives_one_cpu_back() {
    check_all("one-CPU recordings", &shared(&runs("uni", &["off", "full", "on"])));
}

#[test]
fn recorded_gives_two_cpus_back() {
    check_all("two-CPU recordings", &shared(&runs("smp", &["off", "full", "on"])));
}

#[test]
fn recorded_gives_real_programs_back() {
    check_all("recordings of real programs", &shared(&runs("real", &["off", "full", "on"])));
}

/// One run in all formats, and programs of a whole machine at work.
#[test]
fn recorded_gives_every_format_back() {
    check_all("recordings of a host", &shared(&["host-traces".to_owned()]));
}

/// Small files that went wrong once and hold a sound schedule.
#[test]
fn recorded_gives_the_cases_back() {
    let sound = |p: &PathBuf| {
        let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let sound = ["00-", "01b-", "25c-", "74c-", "86-", "88-", "89-", "90b-", "h01-", "h02-"];
        sound.iter().any(|start| name.starts_with(start)) || name == "h04-whole.dat"
    };
    let list: Vec<PathBuf> = shared(&["cases".to_owned()]).into_iter().filter(sound).collect();
    check_all("sound cases", &list);
}

#[test]
fn the_same_demand_gives_the_same_schedule() {
    for path in fixtures() {
        let (recording, host) = open(&path);
        let (demand, _) = model::demand::extract(&recording, host.as_ref());
        for policy in [Policy::None, Policy::Pe73] {
            let run = || replay::replay(&demand, policy, &Options::default()).recording.events;
            assert_eq!(run(), run(), "{} {policy}", path.display());
        }
    }
}

#[test]
fn executed_time_is_charged_time() {
    for path in fixtures() {
        let (recording, host) = open(&path);
        let (demand, _) = model::demand::extract(&recording, host.as_ref());
        for policy in [Policy::None, Policy::Pe73] {
            let times = replay::replay(&demand, policy, &Options::default()).times;
            let executed: u64 = times.iter().map(|t| t.executed.0).sum();
            let charged: u64 = times.iter().map(|t| t.charged.0).sum();
            assert_eq!(executed, charged, "{} {policy}", path.display());
        }
    }
}

/// The rules of a schedule change nothing in it, and every decision has one.
#[test]
fn every_decision_of_a_replay_has_its_rule() {
    for path in fixtures() {
        let (recording, host) = open(&path);
        let (demand, _) = model::demand::extract(&recording, host.as_ref());
        for policy in [Policy::None, Policy::Pe71, Policy::PeSleeping, Policy::Pi] {
            let options = Options::default();
            let (schedule, decisions) = replay::replay_with_rules(&demand, policy, &options);
            let plain = replay::replay(&demand, policy, &options).recording.events;
            assert_eq!(schedule.recording.events, plain);
            assert_eq!(decisions.len(), plain.len());
            for (event, decision) in plain.iter().zip(&decisions) {
                let decides = matches!(
                    event.kind,
                    SchedEvent::Switch { .. }
                        | SchedEvent::Waking(_)
                        | SchedEvent::Wakeup(_)
                        | SchedEvent::WakeupNew(_)
                        | SchedEvent::MigrateTask { .. }
                        | SchedEvent::ContentionBegin { .. }
                        | SchedEvent::ContentionEnd { ret: 0, .. }
                );
                let is_told = ![decision.cause, decision.choice].contains(&Rule::Follows);
                assert!(is_told || !decides, "{} under {policy}: {event:?}", path.display());
            }
        }
    }
}
