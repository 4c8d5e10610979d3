//! Every part of a lock wait has a listing here in which it, and nothing else, must appear.
//!
//! Times in microseconds. `high` (prio 100) waits, `low` (prio 139) owns, `med` (120) disturbs;
//! names carry the priority: `name@prio`, 120 without.

use crate::shorthand;
use analysis::{Part, decompose_all};
use expect_test::{Expect, expect};
use model::{Trace, assemble};
use std::fmt::Write as _;

fn listing(trace: &Trace) -> String {
    let mut out = String::new();
    for (wait, d) in trace.waits.iter().zip(decompose_all(trace)) {
        let (from, to) = (wait.begin.0 / 1000, wait.until.0 / 1000);
        write!(out, "{} {from}..{to} depth {}:", trace.name(wait.waiter), d.chain_depth).expect("");
        for part in Part::ALL.into_iter().filter(|p| d.parts.get(*p).0 > 0) {
            write!(out, " {} {}", part.name(), d.parts.get(part).0 / 1000).expect("to a string");
        }
        if d.handoff_inversion().0 > 0 {
            write!(out, " (handed over behind less urgent {})", d.handoff_inversion().0 / 1000)
                .expect("to a string");
        }
        for (task, span) in d.who_ran_instead() {
            write!(out, "; {} instead for {}", trace.name(task), span.0 / 1000).expect("");
        }
        out.push('\n');
    }
    out
}

fn check(text: &str, expect: Expect) {
    let trace = assemble(&shorthand::recording(text), None);
    expect.assert_eq(&listing(&trace));
}

/// low@139 takes m and is preempted by high@100, which waits from 20 to 25 spinning, then queued.
const HIGH_BLOCKS: &str = "
    0 0 low@139 lock m
    10 0 low@139 waking high@100 0
    11 0 low@139 wakeup high@100 0
    12 0 low@139 switch low@139 R high@100
    15 0 high@100 lock m
    20 0 high@100 begin m 33
    25 0 high@100 begin m 32
";

fn after_high_blocks(rest: &str) -> String {
    format!("{HIGH_BLOCKS}{rest}")
}

#[test]
fn owner_running_is_needed_exclusion() {
    let text = after_high_blocks(
        "30 0 high@100 switch high@100 D low@139
         90 0 low@139 unlock m
         90 0 low@139 release m
         90 0 low@139 waking high@100 0
         91 0 low@139 wakeup high@100 0
         92 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    check(
        &text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 60 released_not_running 2 spinning 13 (handed over behind less urgent 2)
        "#]],
    );
}

#[test]
fn owner_behind_less_urgent_work_is_inversion() {
    let text = after_high_blocks(
        "30 0 high@100 switch high@100 D med
         70 0 med switch med R med2
         80 0 med2 switch med2 S low@139
         90 0 low@139 unlock m
         90 0 low@139 release m
         90 0 low@139 waking high@100 0
         91 0 low@139 wakeup high@100 0
         92 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    check(
        &text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 10 owner_runnable_behind_less_urgent 50 released_not_running 2 spinning 13 (handed over behind less urgent 2); med instead for 40; med2 instead for 10
        "#]],
    );
}

#[test]
fn owner_behind_more_urgent_work_is_no_inversion() {
    let text = after_high_blocks(
        "30 0 high@100 switch high@100 D rt@50
         60 0 rt@50 switch rt@50 S peer@100
         80 0 peer@100 switch peer@100 S low@139
         90 0 low@139 unlock m
         90 0 low@139 waking high@100 0
         91 0 low@139 wakeup high@100 0
         92 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    check(
        &text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 10 owner_runnable_behind_equal_or_more_urgent 50 released_not_running 2 spinning 13 (handed over behind less urgent 2)
        "#]],
    );
}

#[test]
fn a_donor_lends_its_urgency() {
    let text = after_high_blocks(
        "28 0 high@100 new rt@50 0
         30 0 high@100 switch high@100 D med
         30 0 med donor rt@50 med
         70 0 med donor med med
         80 0 med switch med S low@139
         90 0 low@139 unlock m
         90 0 low@139 waking high@100 0
         91 0 low@139 wakeup high@100 0
         92 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    // 40 us behind med on rt's time, then 10 us behind med itself.
    check(
        &text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 10 owner_runnable_behind_less_urgent 10 owner_runnable_behind_equal_or_more_urgent 40 released_not_running 2 spinning 13 (handed over behind less urgent 2); med instead for 10
        "#]],
    );
}

#[test]
fn owner_asleep() {
    let text = "
        0 0 low@139 lock m
        5 0 low@139 switch low@139 S high@100
        20 0 high@100 lock m
        20 0 high@100 begin m 33
        25 0 high@100 begin m 32
        30 0 high@100 switch high@100 D idle
        60 0 idle | waking low@139 0
        62 0 idle | wakeup low@139 0
        65 0 idle switch idle R low@139
        90 0 low@139 unlock m
        90 0 low@139 waking high@100 0
        91 0 low@139 wakeup high@100 0
        92 0 low@139 switch low@139 R high@100
        95 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 25 owner_runnable_behind_equal_or_more_urgent 5 owner_asleep 30 released_not_running 2 spinning 13 (handed over behind less urgent 2)
        "#]],
    );
}

#[test]
fn owner_throttled() {
    let text = "
        0 0 dl@-1 lock m
        20 0 dl@-1 switch dl@-1 R high@100
        21 0 high@100 lock m
        21 0 high@100 begin m 33
        25 0 high@100 begin m 32
        30 0 high@100 switch high@100 D med
        50 0 med switch med S idle
        70 0 idle switch idle R dl@-1
        90 0 dl@-1 unlock m
        90 0 dl@-1 waking high@100 0
        91 0 dl@-1 wakeup high@100 0
        92 0 dl@-1 switch dl@-1 R high@100
        95 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
        high@100 21..95 depth 1: owner_running 20 owner_throttled 40 released_not_running 2 spinning 12
    "#]],
    );
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let text = "
        0 0 low@139 lock n
        2 0 low@139 switch low@139 R mid@110
        3 0 mid@110 lock m
        4 0 mid@110 lock n
        4 0 mid@110 begin n 33
        5 0 mid@110 begin n 32
        6 0 mid@110 switch mid@110 D high@100
        10 0 high@100 lock m
        10 0 high@100 begin m 33
        12 0 high@100 begin m 32
        20 0 high@100 switch high@100 D med
        50 0 med switch med R low@139
        60 0 low@139 unlock n
        60 0 low@139 waking mid@110 0
        61 0 low@139 wakeup mid@110 0
        70 0 low@139 switch low@139 R mid@110
        72 0 mid@110 end n 0
        80 0 mid@110 unlock m
        80 0 mid@110 waking high@100 0
        81 0 mid@110 wakeup high@100 0
        82 0 mid@110 switch mid@110 R high@100
        83 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
            mid@110 4..72 depth 1: owner_running 10 owner_runnable_behind_less_urgent 30 owner_runnable_behind_equal_or_more_urgent 14 released_not_running 10 spinning 4 (handed over behind less urgent 10); med instead for 30
            high@100 10..83 depth 2: owner_running 20 owner_runnable_behind_less_urgent 40 released_not_running 2 spinning 11 (handed over behind less urgent 2); med instead for 30; low@139 instead for 10
        "#]],
    );
}

#[test]
fn a_cycle_ends_in_a_blocked_owner() {
    let text = "
        0 0 a lock m
        0 0 a lock o
        0 0 a unlock o
        1 0 a switch a R b
        2 0 b lock n
        3 0 b lock m
        3 0 b begin m 33
        4 0 b begin m 32
        5 0 b switch b D a
        6 0 a lock n
        6 0 a begin n 33
        7 0 a begin n 32
        10 0 a switch a D idle
        40 0 idle switch idle R c";
    check(
        text,
        expect![[r#"
        b 3..40 depth 1: owner_running 4 owner_blocked 31 spinning 2
        a 6..40 depth 1: owner_blocked 30 spinning 4
    "#]],
    );
}

#[test]
fn a_waiter_with_the_lock_and_no_cpu_is_released() {
    let text = after_high_blocks(
        "30 0 high@100 switch high@100 D low@139
         50 0 low@139 unlock m
         50 0 low@139 release m
         50 0 low@139 waking high@100 0
         51 0 low@139 wakeup high@100 0
         90 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    check(
        &text,
        expect![[r#"
            high@100 20..95 depth 1: owner_running 20 released_not_running 40 spinning 15 (handed over behind less urgent 40)
        "#]],
    );
}

#[test]
fn spinning_comes_before_what_the_owner_does() {
    let text = "
        0 0 x switch x R high@100
        0 1 y switch y R low@139
        1 1 low@139 lock m
        20 0 high@100 lock m
        20 0 high@100 begin m 33
        70 1 low@139 unlock m
        71 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
            high@100 20..71 depth 0: spinning 51
        "#]],
    );
}

#[test]
fn an_owner_nobody_saw_is_unknown() {
    let text = "
        10 0 high@100 begin m 33
        12 0 high@100 begin m 32
        20 0 high@100 switch high@100 D med
        60 0 med | waking high@100 0
        61 0 med | wakeup high@100 0
        62 0 med switch med R high@100
        65 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
        high@100 10..65 depth 0: spinning 13 unknown 42
    "#]],
    );
}

#[test]
fn weights_order_fair_tasks() {
    // The same listing with a waiter as light as the disturber: no inversion.
    let text = after_high_blocks(
        "30 0 high@100 switch high@100 D med
         80 0 med switch med S low@139
         90 0 low@139 unlock m
         90 0 low@139 waking high@100 0
         91 0 low@139 wakeup high@100 0
         92 0 low@139 switch low@139 R high@100
         95 0 high@100 end m 0",
    );
    check(
        &text.replace("high@100", "even@120"),
        expect![[r#"
            even@120 20..95 depth 1: owner_running 10 owner_runnable_behind_equal_or_more_urgent 50 released_not_running 2 spinning 13 (handed over behind less urgent 2)
        "#]],
    );
}

#[test]
fn behind_another_waiter_that_has_been_woken() {
    // low hands m to mid, which is kept off the CPU by med while high waits behind it.
    let text = "
        0 0 low@139 lock m
        1 0 low@139 switch low@139 R mid@130
        2 0 mid@130 begin m 33
        3 0 mid@130 begin m 32
        4 0 mid@130 switch mid@130 D high@100
        10 0 high@100 begin m 33
        11 0 high@100 begin m 32
        12 0 high@100 switch high@100 D low@139
        20 0 low@139 unlock m
        20 0 low@139 waking mid@130 0
        20 0 low@139 wakeup mid@130 0
        30 0 low@139 switch low@139 R med
        70 0 med switch med S mid@130
        71 0 mid@130 end m 0
        80 0 mid@130 unlock m
        80 0 mid@130 waking high@100 0
        80 0 mid@130 wakeup high@100 0
        81 0 mid@130 switch mid@130 R high@100
        82 0 high@100 end m 0";
    check(
        text,
        expect![[r#"
        mid@130 2..71 depth 1: owner_running 8 owner_runnable_behind_equal_or_more_urgent 8 released_not_running 50 spinning 3 (handed over behind less urgent 10)
        high@100 10..82 depth 1: owner_running 18 owner_runnable_behind_less_urgent 50 released_not_running 1 spinning 3 (handed over behind less urgent 1); med instead for 40; low@139 instead for 10
    "#]],
    );
}
