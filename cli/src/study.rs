//! One recording under study: what was recorded, its replays, and how they compare.

use crate::ensemble::{self, Draws};
use crate::input::Input;
use crate::outcome::say;
use crate::render::name;
use analysis::{Comparison, Fidelity, Intervals, Summary};
use anyhow::{Result, bail};
use model::demand::{Choices, Cover, Demand, DemandNote};
use model::{History, Nanos, NoteKind, Recording, Trace};
use replay::{
    Costs, Decision, Mechanisms, Options, Policy, ProxyCounts, ReplayNote, Schedule, Setting,
};
use std::collections::BTreeMap;

/// Of many tasks whose affinity the recording contradicts these are named.
const SAID: usize = 4;

/// A recording and the demand in it.
pub(crate) struct Study {
    pub(crate) input: Input,
    origin: Origin,
    pub(crate) demand: Demand,
    pub(crate) guesses: BTreeMap<DemandNote, u64>,
    pub(crate) costs: Costs,
    /// Of the random numbers in replays that are no draws.
    pub(crate) seed: u64,
    cover: Cover,
}

/// Where the demand is from.
enum Origin {
    Recording(Box<History>),
    /// A scenario, and its schedule under `none` where others have what was recorded.
    Scenario(Box<Trace>),
}

/// A policy, with mechanisms switched by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) policy: Policy,
    pub(crate) mechanisms: Mechanisms,
    /// For people: `pe-7.3`, `pe-7.3+local-handoff-resched`, `pe-7.3!handoff`.
    pub(crate) name: String,
}

impl Variant {
    /// The policy as it is.
    pub(crate) fn plain(policy: Policy) -> Self {
        Self { policy, mechanisms: policy.mechanisms(), name: policy.name().to_owned() }
    }

    /// The policy with some mechanisms more and some less.
    pub(crate) fn of(
        policy: Policy,
        with: &[String],
        without: &[String],
        cover: Cover,
    ) -> Result<Self> {
        let mut variant = Self::plain(policy);
        // That is no question of mechanisms.
        variant.mechanisms.cover = Cover { user_locks: false, ..cover };
        for (is_on, name) in [(cover.rwsem, "rwsem"), (cover.pi_futex, "futex-pi")] {
            if is_on {
                variant.name = format!("{} on {name}", variant.name);
            }
        }
        for (list, sign) in [(with, '+'), (without, '!')] {
            for text in list {
                let setting = match (text.parse()?, sign) {
                    (Setting::With(switch), '!') => Setting::Without(switch),
                    (Setting::UnlockWindow(_), '!') => Setting::UnlockWindow(Nanos(0)),
                    (setting, _) => setting,
                };
                variant.mechanisms = variant.mechanisms.set(setting);
                variant.name = format!("{}{sign}{text}", variant.name);
            }
        }
        if policy == Policy::Recorded && !(with.is_empty() && without.is_empty()) {
            bail!("recorded: takes no mechanisms; name another policy, as in `--policy none`");
        }
        variant.mechanisms.check()?;
        Ok(variant)
    }
}

/// One replay.
pub(crate) struct Replayed {
    pub(crate) variant: Variant,
    pub(crate) recording: Recording,
    pub(crate) trace: Trace,
    pub(crate) counts: ProxyCounts,
    pub(crate) notes: Vec<ReplayNote>,
}

/// Why a recording cannot carry a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// It already contains the boosts.
    ProxyExecutionOn,
    /// No lock waits: nothing for proxy execution to act on.
    NoLockEvents,
    /// Events were lost.
    Lossy,
    /// Some time stamps are far away from the rest.
    OutOfTime,
    /// Nobody but some tasks was recorded.
    SomeTasksOnly,
}

impl Weakness {
    /// What is missing, what can still be asked, and what to record next time.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::ProxyExecutionOn => {
                "recorded with proxy execution on: its schedule already contains the boosts, so it \
                 is no baseline for a replay. It can still be analysed: `resched analyze`, \
                 `compare` and `info` take it. To predict, record with `sched_proxy_exec=0` on \
                 the kernel's command line"
            }
            Self::NoLockEvents => {
                "has no lock events: it is replayed, but no policy can be told from another by its \
                 locks. Responses and delays can still be asked. To see locks, record \
                 lock:contention_begin and lock:contention_end too"
            }
            Self::Lossy => {
                "events were lost while recording: numbers that touch a loss are marked, and the \
                 replay is inconclusive. Record again with larger buffers"
            }
            Self::SomeTasksOnly => {
                "only some tasks were recorded (`--only`, `--pid`): who else wanted a CPU is not \
                 known, so the replay is inconclusive. Record again without that"
            }
            Self::OutOfTime => {
                "more than ten minutes of silence split the events: time stamps are damaged, or the \
                 file holds several recordings. Only the stretch with the most events is \
                 replayed. `resched analyze` takes all of them"
            }
        }
    }
}

impl Study {
    /// Takes a recording that has a schedule at all.
    pub(crate) fn of(input: Input, costs: CostChoice) -> Result<Self> {
        Self::covering(input, costs, Cover::default())
    }

    /// As [`Self::of`], with the critical sections of more locks than mutexes.
    pub(crate) fn covering(mut input: Input, costs: CostChoice, cover: Cover) -> Result<Self> {
        if let Some(demand) = input.scenario.take() {
            let (costs, guesses) = (costs.of(&demand), BTreeMap::new());
            let origin = Origin::Scenario(Box::new(input.trace()));
            return Ok(Self { input, origin, demand, guesses, costs, seed: 0, cover });
        }
        let history = input.history(cover);
        if !history.trace.has("sched_switch") {
            bail!(
                "{}: has no sched:sched_switch, so nobody knows who ran when: there is nothing to \
                 replay. `resched info` still says what is in it. Record sched:sched_switch, \
                 sched:sched_waking and sched:sched_wakeup",
                input.name
            );
        }
        let (demand, guesses) = history.demand(Choices::default());
        for odd in demand.odd_affinities.iter().take(SAID) {
            say(&format!("note: {}: {}", input.name, name(&odd.text())));
        }
        if let Some(more @ 1..) = demand.odd_affinities.len().checked_sub(SAID) {
            say(&format!("note: {}: {more} more such tasks", input.name));
        }
        let costs = costs.of(&demand);
        let origin = Origin::Recording(Box::new(history));
        Ok(Self { input, origin, demand, guesses, costs, seed: 0, cover })
    }

    /// Whether nothing was recorded: a scenario says what tasks ask for, and no more.
    pub(crate) fn is_scenario(&self) -> bool {
        matches!(self.origin, Origin::Scenario(_))
    }

    /// What was recorded; of a scenario, its schedule under `none`.
    pub(crate) fn recorded(&self) -> &Trace {
        match &self.origin {
            Origin::Recording(history) => &history.trace,
            Origin::Scenario(trace) => trace,
        }
    }

    /// Other random numbers for what the recording leaves open: the draw `nth`.
    ///
    /// Guessed sections are as long as the known ones between their quartiles, from draw to draw:
    /// steps of the golden ratio spread any number of draws evenly.
    pub(crate) fn draw(&self, nth: usize) -> Diced<'_> {
        const GOLDEN: usize = 618_034;
        use DemandNote::{SectionAssumed, SectionEndGuessed, SectionStartGuessed};
        let guessed = [SectionAssumed, SectionEndGuessed, SectionStartGuessed];
        let has_guesses = guessed.iter().any(|note| self.guesses.contains_key(note));
        let demand = match &self.origin {
            Origin::Recording(history) if has_guesses => {
                let even = nth.wrapping_mul(GOLDEN) % 1_000_000;
                let section_percentile = 25 + 50 * ((even + 500_000) % 1_000_000) / 1_000_000;
                let seed = 1 + nth as u64;
                Some(history.demand(Choices { section_percentile, seed, ..Choices::default() }).0)
            }
            _ => None,
        };
        Diced { study: self, demand, seed: 1 + nth as u64 }
    }

    /// Why it cannot carry a prediction, if so; the gravest first.
    pub(crate) fn weaknesses(&self) -> Vec<Weakness> {
        let mut list = Vec::new();
        if self.is_scenario() {
            return list;
        }
        if self.recorded().notes.iter().any(|n| n.kind == NoteKind::DonorsInvisible) {
            list.push(Weakness::ProxyExecutionOn);
        }
        if !self.recorded().has("contention_begin") && !self.recorded().has("mutex_unlock") {
            list.push(Weakness::NoLockEvents);
        }
        if !self.recorded().lost.is_empty() {
            list.push(Weakness::Lossy);
        }
        if self.recorded().host.as_ref().is_some_and(|host| host.some_tasks_only) {
            list.push(Weakness::SomeTasksOnly);
        }
        if self.guesses.contains_key(&DemandNote::OutOfTime) {
            list.push(Weakness::OutOfTime);
        }
        list
    }

    /// Replays the demand.
    pub(crate) fn replay(&self, variant: Variant) -> Result<Replayed> {
        self.replay_with(&self.demand, variant, self.seed)
    }

    fn replay_with(&self, demand: &Demand, variant: Variant, seed: u64) -> Result<Replayed> {
        if variant.policy == Policy::Recorded {
            if self.is_scenario() {
                bail!(
                    "{}: is a scenario: nothing was recorded that `recorded` could give back. \
                     Name another policy, or the recording that the scenario was made from",
                    self.input.name
                );
            }
            let literal = match &self.origin {
                Origin::Recording(history) => {
                    Some(history.demand(Choices { literal: true, ..Choices::default() }).0)
                }
                Origin::Scenario(_) => None,
            };
            let demand = literal.as_ref().unwrap_or(demand);
            let (schedule, divergence) = replay::recorded(demand, &self.input.recording);
            if let Some(divergence) = divergence {
                bail!(
                    "{}: the demand does not give the recording back: {divergence}",
                    self.input.name
                );
            }
            // It is the recording, so what is said of it is what the recording says.
            let (counts, notes) = (schedule.counts, schedule.notes);
            let (recording, trace) = (schedule.recording, self.recorded().clone());
            return Ok(Replayed { variant, recording, trace, counts, notes });
        }
        let schedule = replay::replay(demand, variant.policy, &self.options(&variant, seed));
        Ok(self.replayed(variant, schedule))
    }

    /// What a policy is compared with: a replay, or the recording's own history.
    fn baseline(&self, variant: Variant) -> Result<Replayed> {
        if variant.policy != Policy::Recorded || self.is_scenario() {
            return self.replay(variant);
        }
        let (recording, trace) = (self.input.recording.clone(), self.recorded().clone());
        let (counts, notes) = (ProxyCounts::default(), Vec::new());
        Ok(Replayed { variant, recording, trace, counts, notes })
    }

    fn options(&self, variant: &Variant, seed: u64) -> Options {
        let mechanisms = Some(variant.mechanisms);
        Options { costs: self.costs, mechanisms, seed, ..Options::default() }
    }

    fn replayed(&self, variant: Variant, schedule: Schedule) -> Replayed {
        let trace = model::assemble(&schedule.recording, self.input.host.as_ref());
        let (counts, notes) = (schedule.counts, schedule.notes);
        Replayed { variant, recording: schedule.recording, trace, counts, notes }
    }

    /// Replays the demand under any policy but `recorded`, with the rule behind each event.
    pub(crate) fn replay_with_rules(&self, variant: Variant) -> (Replayed, Vec<Decision>) {
        let options = self.options(&variant, 0);
        let (schedule, decisions) =
            replay::replay_with_rules(&self.demand, variant.policy, &options);
        (self.replayed(variant, schedule), decisions)
    }

    /// The recording against its own replays under `none`; of a scenario, its schedule against
    /// itself.
    pub(crate) fn fidelity(&self, replays: &[&Summary]) -> Fidelity {
        let acquires = |kind| self.cover.acquires(kind);
        if self.is_scenario() {
            let own = analysis::summary(self.recorded());
            return analysis::fidelity(self.recorded(), &[&own], acquires);
        }
        analysis::fidelity(self.recorded(), replays, acquires)
    }
}

/// A study with dice of its own.
pub(crate) struct Diced<'s> {
    study: &'s Study,
    /// When something in it is guessed otherwise.
    demand: Option<Demand>,
    seed: u64,
}

impl Diced<'_> {
    /// Replays the demand.
    pub(crate) fn replay(&self, variant: Variant) -> Result<Replayed> {
        let demand = self.demand.as_ref().unwrap_or(&self.study.demand);
        self.study.replay_with(demand, variant, self.seed)
    }
}

/// Whose costs a replay charges for the kernel's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CostChoice {
    /// Measured in the recording, or what a scenario says.
    Calibrated,
    /// None.
    Zero,
}

impl CostChoice {
    /// The costs of this demand.
    pub(crate) fn of(self, demand: &Demand) -> Costs {
        let l = demand.latencies;
        match self {
            Self::Zero => Costs::default(),
            Self::Calibrated => Costs {
                wake_busy: l.wake_busy.0,
                wake_idle: l.wake_idle.0,
                wake_deep: l.wake_deep.0,
                slice_end: l.slice_end.0,
                lock_contended: l.lock_contended.0,
                lock_sleep: l.lock_sleep.0,
                lock_wake: l.lock_wake.0,
                buffer_sleep: l.buffer_sleep.0,
                buffer_wake: l.buffer_wake.0,
                buffer_tell: l.buffer_tell.0,
                ..Costs::default()
            },
        }
    }
}

/// A recording, its baseline replay and the replay under another policy.
pub(crate) struct Verdict {
    pub(crate) study: Study,
    pub(crate) base: Replayed,
    pub(crate) other: Replayed,
    pub(crate) comparison: Comparison,
    pub(crate) fidelity: Fidelity,
    pub(crate) intervals: Intervals,
}

impl Verdict {
    /// Replays under both policies and compares.
    pub(crate) fn of(
        study: Study,
        against: Variant,
        variant: Variant,
        draws: Draws,
    ) -> Result<Self> {
        let replays = ensemble::parallel(2, |index| {
            if index == 0 { study.baseline(against.clone()) } else { study.replay(variant.clone()) }
        });
        let [base, other] = <[Result<Replayed>; 2]>::try_from(replays)
            .map_err(|_| anyhow::anyhow!("a replay was left out"))?;
        let (base, other) = (base?, other?);
        let comparison = analysis::compare(&base.trace, &other.trace);
        let drawn = ensemble::draws(&study, [&base.variant, &other.variant], draws)?;
        let fidelity = if base.variant.policy != Policy::None {
            ensemble::fidelity(&study, draws)?
        } else if drawn.is_empty() {
            study.fidelity(&[&comparison.before])
        } else {
            let replays = drawn.iter().take(Draws::LEAST).map(|draw| &draw.before);
            study.fidelity(&replays.collect::<Vec<_>>())
        };
        let intervals = ensemble::intervals(&study, &drawn, &fidelity);
        Ok(Self { study, base, other, comparison, fidelity, intervals })
    }
}
