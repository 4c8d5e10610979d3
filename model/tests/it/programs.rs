//! What programs a recording shows.

use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::demand::{Demand, Op};

/// One line for each task: the steps of its program, with times in microseconds.
fn listing(demand: &Demand) -> String {
    let name = |task: model::TaskId| demand.names.text(demand.tasks[task.index()].info.comm);
    let step = |op: &Op| match op {
        Op::Compute(span) => format!("run {}", span.0 / 1000),
        Op::Wake { target } => format!("wake {}", name(*target)),
        Op::Fork { child } => format!("fork {}", name(*child)),
        Op::Wait { .. } => "wait".to_owned(),
        Op::Sleep { .. } => "sleep".to_owned(),
        Op::Lock(lock) => format!("lock {}", lock.0),
        Op::Unlock(lock) => format!("unlock {}", lock.0),
        Op::Contend { lock, flags } => format!("contend {} {}", lock.0, flags.0),
        Op::Contended { lock, ret } => format!("contended {} {ret}", lock.0),
        Op::Exit => "exit".to_owned(),
        op => format!("{op:?}"),
    };
    let line = |task: &model::demand::TaskDemand| {
        let steps: Vec<String> = task.ops.iter().map(step).collect();
        format!("{}: {}\n", demand.names.text(task.info.comm), steps.join(", "))
    };
    demand.tasks.iter().map(line).collect()
}

fn check(text: &str, expect: Expect) {
    expect.assert_eq(&listing(&model::demand::extract(&recording(text), None).0));
}

#[test]
fn a_wait_for_another_lock_begins_before_the_sleep_and_ends_behind_it() {
    check(
        "0 0 a switch a R a
         5 0 a begin sem 4
         7 0 a switch a D b
         20 0 b waking a 0
         21 0 b wakeup a 0
         30 0 b switch b S a
         33 0 a end sem 0
         40 0 a begin sem 2
         41 0 a end sem -4
         50 0 a switch a X idle",
        expect![[r#"
            a: run 5, contend 0 4, run 2, wait, run 3, contended 0 0, run 7, contend 0 2, run 1, contended 0 -4, run 9, exit
            b: run 13, wake a, run 10, wait
        "#]],
    );
}

#[test]
fn who_is_woken_on_its_way_to_sleep_waits_for_the_waker_all_the_same() {
    check(
        "0 0 idle switch idle R a
         0 1 idle switch idle R b
         10 0 a waking b 1
         12 1 b switch b S idle
         15 0 a wakeup b 1
         16 1 idle switch idle R b
         30 0 a switch a S idle
         40 1 b switch b S idle",
        expect![[r#"
            a: run 10, wake b, run 20, wait
            b: run 12, wait, run 24, wait
        "#]],
    );
}

#[test]
fn who_is_woken_and_does_not_sleep_waits_for_nobody() {
    check(
        "0 0 idle switch idle R a
         0 1 idle switch idle R b
         10 0 a waking b 1
         11 0 a wakeup b 1
         12 1 b switch b R c
         30 0 a switch a S idle
         40 1 c switch c S b
         50 1 b switch b S idle",
        expect![[r#"
            a: run 30, wait
            b: run 22, wait
            c: run 28, wait
        "#]],
    );
}

#[test]
fn the_way_to_a_switch_takes_nothing_back_that_was_spun() {
    check(
        "0 0 idle switch idle R a
         10 0 a begin m 33
         11 0 a | waking b 0
         12 0 a wakeup b 0
         20 0 a end m 0
         25 0 a switch a R b
         30 0 b switch b S a
         40 0 a switch a S idle",
        expect![[r#"
            a: run 10, lock 0, run 10, unlock 0, wait
            b: sleep, run 5, wait
        "#]],
    );
}

#[test]
fn who_leaves_without_a_switch_does_nothing_until_it_is_seen_again() {
    check(
        "0 0 idle switch idle R a
         10 0 a waking c 0
         30 0 b waking c 0
         35 0 b switch b S idle
         50 0 idle switch idle R a
         60 0 a switch a S idle",
        expect![[r#"
            a: run 10, wake c, sleep, run 10, wait
            c: wait
            b: wait
        "#]],
    );
}
