//! From what every task did to what it asked for: sections, loops, and dates put into programs.

use super::affinity::Affinities;
use super::busy::busy_waits;
use super::doubt::{self, Holds};
use super::extract::Extract;
use super::program::Build;
use super::rounds::{self, Ending, Rounds};
use super::section::{self, Guess, Held, Known};
use super::sleep::timed;
use super::{
    Arrival, Demand, DemandBuffer, DemandLock, DemandNote, Group, GroupIndex, Latencies, LockIndex,
    Machine, Op, SleepEnd, TaskDemand, cgroup, coincidence, hidden, message, order, pace, unseen,
    yields,
};
use crate::{CpuId, Hold, Names, Nanos, TaskInfo, Timestamp, Trace};
use std::collections::{BTreeMap, BTreeSet};

/// How what a recording leaves open is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Where a section's length is guessed, it is that of the known ones at this percentile.
    pub section_percentile: usize,
    /// Every wakeup, time and length as it was recorded, without what a replay in another order
    /// needs: that is what `recorded` plays.
    pub literal: bool,
    /// With any other than 0, what the ledger is not sure of is otherwise in some places: which
    /// owner it was, and where in its bounds a section began and ended.
    pub seed: u64,
}

impl Default for Choices {
    fn default() -> Self {
        Self { section_percentile: 50, literal: false, seed: 0 }
    }
}

/// A task without its sections.
#[derive(Debug)]
struct Program {
    info: TaskInfo,
    /// The CPUs that the sidecar allows.
    allowed: Option<Vec<u32>>,
    group: Option<GroupIndex>,
    build: Build,
    /// Sleeps that keep to a period or to ticks, by their steps.
    timed: Vec<(usize, SleepEnd)>,
    /// Steps before which it computes until a date.
    busy: Vec<(usize, Nanos)>,
    /// Its holds of locks whose calls are not recorded.
    held: Vec<Held>,
}

/// Everything that a demand needs and that does not depend on a guess.
#[derive(Debug)]
pub(crate) struct Programs {
    programs: Vec<Program>,
    known: Known,
    locks: Vec<DemandLock>,
    buffers: Vec<DemandBuffer>,
    groups: Vec<Group>,
    names: Names,
    machine: Machine,
    latencies: Latencies,
    stretches: Vec<Nanos>,
    notes: BTreeMap<DemandNote, u64>,
    /// Locks whose sections may leave no events of their own.
    guessed: BTreeSet<LockIndex>,
    start: Timestamp,
    end: Timestamp,
}

impl Extract<'_> {
    /// Ends every program; the sections come from the trace's ledger.
    pub(crate) fn finish(
        mut self,
        trace: &Trace,
        tasks: Vec<TaskInfo>,
        (machine, mut latencies): (Machine, Latencies),
        (start, end): (Timestamp, Timestamp),
        n_left_out: u64,
    ) -> Programs {
        self.builds.resize_with(tasks.len(), Build::default);
        let indexes = (0..).map(LockIndex).zip(&self.locks);
        let is_guessed = |(i, lock): &(LockIndex, &DemandLock)| {
            let is_seen = !self.hides_sections(lock.lock, lock.flags) || self.buffers.shows(*i);
            self.cover.has(lock.flags) && !is_seen
        };
        let guessed = indexes.filter(is_guessed).map(|(i, _)| i).collect();
        for (index, known) in (0..).map(LockIndex).zip(&mut self.locks) {
            let shown = self.buffers.has_preemption_points(index);
            known.has_preemption_points =
                shown.unwrap_or_else(|| trace.preempts_holders_of(known.lock));
        }
        let holds = self.holds(trace, (start, end));
        let groups = cgroup::groups(self.host);
        let mut held = section::by_task(tasks.len(), holds);
        if self.cover.buffers && self.calls.is_complete {
            let (found, costs) = message::infer(&mut self.builds, &self.locks, &mut self.buffers);
            if found > 0 {
                self.notes.insert(DemandNote::PipeInferred, found);
                latencies.buffer_sleep = Nanos(costs.sleep);
                latencies.buffer_wake = Nanos(costs.wake);
                latencies.buffer_tell = Nanos(costs.tell);
            }
        }
        let mut programs = Vec::with_capacity(tasks.len());
        for ((info, mut build), held) in tasks.into_iter().zip(self.builds).zip(&mut held) {
            build.run_to(end.0);
            if let Some(asleep) = build.asleep.take().filter(|a| !a.in_mutex) {
                build.push(asleep.since, Op::Wait { state: asleep.state, on: asleep.on });
                *self.notes.entry(DemandNote::WaitCutOff).or_insert(0) += 1;
            }
            let n_yields = yields::habitual(&build);
            if n_yields > 0 {
                *self.notes.entry(DemandNote::YieldInferred).or_insert(0) += n_yields;
            } else {
                build.drop_doubtful();
            }
            let host = self.host.and_then(|h| h.task(info.tid, self.names.text(info.comm)));
            programs.push(Program {
                allowed: host.and_then(|h| h.affinity.clone()),
                group: cgroup::of(&groups, host.and_then(|h| h.cgroup.as_deref())),
                timed: timed(&build.timer_sleeps, &machine),
                busy: busy_waits(&build),
                held: std::mem::take(held),
                info,
                build,
            });
        }
        if n_left_out > 0 {
            self.notes.insert(DemandNote::OutOfTime, n_left_out);
        }
        let tasks = programs.iter().map(|p| (p.info.comm, &p.build, &p.held[..]));
        let known = Known::of(tasks, |hold| trace.woken_by_release(hold));
        Programs {
            programs,
            known,
            locks: self.locks,
            buffers: self.buffers.finish(),
            groups,
            names: self.names.clone(),
            machine,
            latencies,
            stretches: self.stretches,
            notes: self.notes,
            guessed,
            start,
            end,
        }
    }

    /// The ledger's holds of locks that programs acquire, and whose calls are not recorded.
    fn holds<'t>(
        &self,
        trace: &'t Trace,
        (start, end): (Timestamp, Timestamp),
    ) -> impl Iterator<Item = (LockIndex, Hold)> + use<'t> {
        let mut list = Vec::new();
        for (lock, index) in &self.lock_index {
            let flags = self.locks[index.index()].flags;
            let is_seen = !self.hides_sections(*lock, flags) || self.buffers.shows(*index);
            if self.cover.has(flags) && !is_seen {
                list.extend(trace.locks.get(lock).map(|l| (*index, &l.holds)));
            }
        }
        let holds = list.into_iter().flat_map(|(i, holds)| holds.iter().map(move |h| (i, *h)));
        holds.filter(move |(_, h)| start <= h.released.latest && h.acquired.latest <= end)
    }
}

impl Program {
    /// How it comes in: on a CPU that the machine has.
    fn arrival(&self, cpus: &[CpuId]) -> Arrival {
        let known = |cpu: CpuId| {
            if cpus.contains(&cpu) { cpu } else { cpus.first().copied().unwrap_or(cpu) }
        };
        match self.build.arrival.unwrap_or(Arrival::Forked) {
            Arrival::At(at, cpu) => Arrival::At(at, known(cpu)),
            Arrival::Asleep(cpu) => Arrival::Asleep(known(cpu)),
            Arrival::Forked => Arrival::Forked,
        }
    }

    /// When the loop's task was in its last round, if it ended.
    fn ending(&self, ops: &[Op], holds: &[LockIndex], index_of: &[usize]) -> Option<Ending> {
        let by = self.build.exited?;
        let seams = rounds::find(ops, holds)?.seams;
        let sleeps = self.build.timer_sleeps.iter();
        let began = sleeps.filter(|s| {
            index_of.get(s.step).is_some_and(|op| seams.binary_search(&(op + 1)).is_ok())
        });
        rounds::ending(&began.map(|s| s.woken).collect::<Vec<_>>(), by)
    }

    /// Which loop goes on as long as there is time.
    fn rounds(
        &self,
        ops: &[Op],
        holds: &[LockIndex],
        (ending, stop): (Option<Ending>, Option<Timestamp>),
        soon: u64,
    ) -> Option<Rounds> {
        match (self.build.exited, ending, stop) {
            (None, ..) => rounds::find(ops, holds).or_else(|| rounds::find_sleepless(ops, holds)),
            // Who was told to stop with the others, and had to wait for a CPU or a lock first.
            (Some(by), None, Some(at)) if at.0 <= by && by - at.0 <= soon => {
                rounds::find_sleepless(ops, holds).map(|r| Rounds { until: stop, ..r })
            }
            (Some(_), Some(e), Some(at)) if e.after < at.0 && at.0 <= e.by => {
                rounds::find(ops, holds).map(|r| Rounds { until: stop, ..r })
            }
            _ => None,
        }
    }
}

/// A program with its sections.
struct Filled {
    ops: Vec<Op>,
    holds: Vec<LockIndex>,
    ending: Option<Ending>,
}

impl Programs {
    /// The demand, and what was guessed of it.
    pub(crate) fn demand(&self, choices: Choices) -> (Demand, BTreeMap<DemandNote, u64>) {
        let mut notes = self.notes.clone();
        let percentile = choices.section_percentile;
        let start = self.start.0;
        let guess = Guess { known: &self.known, percentile, start, seed: choices.seed };
        let drawn = self.drawn(choices.seed);
        let fill = |(n, p): (usize, &Program)| {
            let held = drawn.as_ref().map_or(&p.held[..], |drawn| &drawn[n]);
            Self::fill(p, held, &guess, choices, &mut notes)
        };
        let mut filled: Vec<Filled> = self.programs.iter().enumerate().map(fill).collect();
        if !self.guessed.is_empty() {
            self.settle(&mut filled, percentile, &mut notes);
        }
        let endings: Vec<Ending> = filled.iter().filter_map(|f| f.ending).collect();
        let stop = rounds::common_end(&endings);
        let soon = (self.end.0 - self.start.0) / 10;
        let cpus = &self.machine.cpus;
        let mut affinities = Affinities { machine: cpus, names: &self.names, odd: Vec::new() };
        let task = |(program, filled): (&Program, Filled)| {
            let Filled { mut ops, holds, ending } = filled;
            let (allowed, seen) = (program.allowed.as_deref(), &program.build.seen);
            let (affinity, beside_affinity) =
                affinities.settle(&program.info, allowed, seen, &mut ops);
            TaskDemand {
                info: program.info.clone(),
                arrival: program.arrival(cpus),
                sched: program.build.first_sched,
                affinity,
                beside_affinity,
                group: program.group,
                rounds: program.rounds(&ops, &holds, (ending, stop), soon),
                holds,
                initial_fair: None,
                ops,
            }
        };
        let tasks = self.programs.iter().zip(filled).map(task).collect();
        let demand = Demand {
            machine: self.machine.clone(),
            tasks,
            odd_affinities: affinities.odd,
            locks: self.locks.clone(),
            buffers: self.buffers.clone(),
            groups: self.groups.clone(),
            names: self.names.clone(),
            latencies: self.latencies,
            stretches: self.stretches.clone(),
            start: self.start,
            end: self.end,
        };
        (demand, notes)
    }

    /// The holds of a draw; `None` for those that are most likely.
    fn drawn(&self, seed: u64) -> Option<Holds> {
        let programs = || self.programs.iter().map(|p| (&p.build, &p.held[..])).collect::<Vec<_>>();
        (seed != 0).then(|| doubt::holds_in_draw(&programs(), seed))
    }

    fn fill(
        p: &Program,
        held: &[Held],
        guess: &Guess<'_>,
        choices: Choices,
        notes: &mut BTreeMap<DemandNote, u64>,
    ) -> Filled {
        let sections = guess.sections(p.info.comm, &p.build, held);
        for (note, count) in sections.notes {
            *notes.entry(note).or_insert(0) += count;
        }
        let busy = if choices.literal { &[][..] } else { &p.busy };
        let mut inserts = sections.inserts;
        let mut holds = p.build.holds.clone();
        for (total, lock) in &p.build.unseen {
            if choices.literal {
                holds.push(*lock);
            } else {
                inserts.push((p.build.place_behind(*total), Op::Lock(*lock)));
            }
        }
        inserts.sort_by_key(|(place, _)| *place);
        let (mut ops, index_of) = p.build.ops(&inserts, busy);
        if !busy.is_empty() {
            *notes.entry(DemandNote::BusyWaitInferred).or_insert(0) += busy.len() as u64;
        }
        holds.extend(sections.holds);
        let ending = p.ending(&ops, &holds, &index_of);
        for (step, end) in &p.timed {
            if let Some(Op::Sleep { until, .. }) =
                index_of.get(*step).and_then(|op| ops.get_mut(*op))
            {
                *until = *end;
            }
        }
        Filled { ops, holds, ending }
    }

    /// Makes what was guessed of the sections consistent, and completes the loops.
    fn settle(
        &self,
        filled: &mut [Filled],
        percentile: usize,
        notes: &mut BTreeMap<DemandNote, u64>,
    ) {
        let mut rebalanced = 0;
        let is_guessed = |lock: LockIndex| self.guessed.contains(&lock);
        let mut hidden = Vec::with_capacity(filled.len());
        for (program, f) in self.programs.iter().zip(&mut *filled) {
            let awake = self.known.awake_of(program.info.comm);
            rebalanced += unseen::balance(&mut f.ops, &f.holds, &awake, is_guessed);
            rebalanced += unseen::release_at_end(&mut f.ops, &f.holds);
            hidden.push(hidden::find(&f.ops, &f.holds, percentile, is_guessed));
        }
        let builds: Vec<&Build> = self.programs.iter().map(|p| &p.build).collect();
        coincidence::refute(&builds, &mut hidden);
        let mut assumed: u64 = hidden.iter().map(|h| h.len() as u64).sum();
        for (f, hidden) in filled.iter_mut().zip(&hidden) {
            hidden::insert(&mut f.ops, hidden);
        }
        // On more CPUs it made a recording worse: `docs/decisions.md`.
        if self.machine.cpus.len() == 1 {
            let program = |(f, build)| {
                let Filled { ops, holds, .. }: &mut Filled = f;
                (ops, &holds[..], build)
            };
            let builds = builds.iter().copied();
            let mut paced: Vec<pace::Program<'_>> =
                filled.iter_mut().zip(builds).map(program).collect();
            assumed += pace::fill(&mut paced, is_guessed);
        }
        let mut programs: Vec<(&mut Vec<Op>, &[LockIndex])> =
            filled.iter_mut().map(|f| (&mut f.ops, &f.holds[..])).collect();
        rebalanced += order::untangle(&mut programs, is_guessed);
        let counted =
            [(DemandNote::SectionAssumed, assumed), (DemandNote::SectionEndGuessed, rebalanced)];
        for (note, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            *notes.entry(note).or_insert(0) += count;
        }
    }
}
