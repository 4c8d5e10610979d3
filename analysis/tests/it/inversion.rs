//! The inversion of a real program on a kernel without `contended_release`, recorded and replayed.

use analysis::summary;
use model::demand::{Choices, Cover};
use model::{History, Host, Recording, SchedEvent};
use replay::{Options, Policy, replay};

const PIPE: &str = "recorded/pipe-owner.dat";
/// One replay is as far from another one as one run of the program is from the next.
const SEEDS: u64 = 8;

/// Recorded, and in the mean of the replays under a policy, in ms.
fn inversion(recording: &Recording, policy: Policy) -> (f64, f64) {
    let host = Host::from_json(&fixtures::text(&format!("{PIPE}.host.json"))).expect("a sidecar");
    let history = History::read(recording, Some(&host), Cover::default());
    let (demand, _) = history.demand(Choices::default());
    let ms = |trace: &model::Trace| summary(trace).waits.inversion.curable_ns as f64 / 1e6;
    let replayed = |seed| {
        let schedule = replay(&demand, policy, &Options { seed, ..Options::default() });
        ms(&model::assemble(&schedule.recording, Some(&host)))
    };
    let mean = (0..SEEDS).map(replayed).sum::<f64>() / SEEDS as f64;
    (ms(&history.trace), mean)
}

fn recording() -> Recording {
    trace_formats::read(&fixtures::bytes(PIPE)).expect("readable")
}

#[test]
fn a_replay_shows_the_inversion_that_recorded_owners_show() {
    let (recorded, none) = inversion(&recording(), Policy::None);
    assert!((none / recorded - 1.0).abs() < 0.15, "{recorded} ms recorded, {none} ms replayed");
    let (_, proxy) = inversion(&recording(), Policy::Pe73);
    assert!(proxy < none / 10.0, "{none} ms without proxy execution, {proxy} ms with it");
}

#[test]
fn and_the_one_that_owners_show_that_are_concluded() {
    let mut recording = recording();
    let (with_records, _) = inversion(&recording, Policy::None);
    recording.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    let (recorded, none) = inversion(&recording, Policy::None);
    assert!((recorded / with_records - 1.0).abs() < 0.02, "{recorded} and {with_records} ms");
    assert!((none / recorded - 1.0).abs() < 0.15, "{recorded} ms recorded, {none} ms replayed");
}
