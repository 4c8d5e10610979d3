//! What cannot happen, and what is missing: counted, and the rest goes on.

use crate::listing;
use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::{Timestamp, assemble};

fn check(text: &str, expect: Expect) {
    let trace = assemble(&recording(text), None);
    expect.assert_eq(&(listing::notes(&trace) + &listing::tasks(&trace)));
}

#[test]
fn a_task_on_two_cpus() {
    check(
        "0 0 x switch x R a
         5 1 y switch y R a
         9 1 a switch a S y",
        expect![[r#"
            contradiction running-on-two-cpus x1
            x: 0..9 queued on 0, preempted
            a: 0..5 runs on 0; 5..9 runs on 1
            y: 0..5 ?; 5..9 queued on 1, preempted
        "#]],
    );
}

#[test]
fn a_switch_from_a_task_that_was_not_there() {
    check(
        "0 0 x switch x R a
         5 0 b switch b S c
         9 0 c switch c S x",
        expect![[r#"
            contradiction switch-from-not-running x1
            x: 0..9 queued on 0, preempted
            a: 0..5 runs on 0; 5..9 ?
            b: 0..5 ?; 5..9 sleeps S
            c: 0..5 queued on 0, preempted; 5..9 runs on 0
        "#]],
    );
}

#[test]
fn a_run_without_a_wakeup() {
    check(
        "0 0 a switch a S b
         5 0 b switch b R a
         9 0 a switch a S b",
        expect![[r#"
            gap ran-without-wakeup x1
            a: 0..5 sleeps S; 5..9 runs on 0
            b: 0..5 runs on 0; 5..9 queued on 0, preempted
        "#]],
    );
}

#[test]
fn an_arrival_without_its_waking() {
    check(
        "0 0 a switch a S b
         3 0 b waking x 0
         5 0 b wakeup a 0
         9 0 b switch b R a",
        expect![[r#"
            gap arrival-without-waking x1
            a: 0..5 sleeps S; 5..9 queued on 0, woken
            b: 0..9 runs on 0
            x: 0..3 sleeps ?; 3..9 queued on ?, woken
        "#]],
    );
}

#[test]
fn a_clock_that_runs_backwards() {
    check(
        "10 0 a switch a S b
         5 0 b waking a 0
         20 0 b switch b R a",
        expect![[r#"
            contradiction clock-backwards x1
            guess runqueue-guessed x1
            a: 10..20 queued on 0, woken
            b: 10..20 runs on 0
        "#]],
    );
}

#[test]
fn waits_without_an_end_and_ends_without_a_wait() {
    check(
        "0 0 a end m 0
         1 0 a begin n 33
         5 0 a begin n 32
         6 0 a switch a D b
         9 0 b switch b R c",
        expect![[r#"
            gap end-without-begin x1
            gap wait-cut-off x1
            a: 0..6 runs on 0; 6..9 blocked on 0x2
            b: 0..6 queued on 0, preempted; 6..9 runs on 0
            c: 0..9 queued on 0, preempted
        "#]],
    );
}

#[test]
fn contention_in_an_interrupt_is_not_the_tasks_wait() {
    let text = "
        0 0 a new b 0
        1 0 a | begin s 1
        2 0 a | end s 0";
    assert!(assemble(&recording(text), None).waits.is_empty());
    check(
        text,
        expect![[r#"
        info contention-in-interrupt x2
        b: 0..2 queued on 0, woken
        : 0..2 runs on 0
    "#]],
    );
}

#[test]
fn after_a_loss_its_cpu_is_unknown() {
    let text = "
        0 0 x switch x R a
        0 1 y switch y R b
        lost 0 5 15
        20 0 c switch c S a
        20 1 b switch b S y";
    check(
        text,
        expect![[r#"
        gap lost-events x1
        x: 0..20 queued on 0, preempted
        a: 0..5 runs on 0; 5..20 queued on 0, preempted
        y: 0..20 queued on 1, preempted
        b: 0..20 runs on 1
        c: 0..20 ?
    "#]],
    );
    let trace = assemble(&recording(text), None);
    let micros = |n: u64| Timestamp(n * 1000);
    assert!(trace.lossy(micros(1), micros(6)) && trace.lossy(micros(14), micros(99)));
    assert!(!trace.lossy(micros(0), micros(4)) && !trace.lossy(micros(16), micros(99)));
}
