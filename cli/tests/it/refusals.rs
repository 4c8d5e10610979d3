//! What bad input gets: a message that names the file, the place and the way out.

use crate::{fixture, resched, scratch};
use expect_test::{Expect, expect};

fn check(test: &str, args: &[&str], expected: Expect) {
    let run = resched(&scratch(test), args);
    // The checkout's own place is not part of the message.
    let root = format!("{}/", fixture("").trim_end_matches('/'));
    expected.assert_eq(&format!("exit {}\n{}", run.code, run.err.replace(&root, "")));
}

#[test]
fn an_empty_file() {
    check(
        "empty",
        &["info", &fixture("broken/empty.dat")],
        expect![[r#"
        exit 2
        resched: broken/empty.dat: in the input: the input is empty
    "#]],
    );
}

#[test]
fn no_such_file() {
    check(
        "absent",
        &["info", "absent.dat"],
        expect![[r#"
        exit 2
        resched: absent.dat: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_trace_without_switches() {
    check(
        "no-switch",
        &["replay", &fixture("broken/no-switches.txt")],
        expect![[r#"
            exit 2
            note: broken/no-switches.txt: in the input: the header announces 48133 records and 49 are here: the text was cut
            resched: broken/no-switches.txt: has no sched:sched_switch, so nobody knows who ran when: there is nothing to replay. `resched info` still says what is in it. Record sched:sched_switch, sched:sched_waking and sched:sched_wakeup
        "#]],
    );
}

#[test]
fn a_trace_without_lock_events() {
    check(
        "no-locks",
        &["replay", &fixture("broken/no-lock-events.txt")],
        expect![[r#"
            exit 3
            note: broken/no-lock-events.txt: in the input: the header announces 48133 records and 49 are here: the text was cut
            resched: broken/no-lock-events.txt: has no lock events: it is replayed, but no policy can be told from another by its locks. Responses and delays can still be asked. To see locks, record lock:contention_begin and lock:contention_end too
        "#]],
    );
}

#[test]
fn a_recording_made_with_proxy_execution_on() {
    check(
        "on",
        &["replay", &fixture("recorded/localhandoff-proxy-on.dat")],
        expect![[r#"
        exit 3
        resched: recorded/localhandoff-proxy-on.dat: recorded with proxy execution on: its schedule already contains the boosts, so it is no baseline for a replay. It can still be analysed: `resched analyze`, `compare` and `info` take it. To predict, record with `sched_proxy_exec=0` on the kernel's command line
    "#]],
    );
}

#[test]
fn an_unknown_policy() {
    let file = fixture("recorded/classic3-full.dat");
    check(
        "policy",
        &["replay", &file, "--policy", "pe-9"],
        expect![[r#"
            exit 2
            resched: there is no policy `pe-9`; there are recorded, none, pe-6.17, pe-7.1, pe-7.3, pe-chain, pe-sleeping, pi
        "#]],
    );
}

#[test]
fn an_unknown_table() {
    let file = fixture("recorded/classic3-full.dat");
    check(
        "table",
        &["analyze", &file, "--table", "waits"],
        expect![[r#"
            exit 2
            resched: there is no table waits; there are lock_waits, responses, response_summary, tasks, locks, owners, inversions, inversion_summary, migrations, wakeups, run_delays, intervals, donations, notes, losses
        "#]],
    );
}

#[test]
fn an_unknown_ending() {
    let file = fixture("recorded/classic3-full.dat");
    check(
        "ending",
        &["replay", &file, "-o", "out.pdf"],
        expect![[r#"
            exit 2
            resched: out.pdf: the ending says what is written: give it .txt
        "#]],
    );
}

#[test]
fn a_cut_file_keeps_what_can_be_read() {
    let folder = scratch("cut");
    let whole = fixtures::bytes("recorded/classic3-full.dat");
    std::fs::write(folder.join("cut.dat"), &whole[..whole.len() / 2]).expect("written");
    let run = resched(&folder, &["info", "cut.dat", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&run.out).expect("valid JSON");
    let events = told["events"].as_u64().expect("a count");
    assert!((5_000..19_311).contains(&events), "{events}");
    let odd = told["oddities"][0]["text"].as_str().expect("the cut is noted");
    assert!(odd.contains("ends"), "{odd}");
}

#[test]
fn mechanisms_that_do_not_exist_or_do_not_go_together() {
    let trace = fixture("recorded/classic3-full.dat");
    check(
        "switch-unknown",
        &["replay", &trace, "--with", "teleport"],
        expect![[r#"
        exit 2
        resched: there is no switch `teleport`; there are proxy-execution, inheritance, donor-migration, chain-migration, sleeping-owners, handoff, return-in-wakeup, local-handoff-resched, spinning, unlock-window (unlock-window=NS)
    "#]],
    );
    check(
        "switch-lonely",
        &["replay", &trace, "--policy", "none", "--with", "handoff"],
        expect![[r#"
            exit 2
            resched: handoff needs proxy-execution: take a policy that has it
        "#]],
    );
    check(
        "switch-both",
        &["replay", &trace, "--with", "inheritance"],
        expect![[r#"
        exit 2
        resched: inheritance needs proxy-execution off: a waiter either stays queued or sleeps
    "#]],
    );
    check(
        "switch-window",
        &["replay", &trace, "--with", "unlock-window"],
        expect![[r#"
        exit 2
        resched: there is no switch `unlock-window`; there are proxy-execution, inheritance, donor-migration, chain-migration, sleeping-owners, handoff, return-in-wakeup, local-handoff-resched, spinning, unlock-window (unlock-window=NS)
    "#]],
    );
    check(
        "switch-recorded",
        &["replay", &trace, "--policy", "recorded", "--with", "spinning"],
        expect![[r#"
            exit 2
            resched: recorded: takes no mechanisms; name another policy, as in `--policy none`
        "#]],
    );
    check(
        "no-policy",
        &["replay", &trace, "--policy", "pe-9"],
        expect![[r#"
        exit 2
        resched: there is no policy `pe-9`; there are recorded, none, pe-6.17, pe-7.1, pe-7.3, pe-chain, pe-sleeping, pi
    "#]],
    );
}

#[test]
fn a_recording_that_was_cut_is_not_replayed_in_silence() {
    let folder = scratch("cut");
    let whole = std::fs::read(fixture("recorded/classic3-contention.dat")).expect("a fixture");
    std::fs::write(folder.join("cut.dat"), &whole[..whole.len() / 2]).expect("written");
    for args in [&["analyze", "cut.dat"][..], &["replay", "cut.dat", "--draws", "0"]] {
        let run = resched(&folder, args);
        assert!(run.err.contains("note: cut.dat: at byte "), "{args:?}: {}", run.err);
        assert!(run.err.contains("ends"), "{args:?}: {}", run.err);
    }
    let info = resched(&folder, &["info", "cut.dat"]);
    assert!(info.out.contains("odd:  ") && !info.err.contains("note:"), "{}{}", info.out, info.err);
}

/// What `replay` refuses, no other command shows without a word.
#[test]
fn a_baseline_that_is_far_off_is_said_by_every_command_that_predicts() {
    let folder = scratch("far-off");
    std::fs::write(folder.join("p.txt"), fixtures::bytes("recorded/pipe-inversion.txt"))
        .expect("written");
    for args in
        [&["replay", "p.txt", "--draws", "0"][..], &["explain", "p.txt"], &["compare", "p.txt"]]
    {
        let run = resched(&folder, args);
        assert_eq!(run.code, 3, "{args:?}: {}", run.err);
        assert!(run.err.contains("no prediction can rest on that"), "{args:?}: {}", run.err);
    }
    assert_eq!(resched(&folder, &["explain", "p.txt", "--policy", "recorded"]).code, 0);
}
