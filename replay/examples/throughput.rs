//! How many recorded events a second the engine replays, on one core.
//!
//! `cargo xtask bench replay` runs it: a generated workload, half of it, and recordings by name.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its arguments")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first fault")]

use fixtures::Dice;
use model::demand::{LockIndex, Op, SleepEnd};
use model::{Demand, Host, Nanos, PrevState, Timestamp};
use replay::{Options, Policy};
use std::time::Instant;

/// 24 tasks on 4 CPUs and 4 mutexes, `rounds` rounds each of computing, two sections and a sleep.
fn generated(rounds: usize) -> Demand {
    let mut text = String::from("cpus 4\n");
    for task in 0..24 {
        let class = match task % 6 {
            0 => "fifo 50".to_owned(),
            n => format!("fair nice {}", (n - 3) * 4),
        };
        text += &format!(
            "T{task} {class} cpu {} allowed 0,1,2,3 at 0 lock m{} unlock m{}\n",
            task % 4,
            task % 4,
            task % 4
        );
    }
    let mut demand = Demand::from_script(&trace_formats::script::parse(&text).unwrap());
    let mut dice = Dice::new(42);
    let mut work = 0;
    for task in &mut demand.tasks {
        task.ops.clear();
        for _ in 0..rounds {
            for _ in 0..2 {
                let lock = LockIndex(u32::try_from(dice.roll(4)).unwrap());
                let (before, inside) = ((2_000 + dice.roll(38_000)), (500 + dice.roll(7_500)));
                work += before + inside;
                task.ops.extend([
                    Op::Compute(Nanos(before)),
                    Op::Lock(lock),
                    Op::Compute(Nanos(inside)),
                    Op::Unlock(lock),
                ]);
            }
            let until = SleepEnd::After(Nanos(100_000 + dice.roll(300_000)));
            task.ops.push(Op::Sleep { until, state: PrevState::Interruptible, on: None });
        }
        task.ops.push(Op::Exit);
    }
    // Enough for all of it, were three of the four CPUs to do it.
    demand.end = Timestamp(work / 3 + rounds as u64 * 400_000);
    demand
}

/// Peak resident memory of this process so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Replays and prints a line; `recorded` is the number of events of the recording, when there is one.
fn measure(name: &str, demand: &Demand, policy: Policy, recorded: Option<usize>) {
    let start = Instant::now();
    let schedule = replay::replay(demand, policy, &Options::default());
    let seconds = start.elapsed().as_secs_f64();
    let made = schedule.recording.events.len();
    let events = recorded.unwrap_or(made);
    println!(
        "{name:<28} {:<7} {events:>9} events recorded, {made:>9} replayed, {seconds:7.3} s: \
         {:6.2} M recorded events/s, {:6.2} M replayed events/s, peak {} MiB",
        policy.name(),
        events as f64 / seconds / 1e6,
        made as f64 / seconds / 1e6,
        peak_mib(),
    );
}

fn main() {
    for rounds in [46_000, 92_000] {
        let demand = generated(rounds);
        for policy in [Policy::None, Policy::Pe73] {
            measure(&format!("generated, {rounds} rounds"), &demand, policy, None);
        }
    }
    for path in std::env::args().skip(1) {
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let start = Instant::now();
        let bytes = std::fs::read(&path).unwrap();
        let recording = trace_formats::read(&bytes).unwrap();
        println!("{name}: read in {:.3} s", start.elapsed().as_secs_f64());
        let host = std::fs::read_to_string(format!("{path}.host.json")).ok();
        let host = host.map(|text| Host::from_json(&text).unwrap());
        let start = Instant::now();
        let (demand, _) = model::demand::extract(&recording, host.as_ref());
        println!("{name}: demand in {:.3} s", start.elapsed().as_secs_f64());
        for policy in [Policy::None, Policy::Pe73] {
            measure(&name, &demand, policy, Some(recording.events.len()));
        }
    }
}
