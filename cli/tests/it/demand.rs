//! The demand of a recording as text, and the law of that text: a replay of it is the recording's.

use crate::{fixture, resched, scratch};
use expect_test::{Expect, expect};
use serde_json::Value;
use std::path::Path;

/// The beginning of what is printed, and what is said beside it.
fn check(test: &str, args: &[&str], lines: usize, expected: &Expect) {
    let run = resched(&scratch(test), args);
    let root = format!("{}/", fixture("").trim_end_matches('/'));
    let out = run.out.replace(&root, "");
    let begin: Vec<&str> = out.lines().take(lines).collect();
    let said = run.err.replace(&root, "");
    expected.assert_eq(&format!("exit {}\n{said}{}\n", run.code, begin.join("\n")));
}

#[test]
fn the_text_says_how_much_of_it_is_guessed() {
    let file = fixture("recorded/localhandoff-contention.dat");
    check(
        "demand-text",
        &["demand", &file],
        17,
        &expect![[r#"
            exit 0
            note: recorded/localhandoff-contention.dat: the start of a critical section is a guess (5 times)
            note: recorded/localhandoff-contention.dat: the end of a critical section is a guess (5 times)
            note: recorded/localhandoff-contention.dat: a critical section is assumed, as in other rounds of the same loop (270 times)
            note: recorded/localhandoff-contention.dat: a wait went on when the recording ended (5 times)
            # What the tasks of a recording asked for.
            #   localhandoff-contention.dat · 1 CPU · 2.40 s · 10 tasks · 1597 ops · 1 lock
            #   the start of a critical section is a guess (5 times)
            #   the end of a critical section is a guess (5 times)
            #   a critical section is assumed, as in other rounds of the same loop (270 times)
            #   a wait went on when the recording ended (5 times)
            newidle ?
            latency wake-busy 0.014616 wake-idle 0.01556 wake-deep 0.017892
            latency lock-sleep 0.011756 lock-wake 0.00418
            assumed "ticks at multiples of their period"
            start 28542.713223
            end 30950.794143
            mutex m0 0xffffffffa0201020 flags spin+mutex

            pibench  tid 109  ended  allowed all
                run 0.17824  wake rcu_preempt  run 1.677224  sleep 0.013624 D  run 0.03602  sleep 0.157112 D
                run 0.051196  sleep 0.64146 D  run 0.032916  sleep 0.212616 D  run 0.079136  sleep 0.61352 D
        "#]],
    );
}

#[test]
fn json_says_how_much_there_is() {
    let file = fixture("recorded/localhandoff-contention.dat");
    check(
        "demand-json",
        &["demand", &file, "--json"],
        40,
        &expect![[r#"
            exit 0
            note: recorded/localhandoff-contention.dat: the start of a critical section is a guess (5 times)
            note: recorded/localhandoff-contention.dat: the end of a critical section is a guess (5 times)
            note: recorded/localhandoff-contention.dat: a critical section is assumed, as in other rounds of the same loop (270 times)
            note: recorded/localhandoff-contention.dat: a wait went on when the recording ended (5 times)
            {
              "assumed": [
                "ticks at multiples of their period"
              ],
              "begin_ns": 28542713223,
              "cpus": [
                0
              ],
              "end_ns": 30950794143,
              "file": "recorded/localhandoff-contention.dat",
              "groups": 0,
              "locks": 1,
              "notes": {
                "section-assumed": 270,
                "section-end-guessed": 5,
                "section-start-guessed": 5,
                "wait-cut-off": 5
              },
              "ops": 1597,
              "tasks": 10,
              "weaknesses": []
            }
        "#]],
    );
}

#[test]
fn what_no_schedule_rests_on_is_refused() {
    let file = fixture("broken/no-switches.txt");
    check(
        "demand-no-switch",
        &["demand", &file],
        0,
        &expect![[r#"
        exit 2
        note: broken/no-switches.txt: in the input: the header announces 48133 records and 49 are here: the text was cut
        resched: broken/no-switches.txt: has no sched:sched_switch, so nobody knows who ran when: there is nothing to replay. `resched info` still says what is in it. Record sched:sched_switch, sched:sched_waking and sched:sched_wakeup

    "#]],
    );
    let file = fixture("recorded/localhandoff-proxy-on.dat");
    check(
        "demand-on",
        &["demand", &file],
        0,
        &expect![[r#"
        exit 3
        resched: recorded/localhandoff-proxy-on.dat: recorded with proxy execution on: its schedule already contains the boosts, so it is no baseline for a replay. It can still be analysed: `resched analyze`, `compare` and `info` take it. To predict, record with `sched_proxy_exec=0` on the kernel's command line

    "#]],
    );
}

#[test]
fn a_weak_recording_says_so_in_its_demand() {
    let file = fixture("broken/no-lock-events.txt");
    check(
        "demand-weak",
        &["demand", &file],
        6,
        &expect![[r#"
        exit 3
        note: broken/no-lock-events.txt: in the input: the header announces 48133 records and 49 are here: the text was cut
        note: broken/no-lock-events.txt: has no lock events: it is replayed, but no policy can be told from another by its locks. Responses and delays can still be asked. To see locks, record lock:contention_begin and lock:contention_end too
        note: broken/no-lock-events.txt: a wait went on when the recording ended (4 times)
        # What the tasks of a recording asked for.
        #   no-lock-events.txt · 2 CPUs · 0.00 s · 10 tasks · 44 ops · 0 locks
        #   has no lock events: it is replayed, but no policy can be told from another by its locks.
        #     Responses and delays can still be asked. To see locks, record lock:contention_begin and
        #     lock:contention_end too
        #   a wait went on when the recording ended (4 times)
    "#]],
    );
}

#[test]
fn the_place_is_checked_like_any_other() {
    let folder = scratch("demand-place");
    let text = fixtures::bytes("recorded/localhandoff-full.report.txt");
    std::fs::write(folder.join("t.sched"), text).expect("written");
    let places = [
        (
            "t.sched",
            expect![[r#"
            exit 2
            resched: t.sched: is the trace that is read; name another file for what is written
        "#]],
        ),
        (
            "x.txt",
            expect![[r#"
            exit 2
            resched: x.txt: the ending says what is written: give it .sched
        "#]],
        ),
        (
            "no/x.sched",
            expect![[r#"
            exit 2
            resched: no/x.sched: there is no folder no; make it, or name another one
        "#]],
        ),
    ];
    for (output, expected) in places {
        let run = resched(&folder, &["demand", "t.sched", "-o", output]);
        expected.assert_eq(&format!("exit {}\n{}", run.code, run.err));
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("it was written")
}

/// Replays a recording and its demand under the same policy.
fn check_law(folder: &Path, recording: &str, args: &[&str], cover: &[&str]) {
    let run = resched(folder, &[&["demand", recording, "-o", "x.sched"], cover].concat());
    assert!(run.code == 0 || run.code == 3, "{recording}: {}", run.err);
    assert_eq!(run.out, "", "{recording}");
    let replay = |file: &str, to: &str| {
        let args = [&["replay", file, "-o", to, "--draws", "0"], args, cover].concat();
        let run = resched(folder, &args);
        assert!(run.code == 0 || run.code == 3, "{args:?}: {}", run.err);
        read(folder, to)
    };
    assert!(replay("x.sched", "a.txt") == replay(recording, "b.txt"), "{recording} {args:?}");
    let again = resched(folder, &["demand", "x.sched", "-o", "y.sched"]);
    assert_eq!((again.code, again.err.as_str()), (0, ""), "{recording}");
    assert!(read(folder, "x.sched") == read(folder, "y.sched"), "{recording}");
}

#[test]
fn a_demand_is_replayed_as_its_recording_is() {
    let folder = scratch("demand-law");
    let mut n = 0;
    for name in fixtures::list("recorded") {
        if name.ends_with(".json") || name.contains("proxy-on") {
            continue;
        }
        check_law(&folder, &fixture(&name), &["--policy", "none"], &[]);
        n += 1;
    }
    assert!(n >= 9, "{n} recordings");
}

#[test]
fn a_demand_is_replayed_as_its_recording_is_under_other_policies() {
    let folder = scratch("demand-law-more");
    let file = fixture("recorded/classic3-contention.dat");
    check_law(&folder, &file, &["--policy", "pe-7.3", "--seed", "7"], &[]);
    check_law(&folder, &file, &["--policy", "pi", "--no-costs"], &[]);
    let file = fixture("recorded/pipe-inversion.perf.data");
    check_law(&folder, &file, &["--policy", "pe-7.3"], &["--cover", "rwsem,futex-pi"]);
}

/// The costs of the kernel's own work come from the text too.
#[test]
fn a_demand_and_its_recording_answer_alike() {
    let folder = scratch("demand-answers");
    let file = fixture("recorded/classic3-full.dat");
    resched(&folder, &["demand", &file, "-o", "x.sched"]);
    let json = |file: &str| {
        let run = resched(&folder, &["replay", file, "--json", "--draws", "0"]);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        serde_json::from_str::<Value>(&run.out).expect("JSON")
    };
    let (a, b) = (json("x.sched"), json(&file));
    for key in ["costs_ns", "assumed", "proxy", "policy", "against"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    assert_eq!(a["comparison"]["after"]["switches"], b["comparison"]["after"]["switches"]);
    assert_eq!((&a["trust"], a["weaknesses"].as_array().map(Vec::len)), (&Value::Null, Some(0)));
}
