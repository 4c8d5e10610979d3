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
              replayed  29.052668 s  is woken by an interrupt after 0.917 ms, onto CPU 0
              rule      a sleep ends (the demand)
              2 turns on CPUs agree before it; 0 slipped, and agreed again at once

            what it comes to                    recorded     replayed    otherwise   times
            kworker/0:2        asleep, gone    3415.3 ms    3181.4 ms    233.92 ms   5 -> 5
            kworker/0:2        wants a CPU      1.697 ms    233.13 ms    231.43 ms   4 -> 4
            high               asleep, gone    2636.1 ms    2456.9 ms    179.24 ms   290 -> 275
            high               lock waits      669.93 ms    842.01 ms    172.07 ms   161 -> 182
            med1               wants a CPU     853.47 ms    805.14 ms     48.33 ms   199 -> 199
            med1               asleep, gone    1612.3 ms    1651.7 ms     39.41 ms   199 -> 199
            med0               wants a CPU     861.49 ms    837.91 ms     23.57 ms   203 -> 201
            med0               asleep, gone    1608.6 ms    1628.7 ms     20.12 ms   202 -> 201
            pibench            CPU time        364.80 ms    357.30 ms     7.493 ms   22 -> 11  not conserved
            med1               CPU time        951.32 ms    957.75 ms     6.433 ms   1227 -> 1244
            kworker/u4:1       wants a CPU      5.928 ms     0.064 ms     5.864 ms   3 -> 2
            high               wants a CPU      42.43 ms     48.09 ms     5.658 ms   451 -> 457
            and 21 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              high (74): a waiter sleeps (__mutex_lock_common())
                recorded  29.456459 s  computes 1.209 ms, sleeps
                replayed  29.455007 s  computes 0.013 ms, sleeps for lock 0xffffffffa0201020
              med1 (76): a sleep ends (the demand)
                recorded  29.489792 s  is woken by an interrupt after 7.658 ms, onto CPU 0
                replayed  29.480776 s  is woken by an interrupt after 0.013 ms, onto CPU 0
              med0 (75): a sleep ends (the demand)
                recorded  29.570776 s  is woken by an interrupt after 0.529 ms, onto CPU 0
                replayed  29.579768 s  is woken by an interrupt after 8.594 ms, onto CPU 0
              low (77): the program sleeps (the demand)
                recorded  32.454055 s  computes 0.072 ms, ends
                replayed  32.456411 s  computes 3.057 ms, sleeps
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
            own                lock waits       3.514 ms     29.55 ms     26.04 ms   3 -> 5
            don                wants a CPU      24.74 ms     41.93 ms     17.18 ms   96 -> 97
            own                wants a CPU     412.52 ms    395.43 ms     17.09 ms   49 -> 46
            don                lock waits      248.88 ms    232.03 ms     16.84 ms   37 -> 37
            hog11              wants a CPU     280.56 ms    271.29 ms     9.274 ms   61 -> 60
            bg0                lock waits       1.385 ms     9.688 ms     8.302 ms   1 -> 1
            bg0                wants a CPU      44.80 ms     37.52 ms     7.282 ms   205 -> 206
            rcu_preempt        wants a CPU      12.38 ms     6.231 ms     6.155 ms   24 -> 25
            rcu_preempt        asleep, gone    686.10 ms    691.44 ms     5.338 ms   25 -> 25
            own                CPU time         77.56 ms     73.40 ms     4.162 ms   93 -> 90  not conserved
            don                asleep, gone    390.04 ms    386.24 ms     3.800 ms   62 -> 62
            hog11              CPU time        229.16 ms    232.52 ms     3.360 ms   193 -> 210
            and 29 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              own (70): a waiter spins (mutex_optimistic_spin())
                recorded  3.301159 s  computes 1.936 ms, sleeps
                replayed  3.299793 s  computes 0.025 ms, spins for lock 0xffffffffa0201020
              don (68): a waiter sleeps (__mutex_lock_common())
                recorded  3.273134 s  computes 8.096 ms, sleeps for lock 0xffffffffa0201020
                replayed  3.264154 s  computes 0.759 ms, sleeps for lock 0xffffffffa0201020
              bg0 (69): the program computes (the demand)
                recorded  3.797685 s  computes 3.513 ms, sleeps
                replayed  3.796563 s  computes 0.055 ms, sleeps
              rcu_preempt (14): a sleep ends (the demand)
                recorded  3.103118 s  is woken by an interrupt after 2.827 ms, onto CPU 0
                replayed  3.102764 s  is woken by an interrupt after 2.384 ms, onto CPU 0
              kworker/u8:1 (29): wake placement: none idle (select_task_rq_fair())
                recorded  3.119470 s  is woken by kworker/u8:3 (64), onto CPU 1
                replayed  3.119635 s  is woken by kworker/u8:3 (64), onto CPU 0
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
              replayed  29.052668 s  is woken by an interrupt after 0.917 ms, onto CPU 0
              rule      a sleep ends (the demand)
              2 turns on CPUs agree before it; 0 slipped, and agreed again at once

            what it comes to                    recorded     replayed    otherwise   times
            high               lock waits      669.93 ms    115.73 ms    554.20 ms   161 -> 195
            high               asleep, gone    2636.1 ms    3186.4 ms    550.23 ms   290 -> 290
            kworker/0:2        asleep, gone    3415.3 ms    3177.2 ms    238.11 ms   5 -> 5
            low                wants a CPU     1954.1 ms    1717.6 ms    236.42 ms   678 -> 837
            kworker/0:2        wants a CPU      1.697 ms    234.07 ms    232.38 ms   4 -> 4
            low                CPU time        714.97 ms    881.39 ms    166.41 ms   1100 -> 1095  not conserved
            med0               CPU time        946.33 ms    814.72 ms    131.61 ms   1230 -> 1213  not conserved
            med0               wants a CPU     861.49 ms    949.74 ms     88.25 ms   203 -> 173
            low                asleep, gone    748.06 ms    812.33 ms     64.26 ms   678 -> 837
            med1               wants a CPU     853.47 ms    902.74 ms     49.27 ms   199 -> 190
            med0               asleep, gone    1608.6 ms    1645.5 ms     36.89 ms   202 -> 173
            med1               CPU time        951.32 ms    919.54 ms     31.78 ms   1227 -> 1250  not conserved
            and 21 smaller ones; --json has all
            times: how often a CPU was left, a wakeup came, a sleep or a wait for a lock began

            where these tasks themselves part from the recording
              high (74): a waiter sleeps (__mutex_lock_common())
                recorded  29.456459 s  computes 1.209 ms, sleeps
                replayed  29.455007 s  computes 0.013 ms, sleeps for lock 0xffffffffa0201020
              low (77): the program sleeps (the demand)
                recorded  32.454055 s  computes 0.072 ms, ends
                replayed  31.878551 s  computes 3.018 ms, sleeps
              med0 (75): a sleep ends (the demand)
                recorded  29.570776 s  is woken by an interrupt after 0.529 ms, onto CPU 0
                replayed  29.579768 s  is woken by an interrupt after 7.628 ms, onto CPU 0
              med1 (76): a sleep ends (the demand)
                recorded  29.498780 s  is woken by an interrupt after 1.095 ms, onto CPU 0
                replayed  29.507776 s  is woken by an interrupt after 7.659 ms, onto CPU 0
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
