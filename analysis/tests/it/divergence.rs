//! The first decision that differs between two schedules whose difference is known.

use analysis::divergence::{Divergence, Side, divergence};
use expect_test::{Expect, expect};
use model::{Demand, assemble};
use replay::{Options, Policy, replay_with_rules};

fn side_by_side(recorded: &str, replayed: &str, policy: Policy) -> Divergence {
    let schedule = |text: &str, policy| {
        let script = trace_formats::script::parse(text).expect("a scenario");
        let demand = Demand::from_script(&script);
        let (schedule, decisions) = replay_with_rules(&demand, policy, &Options::default());
        (assemble(&schedule.recording, None), schedule.recording, decisions)
    };
    let (a, a_events, _) = schedule(recorded, Policy::None);
    let (b, b_events, decisions) = schedule(replayed, policy);
    divergence(
        Side { recording: &a_events, trace: &a, decisions: &[] },
        Side { recording: &b_events, trace: &b, decisions: &decisions },
    )
}

fn check(recorded: &str, replayed: &str, policy: Policy, expected: &Expect) {
    let found = side_by_side(recorded, replayed, policy);
    let text = match &found.first {
        None => "nothing differs".to_owned(),
        Some(d) => format!(
            "{} us, {:?}: {}\n{:?}\n{:?}",
            d.at_ns / 1000,
            d.place,
            d.rule,
            d.recorded,
            d.replayed
        ),
    };
    expected.assert_eq(&format!("{text}\nslips {}\n", found.slips));
}

/// Two fair tasks and a FIFO one on one CPU.
const PLAIN: &str = "cpus 1\nA fair at 0 run 5 sleep 3 run 2\nB fair at 0.1 run 9\n\
                     F fifo 9 asleep sleep-until 4 run 1\nend 40\n";

#[test]
fn a_schedule_is_not_different_from_itself() {
    check(
        PLAIN,
        PLAIN,
        Policy::None,
        &expect![[r#"
        nothing differs
        slips 0
    "#]],
    );
}

#[test]
fn drift_is_nobodys_decision() {
    let later = PLAIN.replace("run 5", "run 5.02").replace("until 4", "until 4.03");
    check(
        PLAIN,
        &later,
        Policy::None,
        &expect![[r#"
        nothing differs
        slips 0
    "#]],
    );
}

#[test]
fn work_that_grows() {
    check(
        PLAIN,
        &PLAIN.replace("run 1", "run 3"),
        Policy::None,
        &expect![[r#"
        5000 us, Task("F (3)"): the program computes
        Ends { computed_ns: 1000000 }
        Ends { computed_ns: 3000000 }
        slips 0
    "#]],
    );
}

#[test]
fn a_sleep_that_grows() {
    check(
        PLAIN,
        &PLAIN.replace("sleep 3", "sleep 6"),
        Policy::None,
        &expect![[r#"
            13450 us, Task("A (1)"): a sleep ends
            Woken { cpu: 0, slept_ns: Some(3000000), by: Some("an interrupt") }
            Woken { cpu: 0, slept_ns: Some(6000000), by: Some("an interrupt") }
            slips 0
        "#]],
    );
}

#[test]
fn a_wakeup_that_does_not_preempt() {
    check(
        PLAIN,
        &PLAIN.replace("F fifo 9", "F batch"),
        Policy::None,
        &expect![[r#"
        4000 us, Cpu(0): wakeup preemption
        Ran { task: Some("A (1)"), ns: 500000, end: WakeupPreempts, next: Some("F (3)") }
        Ran { task: Some("A (1)"), ns: 700000, end: SliceEnds, next: Some("B (2)") }
        slips 0
    "#]],
    );
}

#[test]
fn an_order_that_is_right_again_at_once_has_slipped() {
    let cpus = "cpus 1\nhrtick off\nend 40\n";
    let tasks = |x: &str, y: &str| {
        format!(
            "{cpus}A fifo 3 at 0 run 4 sleep 9 run 5\nX fifo 2 asleep sleep-until {x} run 0.03\n\
             Y fifo 2 asleep sleep-until {y} run 0.03\nB fair at 0 run 30\n"
        )
    };
    check(
        &tasks("6", "6.01"),
        &tasks("6.01", "6"),
        Policy::None,
        &expect![[r#"
        nothing differs
        slips 1
    "#]],
    );
}

#[test]
fn a_wakeup_goes_elsewhere() {
    let two = |allowed: &str| {
        format!(
            "cpus 2\nA fair cpu 0 at 0 run 9\n\
             W fair cpu 0 allowed {allowed} asleep sleep-until 3 run 1\nend 20\n"
        )
    };
    check(
        &two("0,1"),
        &two("0"),
        Policy::None,
        &expect![[r#"
            3000 us, Task("W (2)"): wake placement: none idle
            Woken { cpu: 1, slept_ns: None, by: Some("an interrupt") }
            Woken { cpu: 0, slept_ns: None, by: Some("an interrupt") }
            slips 0
        "#]],
    );
}

/// Low holds a mutex that high waits for while med runs.
const INVERSION: &str = "cpus 1\nhigh fifo 50 asleep sleep-until 1 lock m run 1 unlock m\n\
                         med fifo 10 asleep sleep-until 1.5 run 5\n\
                         low fair at 0 lock m run 3 unlock m run 1\nend 30\n";

#[test]
fn a_donor_lends_its_time_to_the_owner() {
    check(
        INVERSION,
        INVERSION,
        Policy::Pe73,
        &expect![[r#"
        1500 us, Cpu(0): wakeup preemption
        Ran { task: Some("low (3)"), ns: 500000, end: WakeupPreempts, next: Some("med (2)") }
        Ran { task: Some("low (3)"), ns: 3000000, end: ProgramOver, next: Some("high (1)") }
        slips 0
    "#]],
    );
}

#[test]
fn a_lock_that_nobody_holds() {
    let free = INVERSION.replace("low fair at 0 lock m run 3", "low fair at 0 run 3 lock m");
    check(
        INVERSION,
        &free,
        Policy::None,
        &expect![[r#"
        1000 us, Task("high (1)"): the lock is free
        Waits { lock: "0xffff888000000000", how: Sleeps, computed_ns: 0 }
        Ends { computed_ns: 1000000 }
        slips 0
    "#]],
    );
}

/// A replay computes what was recorded: who computes for longer before it waits is taken to have
/// had the lock for nothing before.
#[test]
fn a_wait_that_comes_later() {
    let later = INVERSION.replace("lock m run 1 unlock m", "run 3 lock m run 1 unlock m");
    check(
        INVERSION,
        &later,
        Policy::None,
        &expect![[r#"
        1000 us, Task("high (1)"): the lock is free
        Waits { lock: "0xffff888000000000", how: Sleeps, computed_ns: 0 }
        Waits { lock: "0xffff888000000000", how: Sleeps, computed_ns: 3000000 }
        slips 0
    "#]],
    );
    check(
        &later,
        INVERSION,
        Policy::None,
        &expect![[r#"
        1000 us, Cpu(0): a waiter sleeps
        Ran { task: Some("high (1)"), ns: 3000000, end: LockSleeps, next: Some("med (2)") }
        Ran { task: Some("high (1)"), ns: 0, end: LockSleeps, next: Some("low (3)") }
        slips 0
    "#]],
    );
}

#[test]
fn tolls_say_what_is_not_conserved() {
    let found = side_by_side(PLAIN, &PLAIN.replace("run 1", "run 3"), Policy::None);
    let tolls: Vec<String> = found
        .tolls
        .iter()
        .map(|t| {
            let broken = if t.breaks_conservation() { ", not conserved" } else { "" };
            format!("{} {:?} {} us{broken}", t.task, t.what, t.ns() / 1000)
        })
        .collect();
    expect![[r#"
        A Delay 2000 us
        B Delay 2000 us
        F Cpu 2000 us, not conserved"#]]
    .assert_eq(&tolls.join("\n"));
}
