//! Tasks over their whole life: a thread id is reused, a [`TaskId`] is not.

use crate::{CpuId, Event, LockFlags, NameId, OwnerBits, PrevState, SchedEvent, Tid};
use std::collections::BTreeMap;

/// One task over its whole life: a dense index, in order of first appearance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

impl TaskId {
    /// The id as an index into a table of tasks.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a task from the trace alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Thread id while it lived.
    pub tid: Tid,
    /// Latest name.
    pub comm: NameId,
    /// Kernel priority when first seen (0..99 realtime, 100..139 fair, -1 deadline); `None` when no event says.
    pub prio: Option<i32>,
    /// The task that forked it, when the fork is in the trace.
    pub parent: Option<TaskId>,
    /// True when the trace shows its final switch.
    pub ended: bool,
}

/// Maps thread ids to tasks while events are walked in order.
///
/// Feed every event to [`TaskTracker::observe`] *before* asking for the tasks it names.
/// A fork of a known thread id, or any appearance after its final switch, is a new task.
#[derive(Clone, Debug, Default)]
pub struct TaskTracker {
    tasks: Vec<TaskInfo>,
    current: BTreeMap<Tid, TaskId>,
}

impl TaskTracker {
    /// Takes note of the tasks an event names.
    pub fn observe(&mut self, event: &Event) {
        match event.kind {
            SchedEvent::Switch {
                prev, prev_comm, prev_prio, next, next_comm, next_prio, ..
            } => {
                self.note(prev, prev_comm, Some(prev_prio));
                self.note(next, next_comm, Some(next_prio));
            }
            SchedEvent::Waking(w) | SchedEvent::Wakeup(w) => {
                self.note(w.tid, w.comm, Some(w.prio));
            }
            SchedEvent::WakeupNew(w) => {
                self.note(w.tid, w.comm, Some(w.prio));
            }
            SchedEvent::MigrateTask { tid, comm, prio, .. }
            | SchedEvent::Exit { tid, comm, prio } => self.note(tid, comm, Some(prio)),
            SchedEvent::Fork { parent, parent_comm, child, child_comm } => {
                self.note(parent, parent_comm, None);
                self.current.remove(&child);
                self.note(child, child_comm, None);
                let parent = self.id(parent);
                if let Some(child) = self.id(child) {
                    self.tasks[child.index()].parent = parent;
                }
            }
            SchedEvent::PiSetprio { tid, comm, .. } => self.note(tid, comm, None),
            SchedEvent::LockOwner { owner: Some(owner), flags, .. }
                if flags.has(LockFlags::USER) =>
            {
                self.note(event.tid, NameId(0), None);
                self.note(owner.tid, NameId(0), None);
            }
            // A reader who had the lock at some time may be long gone.
            SchedEvent::LockOwner { owner: Some(owner), flags, bits, .. }
                if flags.has(LockFlags::MUTEX) || !bits.has(OwnerBits::READERS) =>
            {
                self.note(event.tid, NameId(0), None);
                self.note(owner.tid, NameId(0), Some(owner.prio));
            }
            _ => self.note(event.tid, NameId(0), None),
        }
    }

    /// Ends a task: call after an event's effects are applied when it is a final switch.
    pub fn settle(&mut self, event: &Event) {
        if let SchedEvent::Switch { prev, prev_state: PrevState::Dead, .. } = event.kind
            && let Some(id) = self.current.remove(&prev)
        {
            self.tasks[id.index()].ended = true;
        }
    }

    /// The task that `tid` means now; `None` for idle tasks and ids never seen.
    #[must_use]
    pub fn id(&self, tid: Tid) -> Option<TaskId> {
        self.current.get(&tid).copied()
    }

    /// All tasks so far, indexed by [`TaskId`].
    #[must_use]
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// The finished table.
    #[must_use]
    pub fn into_tasks(self) -> Vec<TaskInfo> {
        self.tasks
    }

    fn note(&mut self, tid: Tid, comm: NameId, prio: Option<i32>) {
        if tid == Tid::IDLE {
            return;
        }
        let id = *self.current.entry(tid).or_insert_with(|| {
            let id = TaskId(u32::try_from(self.tasks.len()).expect("fewer than 2^32 tasks"));
            self.tasks.push(TaskInfo { tid, comm, prio: None, parent: None, ended: false });
            id
        });
        let task = &mut self.tasks[id.index()];
        if comm != NameId(0) {
            task.comm = comm;
        }
        if task.prio.is_none() {
            task.prio = prio;
        }
    }
}

/// Nice level of a fair kernel priority (100..=139), else `None`.
#[must_use]
pub fn nice_of_prio(prio: i32) -> Option<i32> {
    (100..=139).contains(&prio).then_some(prio - 120)
}

/// A CPU set: bit n of word n/64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<u64>);

impl CpuSet {
    /// The set of `cpus`. CPU numbers of 2^20 and more are ignored.
    #[must_use]
    pub fn of(cpus: &[CpuId]) -> Self {
        let mut words = Vec::new();
        for cpu in cpus.iter().filter(|c| c.0 < 1 << 20) {
            let word = (cpu.0 / 64) as usize;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1u64 << (cpu.0 % 64);
        }
        Self(words)
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn has(&self, cpu: CpuId) -> bool {
        self.0.get((cpu.0 / 64) as usize).is_some_and(|w| w >> (cpu.0 % 64) & 1 == 1)
    }

    /// The CPUs of either set.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let word = |set: &Self, at: usize| set.0.get(at).copied().unwrap_or(0);
        let n = self.0.len().max(other.0.len());
        Self((0..n).map(|at| word(self, at) | word(other, at)).collect())
    }

    /// Every CPU in the set, ascending.
    pub fn cpus(&self) -> impl Iterator<Item = CpuId> {
        let bits = |(base, word): (u32, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| CpuId(base + bit))
        };
        (0..).step_by(64).zip(&self.0).flat_map(bits)
    }

    /// How many CPUs are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|w| w.count_ones()).sum()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
