//! `replay --diverge`: the first decision that differs, its rule, and what it comes to.

use crate::{fixture, resched, scratch};
use expect_test::{Expect, expect};

fn check(test: &str, args: &[&str], expected: &Expect) -> String {
    let run = resched(&scratch(test), args);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let widest = run.out.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?} columns:\n{}", run.out);
    expected.assert_eq(&run.out);
    run.out
}

#[test]
fn a_recording_beside_its_replay() {
    let file = fixture("recorded/classic3-full.dat");
    check(
        "diverge",
        &["replay", &file, "--diverge"],
        &expect![[r#"
            classic3-full.dat · Linux 7.3.0-rc7 · 1 CPU · 3.41 s · 12 tasks · 21 mutexes · nothing lost
            recorded, beside its replay under none

            the first decision that differs: of rcu_preempt (14)
              recorded  29.051072 s  is woken by pibench (73) after 0.013 ms, onto CPU 0
              replayed  29.052016 s  is woken by an interrupt after 0.266 ms, onto CPU 0
              rule      a sleep ends (the demand)
              2 turns on CPUs agree before it; 0 slipped, and agreed again at once

            what it comes to                    recorded     replayed    otherwise   times
            kworker/0:2        asleep, gone    3415.3 ms    3180.5 ms    234.79 ms   5 -> 5
            kworker/0:2        wants a CPU      1.697 ms    233.98 ms    232.28 ms   4 -> 4
            high               lock waits      669.93 ms    885.72 ms    215.78 ms   161 -> 178
            high               asleep, gone    2636.1 ms    2421.5 ms    214.61 ms   290 -> 269
            med1               wants a CPU     853.47 ms    803.82 ms     49.65 ms   199 -> 199
            med1               asleep, gone    1612.3 ms    1654.6 ms     42.31 ms   199 -> 199
            med0               asleep, gone    1608.6 ms    1634.2 ms     25.56 ms   202 -> 200
            med0               wants a CPU     861.49 ms    838.21 ms     23.27 ms   203 -> 200
            low                wants a CPU     1954.1 ms    1943.2 ms     10.86 ms   678 -> 684
            low                CPU time        714.97 ms    725.56 ms     10.59 ms   1100 -> 1102
            pibench            CPU time        364.80 ms    357.33 ms     7.464 ms   22 -> 12  not conserved
            high               CPU time         75.23 ms     68.16 ms     7.069 ms   458 -> 447  not conserved
            and 21 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              high (74): a waiter sleeps (__mutex_lock_common())
                recorded  29.456459 s  computes 1.209 ms, sleeps
                replayed  29.455024 s  computes 0.013 ms, sleeps for lock 0xffffffffa0201020
              med1 (76): a sleep ends (the demand)
                recorded  29.489792 s  is woken by an interrupt after 7.658 ms, onto CPU 0
                replayed  29.480776 s  is woken by an interrupt after 0.013 ms, onto CPU 0
              med0 (75): a sleep ends (the demand)
                recorded  29.525780 s  is woken by an interrupt after 8.586 ms, onto CPU 0
                replayed  29.516768 s  is woken by an interrupt after 0.212 ms, onto CPU 0
              low (77): the program sleeps (the demand)
                recorded  32.454055 s  computes 0.072 ms, ends
                replayed  32.438329 s  computes 3.057 ms, sleeps
              kworker/u4:2 (26): the program is over, or the replay (the demand)
                recorded  29.056127 s  is woken by pibench (73) after 0.028 ms, onto CPU 0
                replayed  29.056127 s  nothing more
        "#]],
    );
}

#[test]
fn a_recording_on_two_cpus_beside_its_replay() {
    let file = fixture("recorded/affine-full-2cpus.dat");
    check(
        "diverge-2",
        &["replay", &file, "--diverge"],
        &expect![[r#"
            affine-full-2cpus.dat · Linux 7.3.0-rc7 · 2 CPUs · 0.69 s · 15 tasks · 14 mutexes · nothing lost
            recorded, beside its replay under none

            the first decision that differs: of trace-cmd (65)
              recorded  3.100343 s  computes 0.128 ms, spins for lock 0xffffffff8231bb20
              replayed  3.100888 s  computes 0.576 ms, sleeps
              rule      the lock is free (__mutex_trylock_fast())
              4 turns on CPUs agree before it; 0 slipped, and agreed again at once

            what it comes to                    recorded     replayed    otherwise   times
            own                lock waits       3.514 ms     28.81 ms     25.29 ms   3 -> 4
            don                wants a CPU      24.74 ms     46.41 ms     21.66 ms   96 -> 99
            own                wants a CPU     412.52 ms    391.93 ms     20.58 ms   49 -> 46
            don                lock waits      248.88 ms    233.20 ms     15.68 ms   37 -> 39
            bg0                lock waits       1.385 ms     9.755 ms     8.369 ms   1 -> 1
            rcu_preempt        wants a CPU      12.38 ms     5.959 ms     6.427 ms   24 -> 25
            rcu_preempt        asleep, gone    686.10 ms    692.42 ms     6.317 ms   25 -> 25
            hog10              wants a CPU     279.31 ms    273.32 ms     5.995 ms   55 -> 58
            hog11              wants a CPU     280.56 ms    274.71 ms     5.849 ms   61 -> 58
            don                asleep, gone    390.04 ms    384.52 ms     5.523 ms   62 -> 62
            hog10              CPU time        228.08 ms    232.56 ms     4.485 ms   189 -> 210
            own                CPU time         77.56 ms     73.93 ms     3.629 ms   93 -> 99  not conserved
            and 30 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              own (70): a waiter spins (mutex_optimistic_spin())
                recorded  3.435278 s  computes 1.757 ms, sleeps
                replayed  3.437684 s  computes 0.022 ms, spins for lock 0xffffffffa0201020
              don (68): a waiter sleeps (__mutex_lock_common())
                recorded  3.273134 s  computes 8.096 ms, sleeps for lock 0xffffffffa0201020
                replayed  3.264154 s  computes 0.759 ms, sleeps for lock 0xffffffffa0201020
              rcu_preempt (14): a sleep ends (the demand)
                recorded  3.103118 s  is woken by an interrupt after 2.827 ms, onto CPU 0
                replayed  3.102764 s  is woken by an interrupt after 2.384 ms, onto CPU 0
              kworker/u8:1 (29): wake placement: none idle (select_task_rq_fair())
                recorded  3.119470 s  is woken by kworker/u8:3 (64), onto CPU 1
                replayed  3.119844 s  is woken by kworker/u8:3 (64), onto CPU 0
              pibench (67): the program computes (the demand)
                recorded  3.119592 s  computes 0.329 ms, sleeps
                replayed  3.228726 s  computes 109.03 ms, sleeps
        "#]],
    );
}

#[test]
fn another_policy_leaves_the_recording_where_it_acts() {
    let file = fixture("recorded/classic3-full.dat");
    check(
        "diverge-pe",
        &["replay", &file, "--diverge", "--against", "pe-7.3"],
        &expect![[r#"
            classic3-full.dat · Linux 7.3.0-rc7 · 1 CPU · 3.41 s · 12 tasks · 21 mutexes · nothing lost
            recorded, beside its replay under pe-7.3

            the first decision that differs: of rcu_preempt (14)
              recorded  29.051072 s  is woken by pibench (73) after 0.013 ms, onto CPU 0
              replayed  29.052016 s  is woken by an interrupt after 0.266 ms, onto CPU 0
              rule      a sleep ends (the demand)
              2 turns on CPUs agree before it; 0 slipped, and agreed again at once

            what it comes to                    recorded     replayed    otherwise   times
            high               lock waits      669.93 ms    120.18 ms    549.74 ms   161 -> 195
            high               asleep, gone    2636.1 ms    3184.9 ms    548.73 ms   290 -> 290
            low                wants a CPU     1954.1 ms    1674.5 ms    279.53 ms   678 -> 857
            kworker/0:2        asleep, gone    3415.3 ms    3183.2 ms    232.07 ms   5 -> 5
            kworker/0:2        wants a CPU      1.697 ms    233.17 ms    231.47 ms   4 -> 4
            low                CPU time        714.97 ms    906.40 ms    191.43 ms   1100 -> 1129  not conserved
            med0               CPU time        946.33 ms    812.80 ms    133.53 ms   1230 -> 1186  not conserved
            low                asleep, gone    748.06 ms    835.56 ms     87.50 ms   678 -> 857
            med0               wants a CPU     861.49 ms    942.67 ms     81.18 ms   203 -> 173
            med1               CPU time        951.32 ms    893.67 ms     57.65 ms   1227 -> 1222  not conserved
            med0               asleep, gone    1608.6 ms    1659.6 ms     51.01 ms   202 -> 172
            med1               wants a CPU     853.47 ms    901.13 ms     47.65 ms   199 -> 186
            and 21 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              high (74): a waiter sleeps (__mutex_lock_common())
                recorded  29.456459 s  computes 1.209 ms, sleeps
                replayed  29.455024 s  computes 0.013 ms, sleeps for lock 0xffffffffa0201020
              low (77): the program sleeps (the demand)
                recorded  32.454055 s  computes 0.072 ms, ends
                replayed  31.823052 s  computes 3.071 ms, sleeps
              med0 (75): a sleep ends (the demand)
                recorded  29.570776 s  is woken by an interrupt after 0.529 ms, onto CPU 0
                replayed  29.579768 s  is woken by an interrupt after 7.652 ms, onto CPU 0
              med1 (76): a sleep ends (the demand)
                recorded  29.498780 s  is woken by an interrupt after 1.095 ms, onto CPU 0
                replayed  29.507776 s  is woken by an interrupt after 7.662 ms, onto CPU 0
              kworker/u4:2 (26): the program is over, or the replay (the demand)
                recorded  29.056127 s  is woken by pibench (73) after 0.028 ms, onto CPU 0
                replayed  29.056127 s  nothing more
        "#]],
    );
}

#[test]
fn as_json_with_the_same_content() {
    let file = fixture("recorded/classic3-full.dat");
    let run = resched(&scratch("diverge-json"), &["replay", &file, "--diverge", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&run.out).expect("valid JSON");
    assert_eq!(said["policy"], "none");
    for key in ["at_ns", "replay_at_ns", "place", "recorded", "replayed", "rule", "source"] {
        assert!(!said["first"][key].is_null(), "{key}: {}", said["first"]);
    }
    let tolls = said["tolls"].as_array().expect("a list");
    let times: Vec<u64> = tolls.iter().filter_map(|t| t["otherwise_ns"].as_u64()).collect();
    assert!(times.len() == tolls.len() && times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn the_recorded_policy_is_nothing_to_compare_with() {
    let file = fixture("recorded/classic3-full.dat");
    let args = ["replay", &file, "--diverge", "--against", "recorded"];
    let run = resched(&scratch("diverge-recorded"), &args);
    assert_eq!(run.code, 2);
    expect![[r#"
        resched: --diverge compares the recording with a replay: name another policy for --against
    "#]]
    .assert_eq(&run.err);
}
