//! Every scenario of the fixtures under every policy it names: one test per file.
//!
//! `UPDATE_EXPECT=1` writes what the replay answers into the file; read the diff.

use crate::timeline::{Cast, Timeline};
use model::Demand;
use replay::{Mechanisms, Options, Policy, Setting};
use trace_formats::script::{self, Expectation, Script};

macro_rules! scenarios {
    ($($name:ident)*) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

scenarios! {
    s01_classic_inversion
    s02_owner_runs_on
    s03_owner_elsewhere
    s04_return_in_the_wakeup
    s05_spin_on_running_owner
    s06_chain
    s07_chain_across_cpus
    s08_owner_asleep
    s09_owner_falls_asleep
    s10_donors_of_two_classes
    s11_handoff_to_the_donor
    s12_donor_budget_runs_out
    s13_forced_handoff
    s14_home_is_busy
    s15_signal_to_a_moved_donor
    s15b_signal_to_a_local_donor
    s16_fifo_position
    s17_thief
    s18_behind_more_urgent_work
    s19_chain_of_three_cpus
    s20_next_owner_sleeps
    s21_owner_blocks_in_turn
    s22_fair_donor
    s22b_fair_owner_runs_on
    s23a_wakeup_waits_for_the_slice
    s23b_short_slice_preempts
    s23c_lag_preempts
    s23d_slice_ends_at_a_tick
    s23e_slice_ends_on_time
    s24_preempted_before_it_sleeps
    s25_starved_waiter
    s26_owner_moves_away
    s27_donor_timeslice
    s28a_full_preemption
    s28b_lazy_preemption
    s28c_lazy_until_the_tick
    s28d_lazy_and_realtime
    s29_delayed_owner
    s30a_rwsem
    s30b_rt_mutex
    s30c_rwsem_covered
    s31_return_elsewhere
    s32_lost_handoff
    t01_idle_core
    t02_near_work_first
    t03_hot_task_stays
    t04_groups_on_one_cpu
    t05_groups_on_two_cpus
    t06_groups_in_groups
    t07_rwsem_handoff
    t08_fork_and_class
    t09_missed_release
    t10_rounds
    t11_old_replenishment
    t12_sleeper_keeps_its_place
    t13_slice_timer_runs_once
    t14_busy_wait
    t15_sleep_until_a_tick
    t16_yield
    t17_fair_yield
    t18_pipe_wakes_when_empty
    t19_pipe_is_full
    t20_pipe_readers_in_turn
    t21_socket_wakes_all
    t22_pipe_holds_its_mutex
    t23_nonblocking
    t24_read_takes_what_there_is
    t25_halted_cpus
}

fn file_of(test: &str) -> String {
    format!("scenario/{}.sched", test.replace('_', "-"))
}

#[test]
fn no_scenario_is_forgotten() {
    let listed: Vec<String> = LISTED.iter().map(|name| file_of(name)).collect();
    assert_eq!(fixtures::list("scenario"), listed);
}

#[expect(clippy::print_stdout, reason = "a skipped scenario says so in the test's output")]
fn check(test: &str) {
    let file = file_of(test);
    let text = fixtures::text(&file);
    let script = script::parse(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    if let Some(reason) = &script.not_yet {
        println!("{file} skipped, not yet: {reason}");
        return;
    }
    let answers: Vec<Vec<String>> = script
        .expectations
        .iter()
        .map(|expectation| answers(&file, &script, expectation))
        .collect();
    let mut failures = String::new();
    for (expectation, answers) in script.expectations.iter().zip(&answers) {
        let expected: Vec<&str> = expectation.lines.iter().map(|(_, line)| line.as_str()).collect();
        if expected != *answers {
            let (policies, expected) = (expectation.policies.join(", "), expected.join("\n"));
            failures += &format!(
                "\n{policies}, expected:\n{expected}\n\nreplayed:\n{}\n",
                answers.join("\n")
            );
        }
    }
    if update_wanted() {
        write(&file, &rewritten(&text, &script, &answers));
    } else {
        assert!(failures.is_empty(), "{file}\n{failures}");
    }
}

/// What the policies of a block answer to its lines; they must agree.
fn answers(file: &str, script: &Script, expectation: &Expectation) -> Vec<String> {
    let of = |name: &String| {
        let (policy, mechanisms) = policy_of(file, name);
        answer(script, expectation, policy, mechanisms)
    };
    let all: Vec<Vec<String>> = expectation.policies.iter().map(of).collect();
    for (name, one) in expectation.policies.iter().zip(&all) {
        assert_eq!(*one, all[0], "{file}: {name} differs from the first policy of its block");
    }
    all.into_iter().next().expect("a block names a policy")
}

/// A policy by name, with its switches: `NAME+SWITCH` has one more, `NAME!SWITCH` one less.
fn policy_of(file: &str, name: &str) -> (Policy, Mechanisms) {
    let switches = name.find(['+', '!']).unwrap_or(name.len());
    let (name, mut rest) = name.split_at(switches);
    let policy: Policy = name.parse().unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut mechanisms = policy.mechanisms();
    while let Some(sign) = rest.chars().next() {
        let end = rest[1..].find(['+', '!']).map_or(rest.len(), |at| at + 1);
        if &rest[1..end] == "cover-rwsem" {
            mechanisms.cover.rwsem = true;
            rest = &rest[end..];
            continue;
        }
        let setting: Setting = rest[1..end].parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        mechanisms = mechanisms.set(match setting {
            Setting::With(switch) if sign == '!' => Setting::Without(switch),
            setting => setting,
        });
        rest = &rest[end..];
    }
    mechanisms.check().unwrap_or_else(|e| panic!("{file}: {e}"));
    (policy, mechanisms)
}

fn answer(
    script: &Script,
    expectation: &Expectation,
    policy: Policy,
    mechanisms: Mechanisms,
) -> Vec<String> {
    let demand = Demand::from_script(script);
    let options = Options { mechanisms: Some(mechanisms), ..Options::default() };
    let schedule = replay::replay(&demand, policy, &options);
    let cast = Cast {
        script,
        tids: demand.tasks.iter().map(|t| t.info.tid).collect(),
        locks: demand.locks.iter().map(|l| l.lock).collect(),
    };
    let n_cpus = demand.machine.cpus.len();
    let timeline = Timeline::of(&schedule.recording, n_cpus, script.machine.end);
    expectation.lines.iter().map(|(ask, _)| timeline.answer(ask, &cast)).collect()
}

fn rewritten(text: &str, script: &Script, answers: &[Vec<String>]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (expectation, answers) in script.expectations.iter().zip(answers) {
        for (index, answer) in answers.iter().enumerate() {
            lines[expectation.first_line + index].clone_from(answer);
        }
    }
    lines.join("\n") + "\n"
}

#[expect(clippy::disallowed_methods, reason = "a test is told by its caller what to do")]
fn update_wanted() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

#[expect(clippy::disallowed_methods, reason = "expectations live in files")]
fn write(file: &str, text: &str) {
    let path = fixtures::path(file);
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
