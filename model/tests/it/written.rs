//! Demands as text: whatever a demand says, its text says, and no text breaks the reader.

use fixtures::Dice;
use model::demand::{
    Arrival, BufferIndex, BufferKind, DemandBuffer, DemandLock, Group, GroupIndex, InitialFair,
    Latencies, LockIndex, Machine, Op, Preemption, Rounds, SchedParams, SleepEnd, TaskDemand,
    write,
};
use model::{
    CpuId, CpuSet, Demand, LockFlags, LockId, Names, Nanos, PrevState, SchedPolicy, TaskId,
    TaskInfo, Tid, Timestamp,
};
use trace_formats::script;

const NAMES: [&str; 12] = [
    "low",
    "kworker/0:1-events",
    "a b",
    "",
    "#",
    "\"",
    "\\u{41}\\",
    "run",
    "cpus",
    "-- expect none",
    "\u{1b}[31m\n\r",
    "Тест\u{202e}",
];

fn one_of<T: Copy>(dice: &mut Dice, list: &[T]) -> T {
    list[dice.position(list.len())]
}

/// A demand in which nothing is as usual, except by chance.
struct Maker {
    dice: Dice,
    names: Names,
    tasks: usize,
    locks: usize,
}

impl Maker {
    fn number(&mut self) -> u64 {
        match self.dice.roll(4) {
            0 => 0,
            1 => self.dice.roll(3_000_000),
            2 => 39_623_617_123_456_789 + self.dice.roll(1 << 30),
            _ => u64::MAX - self.dice.roll(2),
        }
    }

    fn span(&mut self) -> Nanos {
        Nanos(self.number())
    }

    fn signed(&mut self) -> i32 {
        let number = i32::try_from(self.dice.roll(200)).expect("small") - 100;
        if self.dice.one_in(9) { i32::MIN + number.abs() } else { number }
    }

    fn params(&mut self) -> SchedParams {
        use SchedPolicy::{Batch, Deadline, Fifo, Idle, Other, Rr, Stop};
        let policy = one_of(&mut self.dice, &[Other, Batch, Idle, Fifo, Rr, Deadline, Stop]);
        let mut params = SchedParams { policy, ..SchedParams::default() };
        if self.dice.one_in(2) {
            (params.nice, params.rt_priority) = (self.signed(), self.signed());
        }
        if self.dice.one_in(2) {
            params.runtime = self.span();
            (params.deadline, params.period) = (self.span(), self.span());
        }
        params
    }

    fn task(&mut self) -> TaskId {
        TaskId(u32::try_from(self.dice.position(self.tasks)).expect("few"))
    }

    fn lock(&mut self) -> LockIndex {
        LockIndex(u32::try_from(self.dice.position(self.locks)).expect("few"))
    }

    fn flags(&mut self) -> LockFlags {
        let below = if self.dice.one_in(2) { 64 } else { 256 };
        LockFlags(u32::try_from(self.dice.roll(below)).expect("small"))
    }

    fn asleep(&mut self) -> (PrevState, Option<(LockIndex, LockFlags)>) {
        use PrevState::{
            Dead, IdleSleep, Interruptible, Parked, Preempted, Runnable, Stopped, Uninterruptible,
            Unknown,
        };
        let state = one_of(
            &mut self.dice,
            &[
                Dead,
                IdleSleep,
                Interruptible,
                Interruptible,
                Parked,
                Preempted,
                Runnable,
                Stopped,
                Uninterruptible,
                Unknown,
            ],
        );
        let on = self.dice.one_in(3).then(|| (self.lock(), self.flags()));
        (state, on)
    }

    fn op(&mut self) -> Op {
        let (state, on) = self.asleep();
        match self.dice.roll(20) {
            0 => Op::Compute(self.span()),
            1 => Op::Lock(self.lock()),
            2 => Op::LockInterruptible(self.lock()),
            3 => Op::Signal { target: self.task() },
            4 => Op::TryLock { lock: self.lock(), acquired: self.dice.one_in(2) },
            5 => Op::Unlock(self.lock()),
            6 => Op::Wake { target: self.task() },
            7 => Op::Wait { state, on },
            8 => Op::Sleep { until: SleepEnd::After(self.span()), state, on },
            9 => Op::Sleep { until: SleepEnd::At(Timestamp(self.number())), state, on },
            10 => {
                let (phase, period) = (Timestamp(self.number()), Nanos(self.number().max(1)));
                Op::Sleep { until: SleepEnd::Period { phase, period }, state, on }
            }
            11 => Op::Fork { child: self.task() },
            12 => Op::SetSched(self.params()),
            13 => Op::Yield,
            14 => Op::KeepAffinity,
            15 => Op::Contend { lock: self.lock(), flags: self.flags() },
            16 => Op::Contended { lock: self.lock(), ret: self.signed() },
            17 => {
                let (buffer, bytes) = self.transfer();
                Op::Put { buffer, bytes, is_nonblocking: self.dice.one_in(3) }
            }
            18 => {
                let (buffer, bytes) = self.transfer();
                Op::Take { buffer, bytes, is_nonblocking: self.dice.one_in(3) }
            }
            _ => Op::Exit,
        }
    }

    fn transfer(&mut self) -> (BufferIndex, u32) {
        let bytes = 1 + self.dice.roll(i32::MAX.unsigned_abs().into());
        (BufferIndex(u32::from(self.dice.one_in(2))), u32::try_from(bytes).expect("31 bits"))
    }

    fn buffer(&mut self) -> DemandBuffer {
        let mut number = || 1 + u32::try_from(self.dice.roll(1 << 30)).expect("30 bits");
        let kinds = [
            BufferKind::Pipe { pages: number() },
            BufferKind::Packets { pages: number() },
            BufferKind::Socket { room: number() },
            BufferKind::Messages { room: number(), step: number() },
            BufferKind::Messages { room: number(), step: 1 },
            BufferKind::Pipe { pages: 16 },
        ];
        DemandBuffer {
            address: self.number(),
            kind: one_of(&mut self.dice, &kinds),
            mutex: self.dice.one_in(2).then(|| self.lock()),
            filled: if self.dice.one_in(2) { 0 } else { 4097 },
        }
    }

    fn rounds(&mut self, ops: usize) -> Option<Rounds> {
        let seams: Vec<usize> = (0..=ops).filter(|_| self.dice.one_in(3)).collect();
        let all: Vec<_> = seams.windows(2).map(|w| w[0]..w[1]).collect();
        let repeatable: Vec<_> = all.into_iter().filter(|_| self.dice.one_in(2)).collect();
        let own_from = if self.dice.one_in(2) { self.dice.position(ops + 1) } else { 0 };
        let until = self.dice.one_in(2).then(|| Timestamp(self.number()));
        (!repeatable.is_empty()).then_some(Rounds { seams, repeatable, own_from, until })
    }

    fn cpus(&mut self) -> Vec<CpuId> {
        let mut cpu = 0;
        let mut next = || {
            cpu += if self.dice.one_in(3) { 1 + self.dice.roll(200) } else { 1 };
            CpuId(u32::try_from(cpu).expect("small"))
        };
        (0..6).map(|_| next()).collect()
    }

    fn whole_task(&mut self, machine: &Machine) -> TaskDemand {
        let n = self.dice.position(12);
        let ops: Vec<Op> = (0..n).map(|_| self.op()).collect();
        let cpu = one_of(&mut self.dice, &machine.cpus);
        let sched = self.params();
        let name = one_of(&mut self.dice, &NAMES);
        TaskDemand {
            info: TaskInfo {
                tid: Tid(self.signed()),
                comm: self.names.id(name),
                prio: self.dice.one_in(2).then(|| self.signed()),
                parent: self.dice.one_in(3).then(|| self.task()),
                ended: self.dice.one_in(2),
            },
            arrival: match self.dice.roll(3) {
                0 => Arrival::At(Timestamp(self.number()), cpu),
                1 => Arrival::Asleep(cpu),
                _ => Arrival::Forked,
            },
            sched,
            affinity: self
                .dice
                .one_in(2)
                .then(|| CpuSet::of(&self.cpus()[self.dice.position(7)..])),
            beside_affinity: self.dice.one_in(3).then(|| CpuSet::of(&self.cpus())),
            group: self.dice.one_in(2).then_some(GroupIndex(1)),
            holds: (0..self.dice.position(3)).map(|_| self.lock()).collect(),
            initial_fair: self.dice.one_in(3).then(|| InitialFair {
                vruntime_ns: self.signed().into(),
                deadline_ns: i64::MIN,
                lag_ns: i64::MAX,
            }),
            rounds: self.rounds(ops.len()),
            ops,
        }
    }

    fn machine(&mut self) -> Machine {
        let cpus = self.cpus();
        let n = cpus.len();
        let mut shared = |most: u64| -> Vec<u32> {
            (0..n).map(|_| u32::try_from(self.dice.roll(most)).expect("small")).collect()
        };
        let (core_of_cpu, llc_of_cpu, node_of_cpu) = (shared(n as u64), shared(2), shared(1));
        let newidle = |dice: &mut Dice| dice.one_in(2).then_some(7);
        use Preemption::{Full, Lazy, None, Voluntary};
        Machine {
            passes_over_halted: self.dice.one_in(2),
            newidle_of_cpu: cpus.iter().map(|_| newidle(&mut self.dice)).collect(),
            cpus,
            hz: one_of(&mut self.dice, &[1, 250, 1000]),
            tick_phase: self.span(),
            preemption: one_of(&mut self.dice, &[None, Voluntary, Lazy, Full]),
            hrtick: self.dice.one_in(2),
            base_slice: Nanos(1 + self.dice.roll(5_000_000)),
            core_of_cpu,
            llc_of_cpu,
            node_of_cpu,
            assumed: vec![one_of(&mut self.dice, &NAMES).to_owned()],
        }
    }
}

fn demand(seed: u64) -> Demand {
    let mut m = Maker { dice: Dice::new(seed), names: Names::default(), tasks: 5, locks: 4 };
    let machine = m.machine();
    let tasks = (0..m.tasks).map(|_| m.whole_task(&machine)).collect();
    let lock = |m: &mut Maker| DemandLock {
        lock: LockId(m.number()),
        flags: m.flags(),
        has_preemption_points: m.dice.one_in(2),
    };
    let group = |path: &str, parent| Group { path: path.to_owned(), parent, weight: 70 };
    let (start, length) = (m.dice.roll(1 << 62), m.dice.roll(1 << 62));
    Demand {
        locks: (0..m.locks).map(|_| lock(&mut m)).collect(),
        groups: vec![group("/a b", None), group("/a b/in", Some(GroupIndex(0)))],
        latencies: Latencies {
            wake_busy: m.span(),
            wake_idle: m.span(),
            wake_deep: m.span(),
            slice_end: m.span(),
            lock_contended: m.span(),
            lock_sleep: m.span(),
            lock_wake: m.span(),
            buffer_sleep: m.span(),
            buffer_wake: m.span(),
            buffer_tell: m.span(),
        },
        buffers: (0..2).map(|_| m.buffer()).collect(),
        odd_affinities: Vec::new(),
        stretches: Vec::new(),
        start: Timestamp(start),
        end: Timestamp(start + length),
        machine,
        tasks,
        names: m.names,
    }
}

fn text(demand: &Demand) -> String {
    let mut text = String::new();
    write(demand, &mut text).expect("a string takes anything");
    text
}

/// A demand without the numbers of its names.
fn parts(demand: &Demand) -> String {
    let comms: Vec<&str> = demand.tasks.iter().map(|t| demand.names.text(t.info.comm)).collect();
    let tasks: Vec<TaskDemand> = demand
        .tasks
        .iter()
        .map(|t| TaskDemand {
            info: TaskInfo { comm: Names::default().id(""), ..t.info.clone() },
            ..t.clone()
        })
        .collect();
    let Demand { machine, locks, buffers, groups, latencies, start, end, .. } = demand;
    format!(
        "{comms:?} {tasks:?} {machine:?} {locks:?} {buffers:?} {groups:?} {latencies:?} {start} {end}"
    )
}

#[test]
fn everything_that_a_demand_says_comes_back() {
    for seed in 0..500 {
        let demand = demand(seed);
        let text = text(&demand);
        let script = script::parse(&text).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        let back = Demand::from_script(&script);
        assert_eq!(parts(&back), parts(&demand), "seed {seed}\n{text}");
        assert_eq!(self::text(&back), text, "seed {seed}");
    }
}

/// Damaged text is refused or read, and what is read can be written.
#[test]
fn no_text_breaks_the_reader() {
    let scenarios = fixtures::list("scenario").into_iter().map(|file| fixtures::text(&file));
    let texts: Vec<String> = scenarios.chain((0..50).map(|seed| text(&demand(seed)))).collect();
    let words: Vec<&str> = texts.iter().flat_map(|t| t.split_whitespace()).collect();
    let mut dice = Dice::new(7);
    let mut read = 0;
    for n in 0..4000 {
        let mut damaged: Vec<String> = texts[n % texts.len()]
            .split_inclusive(char::is_whitespace)
            .map(str::to_owned)
            .collect();
        for _ in 0..1 + dice.roll(3) {
            let at = dice.position(damaged.len());
            damaged[at] = match dice.roll(4) {
                0 => String::new(),
                1 => damaged[at].trim_end().to_owned(),
                2 => dice
                    .pick(&["\"", "\\", "#", "-", "\n", "\0", "18446744073709.551615 "])
                    .to_owned(),
                _ => one_of(&mut dice, &words).to_owned() + " ",
            };
        }
        let Ok(script) = script::parse(&damaged.concat()) else { continue };
        let demand = Demand::from_script(&script);
        let again =
            script::parse(&text(&demand)).unwrap_or_else(|e| panic!("{e}\n{}", text(&demand)));
        assert_eq!(parts(&Demand::from_script(&again)), parts(&demand), "{}", damaged.concat());
        // The text of the script itself is as good, whatever its tasks and locks are called.
        let again = script::parse(&script.to_string()).unwrap_or_else(|e| panic!("{e}\n{script}"));
        assert_eq!(again.to_string(), script.to_string());
        read += 1;
    }
    assert!(read > 400, "only {read} of 4000 texts were read");
}
