//! How many recorded events a second the engine replays, on one core.
//!
//! `cargo xtask bench replay` runs it: a generated workload, half of it, and recordings by name.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its arguments")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first fault")]

use fixtures::Dice;
use model::demand::{LockIndex, Op, SleepEnd};
use model::{Demand, Host, Nanos, PrevState, TaskId, Timestamp};
use replay::{Options, Policy, Programs};
use std::time::Instant;

/// Ops of one round of the generated workload.
const ROUND: usize = 9;

/// 24 tasks on 4 CPUs and 4 mutexes, each with rounds of computing, two sections and a sleep.
///
/// The rounds are diced when the engine asks for them; they are nowhere in memory.
struct Generated {
    rounds: usize,
}

impl Generated {
    /// Everything but the programs, with time enough for them were three of four CPUs at work.
    fn demand(&self) -> Demand {
        let mut text = String::from("cpus 4\n");
        for task in 0..24 {
            let class = match task % 6 {
                0 => "fifo 50".to_owned(),
                n => format!("fair nice {}", (n - 3) * 4),
            };
            let (cpu, lock) = (task % 4, task % 4);
            text += &format!(
                "T{task} {class} cpu {cpu} allowed 0,1,2,3 at 0 lock m{lock} unlock m{lock}\n"
            );
        }
        let mut demand = Demand::from_script(&trace_formats::script::parse(&text).unwrap());
        let work = 24 * 2 * (2_000 + 19_000 + 500 + 3_750);
        demand.end = Timestamp(self.rounds as u64 * (work / 3 + 400_000));
        demand
    }
}

impl Programs for Generated {
    fn read(&mut self, task: TaskId, from: usize, ops: &mut Vec<Op>) {
        let round = from / ROUND;
        if round == self.rounds {
            ops.extend(from.is_multiple_of(ROUND).then_some(Op::Exit));
        }
        if round >= self.rounds {
            return;
        }
        let mut dice = Dice::new((task.index() * self.rounds + round) as u64);
        let mut made = [Op::Yield; ROUND];
        for section in 0..2 {
            let lock = LockIndex(u32::try_from(dice.roll(4)).unwrap());
            let (before, inside) = (2_000 + dice.roll(38_000), 500 + dice.roll(7_500));
            made[section * 4..][..4].copy_from_slice(&[
                Op::Compute(Nanos(before)),
                Op::Lock(lock),
                Op::Compute(Nanos(inside)),
                Op::Unlock(lock),
            ]);
        }
        let until = SleepEnd::After(Nanos(100_000 + dice.roll(300_000)));
        made[ROUND - 1] = Op::Sleep { until, state: PrevState::Interruptible, on: None };
        ops.extend_from_slice(&made[from % ROUND..]);
    }
}

/// Peak resident memory of this process so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Replays and prints a line; `recorded` is the number of events of the recording, when there is one.
fn measure(
    name: &str,
    demand: &Demand,
    programs: &mut dyn Programs,
    policy: Policy,
    recorded: Option<usize>,
) {
    let start = Instant::now();
    let mut made = 0;
    let mut sink = |event| {
        std::hint::black_box(event);
        made += 1;
    };
    replay::replay_stream(demand, programs, policy, &Options::default(), &mut sink);
    let seconds = start.elapsed().as_secs_f64();
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
    for rounds in [46_000, 92_000, 184_000] {
        let mut generated = Generated { rounds };
        let demand = generated.demand();
        for policy in [Policy::None, Policy::Pe73] {
            let name = format!("generated, {rounds} rounds");
            measure(&name, &demand, &mut generated, policy, None);
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
            let recorded = Some(recording.events.len());
            measure(&name, &demand, &mut &demand, policy, recorded);
        }
    }
}
