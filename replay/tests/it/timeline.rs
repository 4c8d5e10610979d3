//! A recording in the notation of a scenario's expectation.

use model::{CpuId, LockFlags, LockId, Nanos, Recording, SchedEvent, Tid, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use trace_formats::script::{Ask, Millis, Script};

/// One stretch of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from: Timestamp,
    to: Timestamp,
    state: CpuState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CpuState {
    running: Tid,
    donor: Tid,
    spinning: bool,
}

/// What a recording shows, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    stretches: Vec<Vec<Stretch>>,
    acquired: BTreeMap<(Tid, LockId), Vec<Timestamp>>,
    moves: BTreeMap<Tid, Vec<(Timestamp, CpuId, CpuId)>>,
}

/// Names and numbers of a scenario's tasks and locks, as its demand assigns them.
pub(crate) struct Cast<'a> {
    /// The scenario.
    pub(crate) script: &'a Script,
    /// Thread ids, in the order of the script.
    pub(crate) tids: Vec<Tid>,
    /// Lock addresses, in the order of the script.
    pub(crate) locks: Vec<LockId>,
}

impl Timeline {
    /// Reads a recording up to `end`, or up to its last event.
    pub(crate) fn of(recording: &Recording, n_cpus: usize, end: Option<Timestamp>) -> Self {
        let mut timeline = Self { stretches: vec![Vec::new(); n_cpus], ..Self::default() };
        let last = recording.events.last().map_or(Timestamp(0), |e| e.at);
        let end = end.unwrap_or(last);
        let mut cpus = vec![CpuState::default(); n_cpus];
        let mut spinners = BTreeSet::new();
        let mut locks = Locks::default();
        let mut drawn_to = Timestamp(0);
        let instants = recording.events.chunk_by(|a, b| a.at == b.at);
        for instant in instants.take_while(|events| events[0].at <= end) {
            let now = instant[0].at;
            timeline.draw(drawn_to, now, &cpus, &spinners);
            drawn_to = now;
            let at_first = cpus.clone();
            let mut lent = BTreeMap::new();
            for event in instant {
                let cpu = event.cpu.0 as usize;
                match event.kind {
                    SchedEvent::Switch { next, .. } => cpus[cpu].running = next,
                    SchedEvent::Donor { donor, running } => _ = lent.insert(cpu, (donor, running)),
                    SchedEvent::ContentionBegin { flags, .. } if flags.has(LockFlags::SPIN) => {
                        spinners.insert(event.tid);
                    }
                    SchedEvent::ContentionBegin { .. } | SchedEvent::ContentionEnd { .. } => {
                        spinners.remove(&event.tid);
                    }
                    SchedEvent::MigrateTask { tid, orig_cpu, dest_cpu, .. }
                    | SchedEvent::ProxyMigrate { tid, orig_cpu, dest_cpu }
                    | SchedEvent::ProxyReturn { tid, orig_cpu, dest_cpu } => {
                        timeline.note_move(tid, (now, orig_cpu, dest_cpu));
                    }
                    _ => {}
                }
                locks.observe(now, event.tid, event.kind);
            }
            for (index, (cpu, &before)) in cpus.iter_mut().zip(&at_first).enumerate() {
                settle_donor(cpu, lent.get(&index).copied(), before);
            }
        }
        timeline.draw(drawn_to, end, &cpus, &spinners);
        timeline.acquired = locks.finish();
        timeline
    }

    /// Extends every CPU's drawing from `from` to `to`.
    fn draw(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        cpus: &[CpuState],
        spinners: &BTreeSet<Tid>,
    ) {
        if from == to {
            return;
        }
        for (stretches, &state) in self.stretches.iter_mut().zip(cpus) {
            let state = CpuState { spinning: spinners.contains(&state.running), ..state };
            match stretches.last_mut() {
                Some(last) if last.state == state => last.to = to,
                _ => stretches.push(Stretch { from, to, state }),
            }
        }
    }

    /// A return is told twice, as the kernel's event and as ours.
    fn note_move(&mut self, tid: Tid, step: (Timestamp, CpuId, CpuId)) {
        let moves = self.moves.entry(tid).or_default();
        if !moves.contains(&step) {
            moves.push(step);
        }
    }

    /// The answer to one line of an expectation, in its notation.
    pub(crate) fn answer(&self, ask: &Ask, cast: &Cast<'_>) -> String {
        match ask {
            Ask::Timeline(cpu) => self.draw_cpu(*cpu, cast),
            Ask::Acquired(task, lock) => {
                let key = (cast.tids[*task], cast.locks[*lock]);
                let names = format!("acq {} {}", cast.task(*task), cast.script.locks[*lock].name);
                let times = self.acquired.get(&key).into_iter().flatten();
                times.fold(names, |line, &time| format!("{line} {}", millis(time)))
            }
            Ask::Charged(tasks) => tasks.iter().fold("charged".to_owned(), |line, &task| {
                let time = Millis::from(self.charged(cast.tids[task]));
                format!("{line} {} {time}", cast.task(task))
            }),
            Ask::Moves(task) => {
                let moves = self.moves.get(&cast.tids[*task]).into_iter().flatten();
                moves.fold(format!("moves {}", cast.task(*task)), |line, (time, from, to)| {
                    format!("{line} {}>{}@{}", from.0, to.0, millis(*time))
                })
            }
        }
    }

    fn charged(&self, tid: Tid) -> Nanos {
        let all = self.stretches.iter().flatten();
        all.filter(|s| s.state.donor == tid).map(|s| s.to.since(s.from)).sum()
    }

    fn draw_cpu(&self, cpu: CpuId, cast: &Cast<'_>) -> String {
        let mut stretches = &self.stretches[cpu.0 as usize][..];
        while let [rest @ .., last] = stretches
            && last.state.running == Tid::IDLE
        {
            stretches = rest;
        }
        let mut line = format!("CPU{}", cpu.0);
        for Stretch { from, to, state } in stretches {
            let who = cast.name(state.running);
            let spin = if state.spinning { "*" } else { "" };
            let lent = if state.donor == state.running {
                String::new()
            } else {
                format!("({})", cast.name(state.donor))
            };
            line += &format!(" {who}{spin}{lent}[{}-{}]", millis(*from), millis(*to));
        }
        if stretches.is_empty() { line + " -" } else { line }
    }
}

/// Without a word about a donor, a task that was switched to is its own.
fn settle_donor(cpu: &mut CpuState, told: Option<(Tid, Tid)>, before: CpuState) {
    match told {
        Some((donor, running)) if running == cpu.running => cpu.donor = donor,
        None if cpu.running == before.running => {}
        _ => cpu.donor = cpu.running,
    }
}

fn millis(time: Timestamp) -> Millis {
    Millis::from(time.since(Timestamp(0)))
}

impl Cast<'_> {
    fn task(&self, index: usize) -> &str {
        &self.script.tasks[index].name
    }

    fn name(&self, tid: Tid) -> &str {
        if tid == Tid::IDLE {
            return "-";
        }
        let index = self.tids.iter().position(|&t| t == tid).expect("a task of the script");
        self.task(index)
    }
}

/// When locks are obtained: at the call, or at the end of contention.
#[derive(Debug, Default)]
struct Locks {
    called: BTreeMap<(Tid, LockId), Timestamp>,
    acquired: BTreeMap<(Tid, LockId), Vec<Timestamp>>,
}

impl Locks {
    fn observe(&mut self, now: Timestamp, tid: Tid, kind: SchedEvent) {
        match kind {
            SchedEvent::MutexLock { lock, .. } => _ = self.called.insert((tid, lock), now),
            SchedEvent::ContentionBegin { lock, .. } => _ = self.called.remove(&(tid, lock)),
            SchedEvent::ContentionEnd { lock, ret: 0 }
            | SchedEvent::MutexTrylock { lock, ret: 1 } => {
                self.acquired.entry((tid, lock)).or_default().push(now);
            }
            SchedEvent::MutexUnlock { lock } => self.settle((tid, lock)),
            _ => {}
        }
    }

    /// A call that met no contention acquired the lock then and there.
    fn settle(&mut self, key: (Tid, LockId)) {
        if let Some(time) = self.called.remove(&key) {
            self.acquired.entry(key).or_default().push(time);
        }
    }

    fn finish(mut self) -> BTreeMap<(Tid, LockId), Vec<Timestamp>> {
        let open: Vec<_> = self.called.keys().copied().collect();
        open.into_iter().for_each(|key| self.settle(key));
        self.acquired
    }
}
