//! The same demand under another policy.
//!
//! A deterministic discrete-event engine: [`replay`] takes a [`model::Demand`]
//! and a [`Policy`] and returns a [`Schedule`], which is itself a trace. Knows
//! policies, virtual time and rules; does not know that a file, a clock or a
//! user exists.

mod affine;
mod balance;
mod buffer;
mod costs;
mod decision;
mod dice;
mod donor;
mod emit;
mod engine;
mod fair;
mod feed;
mod group;
mod inherit;
mod invariant;
mod lock;
mod mechanism;
mod policy;
mod program;
mod realtime;
mod recorded;
pub mod rule;
mod sched;
mod select;
mod server;
mod stall;
mod state;
mod topology;
mod wake;

pub use costs::{Cost, Costs, UnknownCost};
pub use decision::{Decision, Rule};
pub use feed::Programs;
pub use mechanism::{GivesUp, ImpossibleSet, Mechanisms, Setting, Switch, UnknownSwitch};
pub use policy::{Policy, UnknownPolicy};
pub use recorded::{Divergence, recorded};

use engine::Engine;
use feed::Ends;
use model::{Demand, Event, FormatInfo, Nanos, Recording, Timestamp};

/// What a replay may be told beside the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Costs of the kernel's own work.
    pub costs: Costs,
    /// Mechanisms instead of the policy's own.
    pub mechanisms: Option<Mechanisms>,
    /// Where the kernel dices, the dice of this number are rolled; the same number, the same rolls.
    ///
    /// With any other number than 0 the costs vary too, evenly between half and one and a half of
    /// what they are: several seeds show what hangs on a few microseconds.
    pub seed: u64,
    /// How much the engine looks after itself.
    pub checks: Checks,
}

/// How much the engine checks while it runs; what it checks at no cost, it always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// What a step touches.
    #[default]
    Steps,
    /// Everything, after every instant: slow.
    All,
}

/// Something the reader of a replay must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayNote {
    /// When, in trace time.
    pub at: Timestamp,
    /// What.
    pub text: String,
    /// Whether tasks wait for each other from then on: nothing behind it is a prediction.
    pub is_stall: bool,
}

/// What proxy execution did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Blocked donors moved to their owner's CPU.
    pub donor_migrations: u64,
    /// Donors placed again in their wakeup.
    pub return_migrations: u64,
    /// Passes through the idle task to let go of a stack.
    pub idle_detours: u64,
    /// Mutexes handed over at unlock.
    pub handoffs: u64,
    /// Owners met on walks along donation chains.
    pub chain_hops: u64,
}

/// CPU time of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskTime {
    /// Executed.
    pub executed: Nanos,
    /// Charged to its scheduling context.
    pub charged: Nanos,
}

/// What is known of a replay beside its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Proxy execution's doings.
    pub counts: ProxyCounts,
    /// CPU time per task, indexed by `TaskId`.
    pub times: Vec<TaskTime>,
    /// What was odd.
    pub notes: Vec<ReplayNote>,
}

/// A replayed schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The schedule as a trace.
    pub recording: Recording,
    /// Proxy execution's doings.
    pub counts: ProxyCounts,
    /// CPU time per task, indexed by `TaskId`.
    pub times: Vec<TaskTime>,
    /// What was odd.
    pub notes: Vec<ReplayNote>,
}

/// Re-schedules `demand` under `policy`.
///
/// Same input, same events, in the same order, on any machine. The replay ends
/// with the recorded span. A task that comes to the end of its recorded program goes
/// on with its loop if it has one; else what it asks for next is unknown, and it leaves its CPU.
///
/// # Panics
///
/// When an invariant of the engine breaks: a bug here, never a property of the demand.
#[must_use]
pub fn replay(demand: &Demand, policy: Policy, options: &Options) -> Schedule {
    let mut events = Vec::new();
    let mut programs = demand;
    let totals = replay_stream(demand, &mut programs, policy, options, &mut |e| events.push(e));
    schedule(demand, policy, events, totals)
}

/// As [`replay`], with the rule behind each event of the schedule, in their order.
///
/// # Panics
///
/// As [`replay`].
#[must_use]
pub fn replay_with_rules(
    demand: &Demand,
    policy: Policy,
    options: &Options,
) -> (Schedule, Vec<Decision>) {
    let (mut events, mut decisions) = (Vec::new(), Vec::new());
    let mut programs = demand;
    let mut sink = |event, decision| {
        events.push(event);
        decisions.push(decision);
    };
    let totals = run(demand, &mut programs, policy, options, &mut sink);
    (schedule(demand, policy, events, totals), decisions)
}

fn schedule(demand: &Demand, policy: Policy, events: Vec<Event>, totals: Totals) -> Schedule {
    let recording = Recording {
        format: Some(FormatInfo {
            name: format!("replay under {policy}"),
            clock: None,
            kernel: None,
        }),
        span: Some((demand.start, demand.end)),
        events,
        names: demand.names.clone(),
        cpus: demand.machine.cpus.clone(),
        ..Recording::default()
    };
    Schedule { recording, counts: totals.counts, times: totals.times, notes: totals.notes }
}

/// As [`replay`], with programs from elsewhere and each event to `sink` as it happens.
///
/// The programs in `demand` itself are not looked at. What is in memory is bounded by the numbers
/// of tasks, CPUs and locks, whatever the length of the programs.
///
/// # Panics
///
/// As [`replay`].
pub fn replay_stream(
    demand: &Demand,
    programs: &mut dyn Programs,
    policy: Policy,
    options: &Options,
    sink: &mut dyn FnMut(Event),
) -> Totals {
    run(demand, programs, policy, options, &mut |event, _| sink(event))
}

fn run(
    demand: &Demand,
    programs: &mut dyn Programs,
    policy: Policy,
    options: &Options,
    sink: &mut dyn FnMut(Event, Decision),
) -> Totals {
    let mechanisms = options.mechanisms.unwrap_or_else(|| policy.mechanisms());
    let ends = Ends { programs, sink };
    let mut engine = Engine::new(demand, ends, mechanisms, options.costs);
    engine.checks = options.checks;
    engine.dice = dice::Dice::new(options.seed);
    engine.costs_vary = options.seed != 0;
    engine.run();
    engine.report_deadlocks();
    engine.report_stalls();
    let time =
        |t: &state::Task| TaskTime { executed: Nanos(t.executed), charged: Nanos(t.charged) };
    let times = engine.tasks.iter().map(time).collect();
    let out = engine.out;
    let counts = ProxyCounts {
        donor_migrations: out.donor_migrations,
        return_migrations: out.return_migrations,
        idle_detours: out.idle_detours,
        handoffs: out.handoffs,
        chain_hops: out.chain_hops,
    };
    Totals { counts, times, notes: out.odd }
}
