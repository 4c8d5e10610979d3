//! What a recording asks for, concept by concept: listings in, demands as text out.

use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::demand::DemandNote;
use model::{Host, LostWhat, Op, Recording, SchedEvent};

/// The demand without what is only assumed of the machine.
fn check(text: &str, expect: Expect) {
    check_recording(&recording(text), expect);
}

fn check_recording(recording: &Recording, expect: Expect) {
    let (demand, notes) = model::demand::extract(recording, None);
    let mut written = String::new();
    model::demand::write(&demand, &mut written).expect("a string takes anything");
    let is_told = |line: &&str| !line.starts_with("assumed ") && !line.starts_with("newidle ");
    let mut told: String =
        written.lines().filter(is_told).map(|line| line.to_owned() + "\n").collect();
    for (note, times) in notes {
        told += &format!("# {note:?} x{times}\n");
    }
    expect.assert_eq(&told);
}

/// What is assumed of a machine that nothing describes.
#[test]
fn a_machine_is_told_from_what_is_assumed_of_it() {
    let recording = recording("5 0 a switch a R b\n25 3 c switch c S idle");
    let (demand, _) = model::demand::extract(&recording, None);
    expect![[r#"
        cpus 0,3
        newidle ?
        assumed "HZ=1000"
        assumed "full preemption"
        assumed "slices timed by hrtick"
        assumed "base slice 1400000 ns"
        assumed "one last-level cache"
        assumed "ticks at multiples of their period"
        start 0.005
        end 0.025
    "#]]
    .assert_eq(&demand.to_script().machine.to_string());
}

#[test]
fn a_wake_by_a_task_is_a_step_of_that_task() {
    check(
        "0 0 a switch a R a
         0 1 b switch b R b
         10 1 b switch b S idle
         30 0 a waking b 1
         31 0 a wakeup b 1
         32 1 idle switch idle R b
         50 1 b switch b X idle
         60 0 a switch a R a",
        expect![[r#"
            cpus 2
            latency wake-idle 0.002 wake-deep 0.002
            end 0.06

            a  allowed all  run 0.03  wake b  run 0.03  ...
            b  ended  cpu 1  allowed all  run 0.01  wait  run 0.018
        "#]],
    );
}

/// An interrupt ends what no task does: the sleep has a length of its own.
#[test]
fn a_wake_by_an_interrupt_ends_a_sleep() {
    check(
        "0 0 a switch a S idle
         30 0 idle | waking a 0
         31 0 idle | wakeup a 0
         32 0 idle switch idle R a
         50 0 a switch a D idle
         90 0 idle | waking a 0
         92 0 idle switch idle R a
         99 0 a switch a R a",
        expect![[r#"
            latency wake-idle 0.002 wake-deep 0.002
            end 0.099

            a  allowed all  sleep 0.03  run 0.018  sleep 0.04 D  run 0.007  ...
        "#]],
    );
}

#[test]
fn sleeps_that_keep_to_a_period_end_at_releases() {
    // Every 10 ms, whatever the work took.
    let round = |n: u64| {
        let at = 10_000 * n;
        format!(
            "{at} 0 idle | waking a 0\n{at} 0 idle switch idle R a\n{} 0 a switch a S idle\n",
            at + 1000 + 700 * (n % 3)
        )
    };
    check(
        &(1..9).map(round).collect::<String>(),
        expect![[r#"
        start 10
        end 82.4

        a  allowed all  asleep
            sleep-until 10  run 1.7  sleep-every 10 20  run 2.4  sleep-every 10 20  run 1  sleep-every 10 20
            run 1.7  sleep-every 10 20  run 2.4  sleep-every 10 20  run 1  sleep-every 10 20  run 1.7
            sleep-every 10 20  run 2.4  wait  ...
        # WaitCutOff x1
    "#]],
    );
}

/// Rounds of equal sleeps are a loop that goes on as long as there is time.
#[test]
fn a_closed_loop_has_rounds() {
    let mut at = 0;
    let mut text = String::new();
    for n in 0..7u64 {
        let (left, back) = (at + 300 + 90 * (n % 2), at + 1000 + 90 * (n % 2) + 137 * (n % 3));
        text += &format!(
            "{left} 0 a switch a S idle\n{back} 0 idle | waking a 0\n{back} 0 idle switch idle R a\n"
        );
        at = back;
    }
    check(
        &text,
        expect![[r#"
        start 0.3
        end 8.092

        a  allowed all
            sleep 0.7
            round  run 0.39  sleep 0.837
            round  run 0.3  sleep 0.974
            round  run 0.39  sleep 0.7
            round  run 0.3  sleep 0.837
            round  run 0.39  sleep 0.974
            round  run 0.3  sleep 0.7
            rounds-over  ...
    "#]],
    );
}

/// Mutex calls are not recorded: who lets go has had it since some time before.
#[test]
fn a_section_whose_start_is_not_recorded_is_guessed() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R high
         10 1 high begin m 33
         20 1 high begin m 32
         21 1 high switch high D idle
         40 0 low release m
         41 0 low waking high 1
         42 1 idle switch idle R high
         44 1 high end m 0
         60 1 high switch high S idle
         70 0 low switch low S idle",
        expect![[r#"
            cpus 2
            latency lock-sleep 0.001 lock-wake 0.002
            end 0.07
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            low  allowed all  run 0.01  lock m0  run 0.03  unlock m0  run 0.03  wait  ...
            y  cpu 1  allowed all  ...
            high  cpu 1  allowed all  run 0.01  lock m0  run 0.016  unlock m0  wait  ...
            # SectionStartGuessed x1
            # SectionEndGuessed x1
            # WaitCutOff x2
        "#]],
    );
}

/// Nobody says when `high` lets go: `third` has the mutex later.
#[test]
fn a_section_whose_end_is_not_recorded_is_guessed() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R high
         0 2 z switch z R third
         10 1 high begin m 33
         30 0 low release m
         31 1 high end m 0
         50 1 high switch high S idle
         60 2 third begin m 33
         70 0 low release m
         71 2 third end m 0
         80 2 third release m
         90 2 third switch third S idle
         95 0 low switch low S idle",
        expect![[r#"
            cpus 3
            latency lock-contended 0.011
            end 0.095
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            low  allowed all
                run 0.01  lock m0  run 0.02  unlock m0  run 0.03  lock m0  run 0.01  unlock m0  run 0.025  wait
                ...
            y  cpu 1  allowed all  ...
            high  cpu 1  allowed all  run 0.01  lock m0  run 0.009  unlock m0  run 0.01  wait  ...
            z  cpu 2  allowed all  ...
            third  cpu 2  allowed all  run 0.06  lock m0  run 0.009  unlock m0  run 0.01  wait  ...
            # SectionStartGuessed x2
            # SectionEndGuessed x1
            # WaitCutOff x3
        "#]],
    );
}

/// `low` waits for bytes, and not for `high`; its section of the pipe's mutex is not recorded.
#[test]
fn a_wait_for_bytes_is_one_for_the_pipe() {
    check(
        "0 0 x switch x R low
         10 0 low take p 100 m
         20 0 low switch low S high
         30 0 high put p 100 m
         40 0 high waking low 0
         42 0 high wakeup low 0
         50 0 high moved p 100
         60 0 high switch high S low
         70 0 low moved p 100
         90 0 low switch low S idle",
        expect![[r#"
            end 0.09
            mutex m0 0x2
            pipe pipe0 0x1 mutex m0

            x  allowed all  ...
            low  allowed all
                run 0.01  lock m0  run 0.01  take pipe0 100  run 0.01  unlock m0  run 0.02  wait  ...
            high  allowed all  run 0.01  lock m0  run 0.01  put pipe0 100  unlock m0  run 0.02  wait  ...
            # WaitCutOff x2
        "#]],
    );
}

/// Whoever closes a pipe ends a wait for it too; no bytes come, and the task is waited for.
#[test]
fn a_wait_that_somebody_else_ends_is_one_for_a_task() {
    check(
        "0 0 x switch x R low
         10 0 low take p 100 m
         20 0 low switch low S high
         40 0 high waking low 0
         60 0 high switch high S low
         70 0 low moved p 0
         90 0 low switch low S idle",
        expect![[r#"
            end 0.09
            mutex m0 0x2
            pipe pipe0 0x1 mutex m0

            x  allowed all  ...
            low  allowed all
                run 0.01  lock m0  run 0.01  unlock m0  wait  lock m0  run 0.01  unlock m0  run 0.02  wait  ...
            high  allowed all  run 0.02  wake low  run 0.02  wait  ...
            # WaitCutOff x2
        "#]],
    );
}

/// A write that a signal ends behind its wait holds the mutex until that wait, and not through it.
#[test]
fn a_write_that_a_signal_ends_has_let_go_of_the_mutex() {
    check(
        "0 0 x switch x R low
         10 0 low put p 100 m
         20 0 low switch low S idle
         50 0 idle | waking low 0
         52 0 idle switch idle R low
         60 0 low moved p 40
         90 0 low switch low S idle",
        expect![[r#"
            end 0.09
            mutex m0 0x2
            pipe pipe0 0x1 mutex m0

            x  allowed all  ...
            low  allowed all
                run 0.01  lock m0  run 0.01  put pipe0 40  unlock m0  sleep 0.03  lock m0  run 0.008  unlock m0
                run 0.03  wait  ...
            # WaitCutOff x1
        "#]],
    );
}

/// `low` is woken on its way to sleep: that wakeup is put into the first call of `high`, which is in
/// its second one by then. The section of the first one stays.
#[test]
fn a_wakeup_in_the_past_of_a_call_is_no_part_of_it() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R high
         10 1 high put p 100 m
         15 1 high waking low 0
         20 1 high moved p 100
         30 1 high put p 100 m
         32 0 low switch low S idle
         34 1 high wakeup low 0
         40 1 high moved p 100
         50 1 high switch high S idle
         52 0 idle switch idle R low
         60 0 low switch low S idle",
        expect![[r#"
            cpus 2
            latency wake-idle 0.037 wake-deep 0.037
            end 0.06
            mutex m0 0x2
            pipe pipe0 0x1 mutex m0

            x  allowed all  ...
            low  allowed all  run 0.032  wait  run 0.008  wait  ...
            y  cpu 1  allowed all  ...
            high  cpu 1  allowed all
                run 0.015  wake low  lock m0  run 0.005  put pipe0 100  unlock m0  run 0.01  lock m0  run 0.01
                put pipe0 100  unlock m0  run 0.01  wait  ...
            # WaitCutOff x2
        "#]],
    );
}

/// A call that does not wait asks for all it asked for, also where it got nothing.
#[test]
fn a_call_that_does_not_wait() {
    check(
        "0 0 x switch x R low
         10 0 low take p 64! -
         20 0 low moved p -11
         30 0 low put p 64! -
         40 0 low moved p 64
         90 0 low switch low S idle",
        expect![[r#"
            end 0.09
            pipe pipe0 0x1

            x  allowed all  ...
            low  allowed all
                run 0.02  take pipe0 64 nonblocking  run 0.02  put pipe0 64 nonblocking  run 0.05  wait  ...
            # WaitCutOff x1
        "#]],
    );
}

/// Bytes that come out and did not go in were there before.
#[test]
fn a_pipe_has_bytes_in_it_from_before() {
    check(
        "0 0 x switch x R low
         10 0 low take p 100 -
         20 0 low moved p 70
         30 0 low put p 30 -
         40 0 low moved p 30
         50 0 low take p 100 -
         60 0 low moved p 60
         90 0 low switch low S idle",
        expect![[r#"
            end 0.09
            pipe pipe0 0x1 filled 100

            x  allowed all  ...
            low  allowed all
                run 0.02  take pipe0 70  run 0.02  put pipe0 30  run 0.02  take pipe0 60  run 0.03  wait  ...
            # WaitCutOff x1
        "#]],
    );
}

/// Without all records of a pipe its bytes would be waited for without end.
#[test]
fn where_records_of_pipes_are_lost_tasks_are_waited_for() {
    let text = "0 0 x switch x R low
         10 0 low take p 100 m
         20 0 low switch low S high
         30 0 high put p 100 m
         40 0 high waking low 0
         50 0 high moved p 100
         60 0 high switch high S low
         70 0 low moved p 100
         90 0 low switch low S idle
         lost 0 80 85";
    let mut recording = recording(text);
    let notes = |recording: &Recording| model::demand::extract(recording, None).1;
    assert_eq!(notes(&recording).get(&DemandNote::TransfersLost), None);
    recording.lost[0].what = LostWhat::OwnRecords;
    assert_eq!(notes(&recording).get(&DemandNote::TransfersLost), Some(&1));
    let (demand, _) = model::demand::extract(&recording, None);
    let is_moved = |op: &Op| matches!(op, Op::Put { .. } | Op::Take { .. });
    assert!(!demand.tasks.iter().any(|task| task.ops.iter().any(is_moved)));
}

#[test]
fn an_owner_that_is_recorded() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R high
         10 1 high begin m 33
         10 1 high owner m 33 low 0
         20 1 high begin m 32
         20 1 high owner m 32 low 1
         21 1 high switch high D idle
         40 0 low waking high 1
         42 1 idle switch idle R high
         44 1 high end m 0
         60 1 high switch high S idle
         70 0 low switch low S idle",
        expect![[r#"
            cpus 2
            latency lock-sleep 0.001 lock-wake 0.002
            end 0.07
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            low  allowed all  run 0.01  lock m0  run 0.03  unlock m0  run 0.03  wait  ...
            y  cpu 1  allowed all  ...
            high  cpu 1  allowed all  run 0.01  lock m0  run 0.016  unlock m0  wait  ...
            # SectionStartGuessed x1
            # SectionEndGuessed x1
            # WaitCutOff x2
        "#]],
    );
}

/// `a` is on a CPU while `w` spins, and has had the lock before: so it is taken for the owner. The
/// recorder found `b`, which nothing else gives away. The demand follows the record.
#[test]
fn where_a_conclusion_is_wrong_the_demand_follows_the_record() {
    let text = "0 0 x switch x R a
         0 1 y switch y R w
         0 2 z switch z R b
         5 0 a begin m 33
         8 0 a end m 0
         40 1 w begin m 33
         40 1 w owner m 33 b 0
         90 1 w end m 0
         100 0 a switch a S idle
         110 2 b switch b S idle
         120 1 w switch w S idle";
    check(
        text,
        expect![[r#"
            cpus 3
            latency lock-contended 0.003
            end 0.12
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            a  allowed all  run 0.005  lock m0  run 0.032  unlock m0  run 0.06  wait  ...
            y  cpu 1  allowed all  ...
            w  cpu 1  allowed all  run 0.04  lock m0  run 0.03  unlock m0  wait  ...
            z  cpu 2  allowed all  ...
            b  cpu 2  allowed all  run 0.04  lock m0  run 0.05  unlock m0  run 0.02  wait  ...
            # SectionStartGuessed x1
            # SectionEndGuessed x3
            # WaitCutOff x3
        "#]],
    );
    let mut without = recording(text);
    without.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    check_recording(
        &without,
        expect![[r#"
            cpus 3
            latency lock-contended 0.003
            end 0.12
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            a  allowed all  run 0.005  lock m0  run 0.082  unlock m0  run 0.01  wait  ...
            y  cpu 1  allowed all  ...
            w  cpu 1  allowed all
                run 0.005  lock m0  run 0.003  unlock m0  run 0.032  lock m0  run 0.03  unlock m0  wait  ...
            z  cpu 2  allowed all  ...
            b  cpu 2  allowed all  run 0.11  wait  ...
            # SectionStartGuessed x1
            # SectionEndGuessed x3
            # WaitCutOff x3
        "#]],
    );
}

#[test]
fn an_owner_that_its_wake_gives_away() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R high
         10 1 high begin m 33
         20 1 high begin m 32
         21 1 high switch high D idle
         40 0 low waking high 1
         42 1 idle switch idle R high
         44 1 high end m 0
         60 1 high switch high S idle
         70 0 low switch low S idle",
        expect![[r#"
            cpus 2
            latency lock-sleep 0.001 lock-wake 0.002
            end 0.07
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            low  allowed all  run 0.01  lock m0  run 0.03  unlock m0  run 0.03  wait  ...
            y  cpu 1  allowed all  ...
            high  cpu 1  allowed all  run 0.01  lock m0  run 0.016  unlock m0  wait  ...
            # SectionStartGuessed x1
            # SectionEndGuessed x1
            # WaitCutOff x2
        "#]],
    );
}

#[test]
fn sections_between_recorded_calls_are_exact() {
    check(
        "0 0 x switch x R a
         5 0 a lock m
         15 0 a unlock m
         20 0 a try m 1
         22 0 a unlock m
         30 0 a try n 0
         40 0 a switch a X idle",
        expect![[r#"
            end 0.04
            mutex m0 0x1
            mutex m1 0x2

            x  allowed all  ...
            a  ended  allowed all
                run 0.005  lock m0  run 0.01  unlock m0  run 0.005  trylock m0  run 0.002  unlock m0  run 0.008
                trylock-failed m1  run 0.01
        "#]],
    );
}

#[test]
fn a_forked_task_begins_at_a_step_of_its_parent() {
    check(
        "0 0 x switch x R a
         10 0 a fork a b
         12 0 a new b 1
         14 1 idle switch idle R b
         20 0 a switch a R a
         40 1 b switch b X idle
         50 0 a switch a X idle",
        expect![[r#"
            cpus 2
            end 0.05

            x  allowed all  ...
            a  ended  allowed all  run 0.012  fork b  run 0.038
            b  parent a  ended  forked  run 0.026
        "#]],
    );
}

/// What sets a priority mostly comes before the work that needs it.
#[test]
fn a_priority_is_changed_before_the_stretch_that_shows_it() {
    let switch = |us: u64, prev: &str, next: &str| {
        format!("  x-1 [000] d..2. 5.{us:06}: sched_switch: {prev} prev_state=R ==> {next}\n")
    };
    let prev = |prio: i32| format!("prev_comm=a prev_pid=7 prev_prio={prio}");
    let next = |prio: i32| format!("next_comm=a next_pid=7 next_prio={prio}");
    let (from_b, to_b) =
        ("prev_comm=b prev_pid=8 prev_prio=120", "next_comm=b next_pid=8 next_prio=120");
    let text = [
        switch(10, &prev(120), to_b),
        switch(20, from_b, &next(120)),
        switch(35, &prev(49), to_b),
        switch(45, from_b, &next(49)),
        switch(60, &prev(139), to_b),
    ]
    .concat();
    check_recording(
        &trace_formats::read(text.as_bytes()).expect("ftrace text"),
        expect![[r#"
        start 5000.01
        end 5000.06

        a  tid 7  allowed all  set fifo 50  run 0.015  set fair nice 19  run 0.015  ...
        b  tid 8  allowed all  run 0.02  ...
    "#]],
    );
}

/// Tasks of one name are told apart, and a thread id that is used again is another task.
#[test]
fn tasks_of_one_name_have_numbers() {
    let mut text = String::new();
    for at in [10, 30] {
        text += &format!("{at} 0 a fork a b\n{at} 0 a new b 1\n");
        text += &format!("{} 1 idle switch idle R b\n{} 1 b switch b X idle\n", at + 2, at + 9);
    }
    check(
        &(text + "50 0 a switch a X idle"),
        expect![[r#"
            cpus 2
            start 0.01
            end 0.05

            a  ended  allowed all  fork b.2  run 0.02  fork b.2.2  run 0.02
            b.2  comm b  parent a  ended  forked  run 0.007
            b.2.2  comm b  tid 2  parent a  ended  forked  run 0.007
        "#]],
    );
}

/// A recording whose events do not say in which context they were made.
fn without_contexts(text: &str) -> Recording {
    let mut recording = recording(text);
    recording.events.iter_mut().for_each(|e| e.context = model::Context::Unknown);
    recording
}

/// The steps of a task, by their first word.
fn steps(recording: &Recording, task: &str) -> Vec<String> {
    let (demand, _) = model::demand::extract(recording, None);
    let script = demand.to_script();
    let names = |t: &&trace_formats::script::Task| t.name == task;
    let steps = &script.tasks.iter().find(names).expect("it is there").steps;
    let word = |step: &trace_formats::script::Step| {
        format!("{step:?}").split(['(', ' ']).next().unwrap_or_default().to_lowercase()
    };
    steps.iter().map(word).collect()
}

/// `s` sleeps for ever other spans, and `x` or `y` is running when its timer expires.
#[test]
fn who_is_running_by_chance_when_a_timer_expires_wakes_nobody() {
    let mut text = String::from("0 0 s switch s R x\n");
    for n in 0..40_u64 {
        let (at, running) = (1000 + n * 1000, if n % 2 == 0 { "x" } else { "y" });
        let other = if n % 2 == 0 { "y" } else { "x" };
        let woken = at + 300 + n * 37 % 400;
        text += &format!("{woken} 0 {running} waking s 0\n{} 0 {running} wakeup s 0\n", woken + 1);
        text += &format!("{} 0 {running} switch {running} R s\n", woken + 2);
        text += &format!("{} 0 s switch s S {other}\n", woken + 20);
    }
    let recording = without_contexts(&text);
    assert!(!steps(&recording, "x").contains(&"wake".to_owned()));
    let sleeps = steps(&recording, "s").iter().filter(|s| s.starts_with("sleep")).count();
    // The first one: nothing is seen of how it fell asleep.
    assert!(sleeps >= 38, "{sleeps}");
}

/// The CPU idles half of the time, and `s` is never woken then: so `x` wakes it.
#[test]
fn who_is_always_there_while_the_cpu_also_idles_is_the_waker() {
    let mut text = String::from("0 0 idle switch idle R x\n");
    for n in 0..40_u64 {
        let at = 1000 + n * 1000;
        text += &format!("{} 0 x waking s 0\n{} 0 x wakeup s 0\n", at + 300, at + 301);
        text += &format!("{} 0 x switch x S s\n", at + 400);
        text += &format!("{} 0 s switch s S idle\n", at + 420);
        text += &format!("{} 0 idle waking x 0\n{} 0 idle wakeup x 0\n", at + 900, at + 901);
        text += &format!("{} 0 idle switch idle R x\n", at + 902);
    }
    let recording = without_contexts(&text);
    let wakes = steps(&recording, "x").iter().filter(|s| *s == "wake").count();
    assert_eq!(wakes, 40);
    assert!(steps(&recording, "x").iter().any(|s| s.starts_with("sleep")));
}

/// `w` gets the mutex twice in a row, and nobody else in between: one section for each time.
#[test]
fn who_waits_twice_in_a_row_has_two_sections() {
    check(
        "0 0 x switch x R low
         0 1 y switch y R w
         10 1 w begin m 33
         12 1 w begin m 32
         13 1 w switch w D idle
         20 0 low release m
         21 0 low waking w 1
         22 1 idle switch idle R w
         23 1 w end m 0
         60 1 w begin m 33
         62 1 w begin m 32
         63 1 w switch w D idle
         80 0 low release m
         81 0 low waking w 1
         82 1 idle switch idle R w
         83 1 w end m 0
         120 1 w switch w S idle
         130 0 low switch low S idle",
        expect![[r#"
            cpus 2
            latency lock-sleep 0.001 lock-wake 0.001
            end 0.13
            mutex m0 0x1 flags spin+mutex

            x  allowed all  ...
            low  allowed all
                run 0.01  lock m0  run 0.01  unlock m0  run 0.04  lock m0  run 0.02  unlock m0  run 0.05  wait
                ...
            y  cpu 1  allowed all  ...
            w  cpu 1  allowed all
                run 0.01  lock m0  run 0.037  unlock m0  lock m0  run 0.037  unlock m0  wait  ...
            # SectionStartGuessed x2
            # SectionEndGuessed x2
            # WaitCutOff x2
        "#]],
    );
}

/// Before Linux 7.0 nothing times slices by default; a kernel that says otherwise is believed.
#[test]
fn slices_end_at_ticks_on_older_kernels() {
    let recording = recording("5 0 a switch a R b\n25 0 c switch c S idle");
    let hrtick = |kernel: &str, feature: Option<bool>| {
        let mut host = Host { kernel: Some(kernel.to_owned()), ..Host::default() };
        host.features.extend(feature.map(|on| ("hrtick".to_owned(), on)));
        model::demand::extract(&recording, Some(&host)).0.machine.hrtick
    };
    assert_eq!([hrtick("6.18.44-arch1", None), hrtick("7.3.0-rc7", None)], [false, true]);
    assert_eq!([hrtick("6.18.44", Some(true)), hrtick("7.3.0", Some(false))], [true, false]);
}

/// Twelve times: `low` finds the pipe empty and sleeps, `high` puts a message in and wakes it.
fn through_a_pipe(behind: &str) -> Recording {
    let mut text = String::from("0 0 x switch x R low\n");
    for round in 0..12 {
        let at = |us: u64| round * 100 + us;
        text += &format!(
            "{} 0 low lock m
             {} 0 low unlock m
             {} 0 low switch low S high
             {} 0 high lock m
             {} 0 high unlock m
             {} 0 high waking low 0
             {} 0 high switch high S low
             {} 0 low lock {behind}
             {} 0 low unlock {behind}
             {} 0 low || waking high 0\n",
            at(10),
            at(12),
            at(14),
            at(30),
            at(33),
            at(34),
            at(50),
            at(51),
            at(55),
            at(60),
        )
        .replace("||", "|");
    }
    recording(&text)
}

/// Only the calls of its mutex show a pipe: each section of it moves a message.
#[test]
fn a_pipe_is_known_by_the_sleeps_behind_its_mutex() {
    let (demand, notes) = model::demand::extract(&through_a_pipe("m"), None);
    assert_eq!(notes.get(&DemandNote::PipeInferred), Some(&1));
    let mut text = String::new();
    model::demand::write(&demand, &mut text).expect("a string takes anything");
    let kept = |line: &&str| ["pipe", "latency", "low", "high"].iter().any(|w| line.starts_with(w));
    let told: Vec<String> =
        text.lines().filter(kept).map(|l| l.chars().take(90).collect()).collect();
    expect![[r#"
        latency buffer-sleep 0.004 buffer-wake 0.002
        pipe pipe0 0x1 4294967295 messages mutex m0
        low  allowed all
        high  allowed all"#]]
    .assert_eq(&told.join("\n"));
    let n =
        |is: fn(&Op) -> bool| demand.tasks.iter().flat_map(|t| &t.ops).filter(|op| is(op)).count();
    assert_eq!(n(|op| matches!(op, Op::Put { .. })), 12);
    assert_eq!(n(|op| matches!(op, Op::Take { .. })), 12);
    assert_eq!(n(|op| matches!(op, Op::Wake { .. })), 0);
}

/// Whoever takes another mutex behind its sleep has waited for something else.
#[test]
fn sleeps_behind_a_mutex_that_is_not_taken_again_are_no_pipe() {
    let (demand, notes) = model::demand::extract(&through_a_pipe("other"), None);
    assert_eq!(notes.get(&DemandNote::PipeInferred), None);
    assert_eq!(demand.buffers, []);
}
