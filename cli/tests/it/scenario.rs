//! A scenario in place of a recording: what is answered, and what is refused.

use crate::{fixture, resched, scratch};
use expect_test::{Expect, expect};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Two FIFO tasks, and a third between them that takes the CPU from the owner.
const TEXT: &str = "# Classic inversion.\n\
    L  fair     at 0  lock m  run 4  unlock m  wait  run 1  wait  ...\n\
    M  fifo 30  at 1  run 10\n\
    H  fifo 50  at 2  run 1  lock m  run 1  unlock m  wake L  wait  ...\n\
    \n\
    -- expect none\n\
    CPU0 L[0-1] M[1-2] H[2-3] M[3-12] L[12-15] H[15-16] L[16-17]\n";

fn folder(test: &str) -> PathBuf {
    let folder = scratch(test);
    std::fs::write(folder.join("x.sched"), TEXT).expect("written");
    folder
}

fn told(folder: &Path, args: &[&str]) -> String {
    let run = resched(folder, args);
    // Lanes of a drawing end in blanks.
    let text: String = run.out.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    format!("exit {}\n{}{text}", run.code, run.err)
}

fn check(test: &str, args: &[&str], expected: &Expect) {
    expected.assert_eq(&told(&folder(test), args));
}

#[test]
fn replay_compares_two_policies() {
    check(
        "scenario-replay",
        &["replay", "x.sched", "--draws", "0"],
        &expect![[r#"
            exit 0
            x.sched · 1 CPU · 0.01 s · 3 tasks · 14 ops · 1 lock
            a scenario, no recording; replayed under none and pe-7.3

                                       none    pe-7.3    change
            inversion   all tasks  9.000 ms  0.000 ms    -100 %  curable: 9.0 ms
            migrations  of donors         0         0         =  return 0, hand-offs 1
            switches                      7         7         =  idle detours 0

            worst episode  0.003 s  H (FIFO 50) waits 12.00 ms for mutex …000000,
              held by L (nice 0),
              while M runs instead of the owner
              none      H                   #####wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww#####
                        L            ####·········································############   ####
                        M               #####···##################################???????????????????
              pe-7.3    this response is not reached
              # runs   D runs on a donor's time   d lends its time   w waits for the lock   s spins
              · wants a CPU   blank: sleeps   ? not known
        "#]],
    );
}

#[test]
fn info_says_what_it_is() {
    check(
        "scenario-info",
        &["info", "x.sched"],
        &expect![[r#"
            exit 0
            x.sched · 1 CPU · 0.01 s · 3 tasks · 14 ops · 1 lock
            a scenario: what tasks ask for, and no recording

            # Classic inversion.

            can be asked:  what a policy makes of it (`replay`)
            can be asked:  its schedule under none (`analyze`, `explain`, `compare`)
            cannot:        what a recording says (`--policy recorded`, `--against recorded`, `--diverge`)
            expected:      schedules under none
            calibrated:    --cost wake-busy=0,wake-idle=0,wake-deep=0,slice-end=0,lock-contended=0,lock-sleep=0,lock-wake=0,buffer-sleep=0,buffer-wake=0,buffer-tell=0 (nanoseconds)
            calibrated:    work taken before going idle: CPU 0 100 %
        "#]],
    );
    check(
        "scenario-info",
        &["info", "x.sched", "--json"],
        &expect![[r#"
            exit 0
            {
              "assumed": [],
              "begin_ns": 0,
              "calibrated": {
                "assumed": [],
                "buffer_sleep_ns": 0,
                "buffer_tell_ns": 0,
                "buffer_wake_ns": 0,
                "hz": 1000,
                "lock_contended_ns": 0,
                "lock_sleep_ns": 0,
                "lock_wake_ns": 0,
                "newidle_of_1024": [
                  1024
                ],
                "passes_over_halted": false,
                "slice_end_ns": 0,
                "steadiest_permille": null,
                "wake_busy_ns": 0,
                "wake_deep_ns": 0,
                "wake_idle_ns": 0
              },
              "cpus": [
                0
              ],
              "end_ns": 19000000,
              "expected": [
                "none"
              ],
              "file": "x.sched",
              "groups": 0,
              "locks": 1,
              "not_yet": null,
              "ops": 14,
              "scenario": true,
              "tasks": 3
            }
        "#]],
    );
}

#[test]
fn looking_at_it_shows_its_schedule_under_none() {
    check(
        "scenario-analyze",
        &["analyze", "x.sched"],
        &expect![[r#"
        exit 0
        note: x.sched: is a scenario, not a recording: this is its schedule under none. `resched replay` compares policies
        x.sched under none · 1 CPU · 0.01 s · 3 tasks · 1 mutex · nothing lost

        1 lock wait, 12.00 ms in all; inversion 9.000 ms, of which proxy execution can act on 9.000 ms
              3.000 ms   25.0 %  owner running
              9.000 ms   75.0 %  owner behind less urgent work (inversion)
        7 switches, 0 migrations, 0 of donors, 0 returns

        task  responses         mean          p95          max   waits    lock wait    inversion
        H             0     0.000 ms     0.000 ms     0.000 ms       1     12.00 ms     9.000 ms
        L             1     1.000 ms     1.000 ms     1.000 ms       0     0.000 ms     0.000 ms
    "#]],
    );
    check(
        "scenario-explain",
        &["explain", "x.sched"],
        &expect![[r#"
            exit 0
            note: x.sched: is a scenario, not a recording: this is its schedule under none. `resched replay` compares policies
            1. 0.003 s  H (FIFO 50) waits 12.00 ms for mutex …000000,
              held by L (nice 0; exact),
              while M runs instead of the owner
                  3.000 ms   25.0 %  owner running
                  9.000 ms   75.0 %  owner behind less urgent work (inversion)
              none      H                   #####wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww#####
                        L            ####·········································############   ####
                        M               #####···##################################???????????????????
              pe-7.3    this response is not reached

              # runs   D runs on a donor's time   d lends its time   w waits for the lock   s spins
              · wants a CPU   blank: sleeps   ? not known
        "#]],
    );
    let args = ["analyze", "x.sched", "--table", "migrations"];
    check(
        "scenario-table",
        &args,
        &expect![[r#"
        exit 0
        note: x.sched: is a scenario, not a recording: this is its schedule under none. `resched replay` compares policies
        at_ns,task,tid,from_cpu,to_cpu,kind,basis
    "#]],
    );
}

#[test]
fn it_is_compared_with_its_replay() {
    let run = resched(&folder("scenario-compare"), &["compare", "x.sched"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let head: Vec<&str> = run.out.lines().take(3).collect();
    expect![[r#"
        x.sched under none · 1 CPU · 0.01 s · 3 tasks · 1 mutex · nothing lost
        means of 8 replays each, with other random seeds
    "#]]
    .assert_eq(&head.join("\n"));
}

#[test]
fn its_demand_is_the_same_in_our_own_words() {
    check(
        "scenario-demand",
        &["demand", "x.sched"],
        &expect![[r#"
        exit 0
        note: x.sched: what it expects of policies is no demand and is left out
        # Classic inversion.
        end 19

        L  lock m0  run 4  unlock m0  wait  run 1  wait  ...
        M  fifo 30  at 1  run 10
        H  fifo 50  at 2  run 1  lock m0  run 1  unlock m0  wake L  wait  ...
    "#]],
    );
}

#[test]
fn standard_input_does_as_well() {
    let folder = folder("scenario-stdin");
    let mut command = Command::new(env!("CARGO_BIN_EXE_resched"));
    let stdin = std::fs::File::open(folder.join("x.sched")).expect("there");
    command.args(["replay", "-", "--json", "--draws", "0"]).current_dir(&folder);
    let output = command.stdin(stdin).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The name decides nothing either.
    std::fs::rename(folder.join("x.sched"), folder.join("x.dat")).expect("renamed");
    assert_eq!(resched(&folder, &["replay", "x.dat"]).code, 0);
}

#[test]
fn what_only_a_recording_says_is_refused() {
    let folder = folder("scenario-refused");
    let all: String = [
        &["replay", "x.sched", "--diverge"][..],
        &["replay", "x.sched", "--against", "recorded"],
        &["replay", "x.sched", "--policy", "recorded"],
        &["explain", "x.sched", "--policy", "recorded"],
        &["compare", "x.sched", "--policy", "recorded"],
        &["demand", "x.sched", "--cover", "rwsem"],
        &["demand", "x.sched", "-o", "./x.sched"],
    ]
    .into_iter()
    .map(|args| told(&folder, args))
    .collect();
    expect![[r#"
        exit 2
        resched: x.sched: is a scenario: there is no recording that a replay of it could leave. `resched replay RECORDING --diverge` takes the one that it was made from
        exit 2
        resched: x.sched: is a scenario: nothing was recorded that a replay could be compared with. Name another policy, as in `--against none`
        exit 2
        resched: x.sched: is a scenario: nothing was recorded that `recorded` could give back. Name another policy, or the recording that the scenario was made from
        exit 2
        note: x.sched: is a scenario, not a recording: this is its schedule under none. `resched replay` compares policies
        resched: x.sched: is a scenario: nothing was recorded that `recorded` could give back. Name another policy, or the recording that the scenario was made from
        exit 2
        note: x.sched: is a scenario, not a recording: this is its schedule under none. `resched replay` compares policies
        resched: x.sched: is a scenario: nothing was recorded that `recorded` could give back. Name another policy, or the recording that the scenario was made from
        exit 2
        resched: x.sched: is a scenario: the critical sections that it has are written in it. Leave --cover out, or give it with the recording that the scenario was made from
        exit 2
        resched: ./x.sched: is the trace that is read; name another file for what is written
    "#]].assert_eq(&all);
    assert_eq!(std::fs::read_to_string(folder.join("x.sched")).expect("there"), TEXT);
}

/// A file of this name with this content, and what `replay` says of it.
fn broken(name: &str, content: &[u8], expected: &Expect) {
    let folder = scratch(&format!("scenario-broken-{name}"));
    std::fs::write(folder.join(name), content).expect("written");
    expected.assert_eq(&told(&folder, &["replay", name]));
}

#[test]
fn a_broken_one_is_refused_with_its_line() {
    broken(
        "a.sched",
        b"cpus 2\n\nL  run 4\n    rnu 3\n",
        &expect![[r#"
            exit 2
            resched: a.sched: at line 4: `rnu` is unknown; attributes are fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at-first, at, asleep, forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded; steps are run, busy-wait, lock, lock-interruptible, trylock, trylock-failed, unlock, put, take, contend, contended, keep-affinity, sleep, sleep-until, sleep-ticks, sleep-every, wait, wake, signal, fork, set, yield, exit, round, round-once, may-end, rounds-over, ...; docs/scenarios.md shows how scenarios are written
        "#]],
    );
    broken(
        "a.sched",
        b"L  lock m  run 4  lock m\n",
        &expect![[r#"
            exit 2
            resched: a.sched: at line 1: task `L` locks `m`, which it holds; the attribute `as-recorded` takes it as it is; docs/scenarios.md shows how scenarios are written
        "#]],
    );
    broken(
        "a.sched",
        b"L  run \xff4\n",
        &expect![[r#"
            exit 2
            resched: a.sched: at byte 7: this is no UTF-8, and a scenario is: write it again
        "#]],
    );
    broken(
        "a.sched",
        b"# Nothing yet.\ncpus 2\n",
        &expect![[r#"
            exit 2
            resched: a.sched: no task of this scenario has a step; give it some, as in `L  run 4`
        "#]],
    );
    broken(
        "a.sched",
        b"not yet: quotas\nL  run 4\n",
        &expect![[r#"
            exit 2
            resched: a.sched: cannot run yet: quotas. Take out its line `not yet:` to try it nevertheless
        "#]],
    );
    broken(
        "a.sched",
        b"",
        &expect![[r#"
            exit 2
            resched: a.sched: in the input: the input is empty
        "#]],
    );
}

#[test]
fn a_text_that_is_neither_is_told_both_reasons() {
    broken(
        "letter.txt",
        b"Dear maintainers,\n\nit is slow.\n",
        &expect![[r#"
            exit 2
            resched: letter.txt: in the input: this is no trace that resched knows; it reads trace.dat v6 and v7, perf.data and ftrace text
        "#]],
    );
    broken(
        "word.txt",
        b"hello\n",
        &expect![[r#"
            exit 2
            resched: word.txt: in the input: this is no trace that resched knows; it reads trace.dat v6 and v7, perf.data and ftrace text
        "#]],
    );
}

#[test]
fn the_scenarios_of_the_repository_are_taken() {
    let folder = scratch("scenarios");
    for file in fixtures::list("scenario") {
        let run = resched(&folder, &["replay", &fixture(&file), "--draws", "0"]);
        let is_ready = !fixtures::text(&file).contains("\nnot yet:");
        assert_eq!(run.code == 0, is_ready, "{file}: {}", run.err);
    }
}
