//! Recordings taken apart.

use crate::ground_truth;
use analysis::{Part, decompose_all, summary};
use expect_test::{Expect, expect};
use model::{Host, Trace, assemble};
use std::fmt::Write as _;

#[test]
fn parts_sum_to_their_wait_in_every_recording() {
    let mut waits = 0;
    for path in ground_truth::recordings() {
        let trace = ground_truth::trace(&path);
        for (wait, d) in trace.waits.iter().zip(decompose_all(&trace)) {
            assert_eq!(d.parts.total(), wait.until.since(wait.begin), "{}", path.display());
            let mut at = wait.begin;
            for piece in &d.pieces {
                assert_eq!(piece.from, at, "a hole in a wait of {}", path.display());
                at = piece.to;
            }
            waits += 1;
        }
    }
    eprintln!("{waits} waits");
}

/// A recording among the fixtures, assembled with its sidecar.
pub(crate) fn fixture(name: &str) -> Trace {
    let recording = trace_formats::read(&fixtures::bytes(name)).expect("readable");
    let host = Host::from_json(&fixtures::text(&format!("{name}.host.json"))).expect("a sidecar");
    assemble(&recording, Some(&host))
}

/// A trace in short, in microseconds.
fn listing(trace: &Trace) -> String {
    let s = summary(trace);
    let us = |ns: u64| ns / 1000;
    let mut out = String::new();
    let m = s.migrations;
    writeln!(
        out,
        "{} us, {} switches, migrations {} {} {}, owners {:.3} {:.3} {:.3}",
        us(s.span_ns),
        s.switches,
        m.ordinary,
        m.donor,
        m.returned,
        s.owners.exact,
        s.owners.inferred,
        s.owners.unknown
    )
    .expect("to a string");
    for task in s.tasks.iter().filter(|t| t.waits.length.count > 0) {
        let (r, w) = (task.responses, task.waits);
        write!(out, "{}: {} responses of {:.0} us;", task.key, r.count, r.mean_ns / 1000.0)
            .expect("");
        write!(out, " {} waits {} us:", w.length.count, us(w.length.total_ns)).expect("");
        for part in Part::ALL.into_iter().filter(|p| w.parts.get(*p).0 > 0) {
            write!(out, " {} {}", part.name(), us(w.parts.get(part).0)).expect("");
        }
        writeln!(out, " (curable {})", us(w.inversion.curable_ns)).expect("");
    }
    out
}

fn check(name: &str, expect: Expect) {
    expect.assert_eq(&listing(&fixture(&format!("recorded/{name}"))));
}

#[test]
fn contention_detail() {
    check(
        "classic3-contention.dat",
        expect![[r#"
            3415622 us, 4056 switches, migrations 0 0 0, owners 0.999 0.001 0.000
            high: 273 responses of 3701 us; 174 waits 921655 us: owner_running 84750 owner_runnable_behind_less_urgent 829022 released_not_running 4591 spinning 3291 (curable 829022)
            med1: 216 responses of 8610 us; 1 waits 656 us: owner_running 590 owner_runnable_behind_equal_or_more_urgent 17 released_not_running 31 spinning 16 (curable 0)
        "#]],
    );
}

#[test]
fn full_detail() {
    check(
        "classic3-full.dat",
        expect![[r#"
            3417139 us, 4066 switches, migrations 0 0 0, owners 0.999 0.001 0.000
            high: 289 responses of 2684 us; 161 waits 669934 us: owner_running 74834 owner_runnable_behind_less_urgent 588009 released_not_running 3645 spinning 3444 (curable 588009)
            med0: 200 responses of 8985 us; 1 waits 720 us: owner_running 648 owner_runnable_behind_equal_or_more_urgent 20 released_not_running 33 spinning 18 (curable 0)
        "#]],
    );
}

#[test]
fn two_cpus() {
    check(
        "affine-full-2cpus.dat",
        expect![[r#"
            699565 us, 871 switches, migrations 9 0 0, owners 0.956 0.043 0.000
            trace-cmd: 1 responses of 6887 us; 1 waits 69 us: spinning 69 (curable 0)
            don: 60 responses of 4838 us; 37 waits 248885 us: owner_running 17823 owner_runnable_behind_less_urgent 215745 released_not_running 6190 spinning 9127 (curable 215745)
            bg0: 202 responses of 1567 us; 1 waits 1385 us: owner_running 894 owner_runnable_behind_less_urgent 288 owner_runnable_behind_equal_or_more_urgent 54 released_not_running 65 spinning 84 (curable 0)
            own: 45 responses of 10489 us; 3 waits 3514 us: owner_running 1577 owner_runnable_behind_equal_or_more_urgent 110 released_not_running 1481 spinning 345 (curable 0)
            hog10: 53 responses of 9224 us; 1 waits 84 us: spinning 84 (curable 0)
            hog11: 57 responses of 8919 us; 1 waits 6705 us: owner_running 6106 owner_runnable_behind_less_urgent 288 owner_runnable_behind_equal_or_more_urgent 43 released_not_running 35 spinning 231 (curable 0)
        "#]],
    );
}

#[test]
fn a_hand_off_without_reschedule() {
    check(
        "localhandoff-proxy-on.dat",
        expect![[r#"
        2406289 us, 414 switches, migrations 0 0 0, owners 1.000 0.000 0.000
        donor: 101 responses of 327 us; 2 waits 18407 us: owner_running 1426 released_not_running 16954 spinning 26 (curable 0)
    "#]],
    );
}
