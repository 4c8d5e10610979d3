//! What recorded fixtures turn into.

use crate::listing;
use expect_test::{Expect, expect};
use model::{Basis, Host, LockKind, Ownership, Trace, assemble};

fn fixture(name: &str) -> Trace {
    let recording = trace_formats::read(&fixtures::bytes(name)).expect("readable");
    let host = fixtures::text(&format!("{name}.host.json"));
    assemble(&recording, Some(&Host::from_json(&host).expect("a sidecar")))
}

fn check(name: &str, expect: Expect) {
    let trace = fixture(&format!("recorded/{name}"));
    let mut by_basis = std::collections::BTreeMap::new();
    for wait in &trace.waits {
        for span in &wait.ownership {
            *by_basis.entry((wait.kind, span.basis)).or_insert(0) +=
                span.to.since(span.from).0 / 1000;
        }
    }
    let mut text = format!(
        "{} tasks, {} waits, {} wakeups, {} migrations, {} responses\n",
        trace.tasks.len(),
        trace.waits.len(),
        trace.wakeups.len(),
        trace.migrations.len(),
        trace.responses.len()
    );
    for ((kind, basis), micros) in by_basis {
        text += &format!("{} {}: {micros} us\n", kind.name(), basis.name());
    }
    text += &listing::notes(&trace);
    expect.assert_eq(&text);
}

#[test]
fn contention_detail() {
    check(
        "classic3-contention.dat",
        expect![[r#"
        12 tasks, 175 waits, 1539 wakeups, 0 migrations, 1352 responses
        mutex exact: 921472 us
        rwsem-write inferred: 655 us
        guess owner-inferred x1
        info woken-while-running x2
    "#]],
    );
}

#[test]
fn full_detail() {
    check(
        "classic3-full.dat",
        expect![[r#"
            12 tasks, 162 waits, 1573 wakeups, 0 migrations, 1398 responses
            mutex exact: 669783 us
            rwsem-write inferred: 719 us
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn two_cpus() {
    check(
        "affine-full-2cpus.dat",
        expect![[r#"
            15 tasks, 44 waits, 507 wakeups, 9 migrations, 452 responses
            mutex exact: 249203 us
            rwsem-write inferred: 11319 us
            rwsem-write unknown: 84 us
            gap wait-cut-off x1
            guess owner-inferred x3
            info woken-while-running x4
        "#]],
    );
}

#[test]
fn proxy_execution_on() {
    check(
        "localhandoff-proxy-on.dat",
        expect![[r#"
        10 tasks, 2 waits, 318 wakeups, 0 migrations, 306 responses
        mutex exact: 18405 us
        gap donors-invisible x1
    "#]],
    );
}

/// Mutex wait time in which the owner is right and wrong when calls are not recorded, for what
/// is then called exact; microseconds.
fn exact_without_calls(name: &str) -> (u64, u64) {
    let recording = trace_formats::read(&fixtures::bytes(name)).expect("readable");
    let truth = assemble(&recording, None);
    let mut poorer = recording.clone();
    poorer.events.retain(|e| {
        use model::SchedEvent::{MutexLock, MutexLockReturn, MutexTrylock, MutexUnlock};
        !matches!(
            e.kind,
            MutexLock { .. } | MutexLockReturn { .. } | MutexTrylock { .. } | MutexUnlock { .. }
        )
    });
    let guess = assemble(&poorer, None);
    assert_eq!(truth.waits.len(), guess.waits.len());
    let who = |trace: &Trace, owner| match owner {
        Ownership::Held(task) => Some(trace.task(task).info.tid),
        Ownership::Free | Ownership::Unknown => None,
    };
    let (mut right, mut wrong) = (0, 0);
    for (t, g) in truth.waits.iter().zip(&guess.waits).filter(|(t, _)| t.kind == LockKind::Mutex) {
        for span in g.ownership.iter().filter(|s| s.basis == Basis::Exact) {
            for true_span in &t.ownership {
                let common = span.to.min(true_span.to).since(span.from.max(true_span.from));
                let same = who(&guess, span.owner) == who(&truth, true_span.owner);
                *(if same { &mut right } else { &mut wrong }) += common.0;
            }
        }
    }
    (right / 1000, wrong / 1000)
}

#[test]
fn exact_owners_are_the_same_with_and_without_calls() {
    let (right, wrong) = exact_without_calls("recorded/classic3-full.dat");
    assert!(right > 600_000 && wrong < right / 1000, "{right} {wrong}");
    let (right, wrong) = exact_without_calls("recorded/affine-full-2cpus.dat");
    assert!(right > 200_000 && wrong < right / 1000, "{right} {wrong}");
}
