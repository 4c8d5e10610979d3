//! Affinities that the recording contradicts, or that make no sense: a schedule comes out.

use expect_test::{Expect, expect};
use fixtures::Dice;
use model::demand::{Choices, Cover, Demand};
use model::{CpuSet, History, Host, HostTask, Op, Recording, SchedEvent};
use replay::{Checks, Options, Policy};
use std::fmt::Write;

fn demand_of(recording: &Recording, host: &Host) -> Demand {
    let choices = Choices { literal: true, ..Choices::default() };
    History::read(recording, Some(host), Cover::default()).demand(choices).0
}

/// Who comes to which CPU when under `none`, and what is odd about affinities.
fn check(trace: &str, host: &str, expect: &Expect) {
    let recording = trace_formats::read(trace.as_bytes()).expect("a trace");
    let host = Host::from_json(host).expect("a sidecar");
    let demand = demand_of(&recording, &host);
    let options = Options { checks: Checks::All, ..Options::default() };
    let schedule = replay::replay(&demand, Policy::None, &options);
    let mut text = String::new();
    for odd in &demand.odd_affinities {
        let _ = writeln!(text, "{}", odd.text());
    }
    for event in &schedule.recording.events {
        let at = event.at.since(demand.start).0 / 1000;
        match event.kind {
            SchedEvent::Switch { next, .. } if next.0 != 0 => {
                let _ = writeln!(text, "{at} us: {} comes to CPU {}", next.0, event.cpu.0);
            }
            SchedEvent::MigrateTask { tid, dest_cpu, .. } => {
                let _ = writeln!(text, "{at} us: {} moves to CPU {}", tid.0, dest_cpu.0);
            }
            _ => {}
        }
    }
    expect.assert_eq(&text);
}

/// ftrace text of switches: (microseconds, CPU, who leaves, in which state, who comes).
fn switches(list: &[(u32, u32, u32, &str, u32)]) -> String {
    let name = |tid: u32| if tid == 0 { "swapper".to_owned() } else { format!("t{tid}") };
    let mut text = "# tracer: nop\n#\n".to_owned();
    for (at, cpu, prev, state, next) in list {
        let (p, n) = (name(*prev), name(*next));
        let _ = writeln!(
            text,
            " {p}-{prev} [{cpu:03}] d..2. 10.{at:06}: sched_switch: prev_comm={p} prev_pid={prev} \
             prev_prio=120 prev_state={state} ==> next_comm={n} next_pid={next} next_prio=120"
        );
    }
    text
}

#[test]
fn a_task_that_pins_itself_runs_elsewhere_before_and_nowhere_else_behind() {
    let trace = switches(&[
        (0, 0, 0, "R", 5),
        (0, 1, 0, "R", 6),
        (1000, 0, 5, "R", 0),
        (1010, 1, 6, "R", 5),
        (3000, 1, 5, "S", 6),
        (4000, 1, 6, "R", 5),
        (9000, 1, 5, "X", 6),
    ]);
    check(
        &trace,
        r#"{"cpus": [0, 1], "tasks": [{"tid": 5, "affinity": [1]}]}"#,
        &expect![[r#"
            0 us: 5 comes to CPU 0
            0 us: 6 comes to CPU 1
            1000 us: 5 moves to CPU 1
            1000 us: 5 comes to CPU 1
            2000 us: 6 moves to CPU 0
            2000 us: 6 comes to CPU 0
            3990 us: 5 comes to CPU 1
        "#]],
    );
}

#[test]
fn cpus_that_are_not_there_bind_nobody() {
    let trace = switches(&[(0, 1, 0, "R", 5), (1000, 1, 5, "S", 0), (3000, 1, 0, "R", 5)]);
    check(
        &trace,
        r#"{"cpus": [0, 1], "tasks": [{"tid": 5, "affinity": [7, 8, 4000000000]}]}"#,
        &expect![[r#"
            the sidecar allows t5 (5) on CPUs 7-8,4000000000, and the recording has none of these: taken as allowed everywhere
            0 us: 5 comes to CPU 1
            3000 us: 5 comes to CPU 1
        "#]],
    );
}

/// A sidecar that says anything at all of affinities.
fn garbage(dice: &mut Dice, recording: &Recording, host: &mut Host) {
    let tids = recording.events.iter().map(|e| e.tid.0);
    let tids: std::collections::BTreeSet<i32> = tids.filter(|tid| *tid != 0).collect();
    for tid in tids {
        let affinity = match dice.roll(6) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![900 + u32::try_from(dice.roll(9)).unwrap_or(0), u32::MAX]),
            _ => Some((0..4).filter(|_| dice.one_in(2)).collect()),
        };
        match host.tasks.iter_mut().find(|t| t.tid == Some(tid)) {
            Some(task) => task.affinity = affinity,
            None => {
                host.tasks.push(HostTask { tid: Some(tid), affinity, ..HostTask::default() });
            }
        }
    }
    if dice.one_in(3) {
        host.cpus = Some((0..4).collect());
    }
}

/// The same of the demand: what a reader of other files might make.
fn garble(dice: &mut Dice, demand: &mut Demand) {
    for task in &mut demand.tasks {
        let mut set = || {
            let cpus: Vec<_> = (0..5).filter(|_| dice.one_in(3)).map(model::CpuId).collect();
            Some(CpuSet::of(&cpus))
        };
        (task.affinity, task.beside_affinity) = (set(), set());
        let at = dice.position(task.ops.len() + 1);
        task.ops.insert(at, Op::KeepAffinity);
        task.rounds = None;
    }
}

#[test]
fn any_affinity_gives_a_schedule_under_every_policy() {
    let mut dice = Dice::new(5);
    for name in ["affine-full-2cpus.dat", "classic3-full.dat", "localhandoff-contention.dat"] {
        let recording = trace_formats::read(&fixtures::bytes(&format!("recorded/{name}")));
        let recording = recording.expect("a recording");
        let sidecar = fixtures::path(&format!("recorded/{name}.host.json"));
        let host = std::fs::read_to_string(sidecar).expect("a sidecar");
        for n in 0..6 {
            let mut host = Host::from_json(&host).expect("a sidecar");
            garbage(&mut dice, &recording, &mut host);
            let mut demand = demand_of(&recording, &host);
            let (_, divergence) = replay::recorded(&demand, &recording);
            assert_eq!(divergence, None, "{name}: affinities change no program");
            if n % 2 == 1 {
                garble(&mut dice, &mut demand);
            }
            for policy in Policy::ALL.into_iter().filter(|p| *p != Policy::Recorded) {
                let options = Options { checks: Checks::All, ..Options::default() };
                let schedule = replay::replay(&demand, policy, &options);
                assert!(schedule.recording.events.len() > 100, "{name} under {policy}");
            }
        }
    }
}
