//! A recording against its replays.

use crate::recorded::fixture;
use analysis::{Fidelity, Measure, compare, fidelity, summary};
use model::{Host, LockKind, Trace, assemble};
use replay::{Options, Policy, replay};

fn replayed(name: &str, policy: Policy) -> Trace {
    let recording = trace_formats::read(&fixtures::bytes(name)).expect("readable");
    let host = Host::from_json(&fixtures::text(&format!("{name}.host.json"))).expect("a sidecar");
    let (demand, _) = model::demand::extract(&recording, Some(&host));
    let schedule = replay(&demand, policy, &Options::default());
    assemble(&schedule.recording, Some(&host))
}

fn of(recorded: &Trace, replayed: &Trace) -> Fidelity {
    fidelity(recorded, &[&summary(replayed)], LockKind::is_proxied)
}

const CLASSIC: &str = "recorded/classic3-full.dat";

#[test]
fn a_trace_is_its_own_best_replay() {
    let trace = fixture(CLASSIC);
    let f = of(&trace, &trace);
    assert_eq!(f.median_response_error, Some(0.0));
    assert_eq!(f.worst.map(|(_, error)| error), Some(0.0));
    assert!(f.tasks.iter().any(|t| t.key.name == "high" && t.wait_error == Some(0.0)));
}

#[test]
fn the_recorded_policy_is_nearer_to_the_recording_than_another_one() {
    let recorded = fixture(CLASSIC);
    let error = |policy| {
        let f = of(&recorded, &replayed(CLASSIC, policy));
        assert!(f.tasks.windows(2).all(|w| w[0].response_error >= w[1].response_error));
        assert!(f.owners.exact > 0.99, "{:?}", f.owners);
        let high = f.tasks.iter().find(|t| t.key.name == "high").expect("high responds");
        high.response_error
    };
    let (none, proxy) = (error(Policy::None), error(Policy::Pe73));
    assert!(none < proxy, "{none} {proxy}");
}

#[test]
fn proxy_execution_takes_the_inversion_away() {
    let (none, proxy) = (replayed(CLASSIC, Policy::None), replayed(CLASSIC, Policy::Pe73));
    let c = compare(&none, &proxy);
    let inversion = |s: &analysis::Summary| s.waits.inversion.curable_ns;
    assert!(inversion(&c.before) > 100_000_000, "{:?}", c.before.waits);
    assert!(inversion(&c.after) < inversion(&c.before) / 10, "{:?}", c.after.waits);
    let high = c.tasks.iter().find(|t| t.key.name == "high").expect("high is in both");
    assert!(high.response_change().expect("it responds") < -0.5);
    let donated = high.after.as_ref().map(|t| t.donated_ns);
    assert!(donated > Some(0), "{donated:?}");
    let low = c.tasks.iter().find(|t| t.key.name == "low").expect("low is in both");
    assert_eq!(low.after.as_ref().map(|t| t.ran_for_others_ns), donated);
    // A replay shows every owner.
    assert!(proxy.waits.iter().all(|w| w.owner_basis() != model::Basis::Unknown));
}

/// Another machine's schedule is no baseline for this recording, and its own replay is.
#[test]
fn a_baseline_that_is_far_off_carries_no_prediction() {
    let recorded = fixture(CLASSIC);
    let own = of(&recorded, &replayed(CLASSIC, Policy::None));
    assert!(own.carries_predictions(), "{:?}", own.misses);
    let other = of(&recorded, &fixture("recorded/localhandoff-full.dat"));
    assert!(!other.carries_predictions(), "{:?}", other.misses);
}

/// Responses are not all: a replay without the recorded lock waits is no baseline.
#[test]
fn a_baseline_without_the_lock_waits_carries_no_prediction() {
    let recorded = fixture(CLASSIC);
    let mut base = replayed(CLASSIC, Policy::None);
    base.waits.clear();
    base.tasks.iter_mut().for_each(|task| task.waits.clear());
    let lost = of(&recorded, &base);
    let measures: Vec<Measure> = lost.misses.iter().map(|m| m.measure).collect();
    assert_eq!((measures, lost.misses[0].error), (vec![Measure::LockWait], -1.0));
    assert!(!lost.carries_predictions());
}

/// One replay is one throw: the mean of several is compared, whichever way each of them is off.
#[test]
fn the_mean_of_several_replays_is_compared() {
    let recorded = fixture(CLASSIC);
    let (own, proxy) = (summary(&recorded), summary(&replayed(CLASSIC, Policy::Pe73)));
    let high = |replays: &[&analysis::Summary]| {
        let f = fidelity(&recorded, replays, LockKind::is_proxied);
        let high = f.tasks.iter().find(|t| t.key.name == "high").expect("high responds");
        (high.response_error, f.overall.lock_wait.expect("waits are recorded"))
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let (alone, both) = (high(&[&proxy]), high(&[&own, &proxy, &own, &own]));
    assert!(alone.0 > 0.5 && near(both.0, alone.0 / 4.0), "{alone:?} {both:?}");
    assert!(near(both.1, alone.1 / 4.0), "{alone:?} {both:?}");
    assert_eq!(high(&[]).0, 1.0);
}
