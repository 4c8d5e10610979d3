//! What tasks were doing.

use crate::listing;
use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::{Context, MigrationKind, assemble};

fn check(text: &str, expect: Expect) {
    expect.assert_eq(&listing::tasks(&assemble(&recording(text), None)));
}

#[test]
fn before_its_first_event_a_task_is_what_that_event_says_it_was() {
    check(
        "0 0 a waking x 0
         10 0 a waking b 0
         11 0 a wakeup b 0
         20 0 a switch a R b
         30 0 b switch b S c
         40 0 c switch c X a",
        expect![[r#"
            x: 0..40 queued on ?, woken
            b: 0..10 sleeps ?; 10..20 queued on 0, woken; 20..30 runs on 0; 30..40 sleeps S
            a: 0..20 runs on 0; 20..40 queued on 0, preempted
            c: 0..30 queued on 0, preempted; 30..40 runs on 0
        "#]],
    );
}

#[test]
fn the_runqueue_is_where_the_arrival_says_and_not_where_the_waking_does() {
    check(
        "0 0 a waking b 0
         5 0 a wakeup b 1
         6 1 idle switch idle R b
         20 1 b switch b R c
         25 0 a migrate b 1 0
         30 0 a switch a S b",
        expect![[r#"
            b: 0..6 queued on 1, woken; 6..20 runs on 1; 20..25 queued on 1, preempted; 25..30 queued on 0, preempted
            c: 0..20 queued on 1, preempted; 20..30 runs on 1
            a: 0..30 runs on 0
        "#]],
    );
}

#[test]
fn a_block_inside_a_wait_is_not_a_sleep() {
    check(
        "0 0 a begin m 33
         1 0 a begin m 32
         2 0 a switch a D b
         9 0 b waking a 0
         9 0 b wakeup a 0
         10 0 b switch b S a
         11 0 a end m 0
         12 0 a switch a S idle",
        expect![[r#"
            a: 0..2 runs on 0; 2..9 blocked on 0x1; 9..10 queued on 0, woken; 10..12 runs on 0
            b: 0..2 queued on 0, preempted; 2..10 runs on 0; 10..12 sleeps S
        "#]],
    );
}

#[test]
fn a_wakeup_on_the_way_to_sleep_is_not_lost() {
    check(
        "0 0 x switch x R a
         5 1 b waking a 0
         6 0 a switch a S idle
         8 1 b wakeup a 0
         9 0 idle switch idle R a",
        expect![[r#"
            x: 0..9 queued on 0, preempted
            a: 0..6 runs on 0; 6..9 queued on 0, woken
        "#]],
    );
}

#[test]
fn a_reused_thread_id_is_another_task() {
    let text = "
        0 0 a switch a X idle
        5 0 idle fork p a
        6 0 idle new a 0
        9 0 idle switch idle R a
        12 0 a switch a S idle";
    let trace = assemble(&recording(text), None);
    assert_eq!(trace.tasks.iter().filter(|t| t.info.tid.0 == 1).count(), 2);
    check(
        text,
        expect![[r#"
        a: 0..12 gone
        p: 0..12 ?
        a: 5..6 sleeps ?; 6..9 queued on 0, woken; 9..12 runs on 0
    "#]],
    );
}

#[test]
fn wakeups_have_a_waker_a_latency_and_a_place() {
    let text = "
        0 0 a waking b 0
        3 0 a wakeup b 1
        9 1 idle switch idle R b
        12 1 b switch b S idle
        20 1 idle | waking b 1
        21 1 idle | wakeup b 1";
    let trace = assemble(&recording(text), None);
    let [first, second] = &trace.wakeups[..] else { panic!("two wakeups") };
    assert_eq!((first.latency().map(|n| n.0), first.cpu.map(|c| c.0)), (Some(9_000), Some(1)));
    assert!(first.waker_task().is_none(), "a was not introduced by a switch of its own");
    assert_eq!((second.context, second.latency()), (Context::HardIrq, None));
}

#[test]
fn donations_last_until_the_next_donor_event() {
    let text = "
        0 0 a new b 0
        1 0 a switch a D b
        1 0 b donor a b
        8 0 b donor b b
        9 0 b switch b S idle";
    let trace = assemble(&recording(text), None);
    let donations: Vec<_> = trace.cpus[0]
        .donations
        .iter()
        .map(|d| (trace.name(d.donor), trace.name(d.running), d.start.0, d.end.0))
        .collect();
    assert_eq!(donations, [("a", "b", 1_000, 8_000)]);
}

#[test]
fn a_return_is_one_migration_though_a_replay_writes_two_events() {
    let text = "
        0 0 a new b 0
        5 0 a return b 1 0
        5 0 a migrate b 1 0
        9 0 a migrate b 0 1";
    let trace = assemble(&recording(text), None);
    let kinds: Vec<_> = trace.migrations.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [MigrationKind::Return, MigrationKind::Ordinary]);
}

#[test]
fn responses_span_lock_waits_and_end_with_the_next_sleep() {
    let text = "
        0 0 a switch a S b
        10 0 b waking a 0
        11 0 b wakeup a 0
        12 0 b switch b R a
        15 0 a begin m 33
        16 0 a begin m 32
        17 0 a switch a D b
        20 0 b waking a 0
        21 0 b switch b R a
        22 0 a end m 0
        30 0 a switch a S b
        40 0 b waking a 0";
    let trace = assemble(&recording(text), None);
    let spans: Vec<_> = trace.responses.iter().map(|r| (r.begin.0, r.end.0)).collect();
    assert_eq!(spans, [(10_000, 30_000)]);
}
