//! The self-tests of model and engine on real recordings.
//!
//! `recorded` must give a recording back to the nanosecond, and the same demand must give the
//! same schedule every time.

use model::{Event, Host, Recording, SchedEvent};
use replay::{Options, Policy, Rule};
use std::path::{Path, PathBuf};

pub(crate) fn is_trace(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "dat" || e == "data" || e == "txt")
}

/// Recordings of the repository, without those whose schedule holds invisible donors.
fn fixtures() -> Vec<PathBuf> {
    let all = fixtures::list("recorded").into_iter().map(|name| fixtures::path(&name));
    all.filter(|p| is_trace(p) && !p.display().to_string().contains("proxy-on")).collect()
}

/// Recordings beside the repository, made with proxy execution off; empty where there are none.
fn ground_truth() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/ground-truth");
    let mut list = Vec::new();
    for run in ["uni/off-1", "uni/full-1", "smp/off-1", "smp/full-1"] {
        let Ok(entries) = std::fs::read_dir(root.join(run)) else { continue };
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

fn check_identity(path: &Path) {
    let (recording, host) = open(path);
    let (demand, _) = model::demand::extract(&recording, host.as_ref());
    let (schedule, divergence) = replay::recorded(&demand, &recording);
    assert_eq!(divergence, None, "{}", path.display());
    // The schedule itself: every switch, at its time, on its CPU.
    let switches = |events: &[Event]| -> Vec<Event> {
        let is_switch = |e: &&Event| matches!(e.kind, SchedEvent::Switch { .. });
        let mut list: Vec<Event> = events.iter().filter(is_switch).copied().collect();
        list.sort_by_key(|e| (e.at, e.cpu));
        list
    };
    assert_eq!(
        switches(&recording.events),
        switches(&schedule.recording.events),
        "{}",
        path.display()
    );
}

#[test]
fn recorded_gives_every_fixture_back() {
    let list = fixtures();
    assert!(list.len() >= 8, "{list:?}");
    list.iter().for_each(|path| check_identity(path));
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn recorded_gives_the_ground_truth_back() {
    let list = ground_truth();
    if list.is_empty() {
        eprintln!("skipped: no ground-truth recordings beside the repository");
    }
    list.iter().for_each(|path| check_identity(path));
}

#[test]
fn a_shifted_program_is_noticed() {
    let (recording, host) = open(&fixtures::path("recorded/classic3-full.dat"));
    let (mut demand, _) = model::demand::extract(&recording, host.as_ref());
    let low = demand.tasks.iter().position(|t| demand.names.text(t.info.comm) == "low");
    let ops = &mut demand.tasks[low.expect("low")].ops;
    let long = ops.iter_mut().find_map(|op| match op {
        model::Op::Compute(span) if span.0 > 500_000 => Some(span),
        _ => None,
    });
    long.expect("a section").0 -= 1;
    let (_, divergence) = replay::recorded(&demand, &recording);
    assert!(divergence.is_some(), "one nanosecond less work goes unnoticed");
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
