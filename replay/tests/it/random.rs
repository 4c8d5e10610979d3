//! Random workloads under every policy: nothing is lost, nothing is invented, nothing breaks.
//!
//! A workload is the text of a scenario. One that fails is made as small as it still fails, and
//! printed: that text belongs into `fixtures/scenario`.

use fixtures::Dice;
use model::{Demand, PrevState, SchedEvent};
use replay::{Checks, Options, Policy, Schedule};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use trace_formats::script::{self, Script};

/// Workloads of the fast suite.
const FEW: u64 = 1_000;
/// Workloads of the slow test.
const MANY: u64 = 100_000;

/// One task of a workload: its attributes and its steps, so that each can be taken away.
#[derive(Clone, Debug)]
struct RandomTask {
    head: String,
    /// Groups of steps that belong together: a lock with its unlock.
    steps: Vec<String>,
}

#[derive(Clone, Debug)]
struct Workload {
    machine: String,
    tasks: Vec<RandomTask>,
}

impl Workload {
    fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let cpus = 1 + dice.roll(4);
        let preemption = dice.pick(&["full", "full", "full", "lazy", "none"]);
        let mut machine = format!("cpus {cpus}\npreemption {preemption}\nend 4000\n");
        machine += "pipe p mutex m9\nsocket s\npipe q 1 packets\n";
        if dice.one_in(3) {
            machine += "hrtick off\n";
        }
        match dice.roll(8) {
            0 => machine += "rwsem m0\n",
            1 => machine += "rt-mutex m1\n",
            _ => {}
        }
        if dice.one_in(4) {
            machine += "per-core 2\n";
        }
        if dice.one_in(4) {
            machine += "per-cache 2\n";
        }
        if dice.one_in(4) {
            let weights = [1 + dice.roll(200), 1 + dice.roll(200)];
            machine +=
                &format!("group G weight {}\ngroup H in G weight {}\n", weights[0], weights[1]);
        }
        let grouped = machine.contains("group");
        let tasks = (0..2 + dice.roll(6)).map(|n| {
            let mut made = task(&mut dice, n, cpus);
            if grouped && dice.one_in(2) {
                made.head += dice.pick(&[" in G", " in H"]);
            }
            made
        });
        let tasks = tasks.collect();
        Self { machine, tasks }
    }

    fn text(&self) -> String {
        let mut text = self.machine.clone();
        for task in &self.tasks {
            let _ = writeln!(text, "{}  {}", task.head, task.steps.join("  "));
        }
        text
    }

    /// All workloads with one thing less.
    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for t in 0..self.tasks.len() {
            let mut less = self.clone();
            less.tasks.remove(t);
            all.push(less);
            for s in 0..self.tasks[t].steps.len() {
                let mut less = self.clone();
                less.tasks[t].steps.remove(s);
                all.push(less);
            }
        }
        all
    }
}

fn task(dice: &mut Dice, n: u64, cpus: u64) -> RandomTask {
    let class = match dice.roll(8) {
        0 => format!("fifo {}", 1 + dice.roll(4)),
        1 => format!("rr {}", 1 + dice.roll(4)),
        2 => {
            let budget = 1 + dice.roll(3);
            format!("dl {budget} {} {}", budget + 4, budget + 4 + dice.roll(8))
        }
        3 => "batch".to_owned(),
        4 => "idle".to_owned(),
        5 if dice.one_in(4) => "stop".to_owned(),
        _ => format!("fair nice {}", dice.roll(40).cast_signed() - 20),
    };
    let cpu = dice.roll(cpus);
    let mut head = format!("T{n} {class} cpu {cpu}");
    if dice.one_in(2) {
        let half = dice.one_in(2);
        let allowed = (0..cpus).filter(|c| *c == cpu || !half || dice.one_in(2));
        let all: Vec<String> = allowed.map(|c| c.to_string()).collect();
        let _ = write!(head, " allowed {}", all.join(","));
    }
    let _ = write!(head, " at {}.{}", dice.roll(6), dice.roll(10));
    let steps = (0..1 + dice.roll(6)).map(|_| step(dice, 0)).collect();
    RandomTask { head, steps }
}

/// A step; locks nest in ascending order, so that no workload can deadlock.
fn step(dice: &mut Dice, lowest: u64) -> String {
    let run = |dice: &mut Dice| format!("run {}.{}", dice.roll(3), 1 + dice.roll(9));
    match dice.roll(7) {
        0 => format!("sleep {}.{}", dice.roll(3), 1 + dice.roll(9)),
        6 => recorded_step(dice, lowest),
        5 if lowest == 0 && dice.one_in(2) => transfer(dice),
        1 => run(dice),
        2 if dice.one_in(3) => "yield".to_owned(),
        _ if lowest < 3 => {
            let lock = lowest + dice.roll(3 - lowest);
            let word = dice.pick(&["lock", "lock", "lock", "trylock", "lock-interruptible"]);
            let mut inside = run(dice);
            if dice.one_in(3) {
                inside = format!("{inside} {}", step(dice, lock + 1));
            }
            format!("{word} m{lock} {inside} unlock m{lock}")
        }
        _ => run(dice),
    }
}

/// Bytes into a buffer and as many out of it: who puts first finds something to take in the end,
/// whoever else took it.
fn transfer(dice: &mut Dice) -> String {
    let bytes = 1 + dice.roll(300);
    let pause = format!("run 0.{}", 1 + dice.roll(9));
    match dice.roll(3) {
        0 => format!("put s {bytes} {pause} take s {bytes}"),
        1 => format!(
            "lock m9 put p {bytes} {pause} unlock m9 {pause} lock m9 take p {bytes} {pause} unlock m9"
        ),
        _ => "put q 1 nonblocking take q 2 nonblocking".to_owned(),
    }
}

/// What only recordings had before the language could say it.
fn recorded_step(dice: &mut Dice, lowest: u64) -> String {
    match dice.roll(8) {
        0 => format!("set fifo {}", 1 + dice.roll(4)),
        1 => format!("set fair nice {}", dice.roll(40).cast_signed() - 20),
        2 => "set batch".to_owned(),
        3 => format!("set rr {}", 1 + dice.roll(4)),
        4 => format!("sleep-every {}.5 {}", 1 + dice.roll(4), dice.roll(9)),
        5 => format!("sleep {} D", 1 + dice.roll(3)),
        6 if lowest < 3 => format!("trylock-failed m{}", lowest + dice.roll(3 - lowest)),
        _ => "set idle".to_owned(),
    }
}

fn exits(schedule: &Schedule) -> BTreeSet<i32> {
    let exit = |kind: &SchedEvent| match kind {
        SchedEvent::Switch { prev, prev_state: PrevState::Dead, .. } => Some(prev.0),
        _ => None,
    };
    schedule.recording.events.iter().filter_map(|e| exit(&e.kind)).collect()
}

/// What is wrong with a schedule; nothing, it is hoped.
fn fault(script: &Script, policy: Policy) -> Option<String> {
    let demand = Demand::from_script(script);
    let options = Options { checks: Checks::All, ..Options::default() };
    let replay = || replay::replay(&demand, policy, &options);
    let schedule = match catch_unwind(AssertUnwindSafe(replay)) {
        Ok(schedule) => schedule,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            return Some(text.unwrap_or_else(|| "a panic without words".to_owned()));
        }
    };
    let (mut executed, mut charged) = (0, 0);
    for time in &schedule.times {
        executed += time.executed.0;
        charged += time.charged.0;
    }
    if executed != charged {
        return Some(format!("{executed} ns were executed and {charged} ns charged"));
    }
    let gone = exits(&schedule);
    let lost = demand.tasks.iter().find(|t| !gone.contains(&t.info.tid.0));
    if let Some(lost) = lost {
        return Some(format!("task {} never ends", demand.names.text(lost.info.comm)));
    }
    let note = schedule.notes.first();
    note.map(|note| format!("noted at {}: {}", note.at, note.text))
}

fn faults(workload: &Workload) -> Option<(Policy, String)> {
    let script = script::parse(&workload.text()).ok()?;
    let policies = Policy::ALL.into_iter().filter(|p| *p != Policy::Recorded);
    policies.into_iter().find_map(|p| fault(&script, p).map(|fault| (p, fault)))
}

/// As small as it still fails.
fn minimised(workload: Workload) -> Workload {
    let mut smallest = workload;
    while let Some(less) = smallest.smaller().into_iter().find(|w| faults(w).is_some()) {
        smallest = less;
    }
    smallest
}

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let workload = Workload::of(seed);
        let parsed = script::parse(&workload.text());
        assert!(parsed.is_ok(), "seed {seed}: {parsed:?}\n{}", workload.text());
        if faults(&workload).is_some() {
            let smallest = minimised(workload);
            let (policy, fault) = faults(&smallest).expect("it still fails");
            panic!("seed {seed} under {policy}: {fault}\n{}", smallest.text());
        }
    }
}

#[test]
fn a_thousand_random_workloads() {
    check(0..FEW);
}

#[test]
#[ignore = "slow: run with `cargo test --release -p replay -- --ignored`"]
fn a_hundred_thousand_random_workloads() {
    check(0..MANY);
}

/// Two tasks that take two mutexes in opposite order never end, and the replay says why.
#[test]
fn a_deadlock_is_reported_with_its_cycle() {
    let text = "A fair at 0 lock a run 1 lock b unlock b unlock a\n\
                B fifo 9 at 0.5 lock b run 1 lock a unlock a unlock b\nend 50\n";
    let script = script::parse(text).expect("a scenario");
    for policy in Policy::ALL.into_iter().filter(|p| *p != Policy::Recorded) {
        let demand = Demand::from_script(&script);
        let schedule = replay::replay(&demand, policy, &Options::default());
        let notes: Vec<&str> = schedule.notes.iter().map(|n| n.text.as_str()).collect();
        let cycle = notes.iter().filter(|n| n.starts_with("deadlock: A (1), B (2) wait"));
        assert_eq!(cycle.count(), 1, "{policy}: {notes:?}");
    }
}

/// A holds the mutex and waits for B to wake it; B wants the mutex first.
#[test]
fn a_stall_is_reported_with_its_members() {
    let stalls = |text: &str| -> Vec<String> {
        let script = trace_formats::script::parse(text).expect("a scenario");
        let demand = Demand::from_script(&script);
        let notes = replay::replay(&demand, Policy::None, &Options::default()).notes;
        let stalls = notes.into_iter().filter(|n| n.is_stall);
        stalls.map(|n| format!("{} {}", n.at, n.text)).collect()
    };
    let (a, b) = ("at 0  lock m  run 1  wait  unlock m", "at 0  run 2  lock m  unlock m  wake A");
    assert_eq!(
        stalls(&format!("end 100\nA  fifo 50  {a}\nB  fifo 40  {b}\nC  fifo 30  run 50\n")),
        ["0.001000000 stall: from here on 2 tasks wait for what none of them can end: A (1) \
             waits to be woken by B (2); B (2) waits for lock 0xffff888000000000 of A (1)"]
    );
    // Each has the bytes that the other one waits for.
    let (a2, b2) = ("at 0  take p 1  put q 1", "at 0  run 2  take q 1  put p 1");
    assert_eq!(
        stalls(&format!("pipe p\npipe q\nend 100\nA  fifo 50  {a2}\nB  fifo 40  {b2}\n")),
        ["0.000000000 stall: from here on 2 tasks wait for what none of them can end: A (1) \
             waits for bytes in 0xffff889000000000 of B (2); B (2) waits for bytes in \
             0xffff889000000100 of A (1)"]
    );
    // Bytes that nobody has any more are the end of a program, and no stall.
    assert_eq!(stalls("pipe p\nend 100\nA  fifo 50  take p 1\nB  fifo 40  run 99\n"), [""; 0]);
    // B wakes before it asks, and nobody waits for ever.
    let b = "at 0  run 2  wake A  lock m  unlock m";
    assert_eq!(stalls(&format!("end 100\nA  fifo 50  {a}\nB  fifo 40  {b}\n")), [""; 0]);
    // At the end of a recording waits are cut off.
    let b = "at 0  run 1  lock m  unlock m  wake A";
    let a = "at 0  run 97  lock m  run 1  wait  unlock m";
    assert_eq!(stalls(&format!("end 100\nA  fifo 50  {a}\nB  fifo 40  {b}\n")), [""; 0]);
}
