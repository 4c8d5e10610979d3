//! Where a task may run, when sidecar and recording do not agree on it.
//!
//! A sidecar is one look at an affinity, most often at the end of the recording. A task that pins
//! itself, or is moved by a cpuset, has run elsewhere before that look, or runs elsewhere after it.
//!
//! # Source
//!
//! `set_cpus_allowed_ptr` moves a running task at once; `select_fallback_rq` lets a task without
//! any CPU run everywhere (`kernel/sched/core.c`).

use super::Op;
use crate::{CpuId, CpuSet, Names, Nanos, TaskInfo};
use std::collections::BTreeMap;

/// CPUs on which a task was seen running, each with the CPU time of its program when it left there
/// last; `u64::MAX` while it has not left.
pub(super) type Seen = BTreeMap<CpuId, u64>;

/// CPU time within which a program that pins itself does so.
const BEGINNING_NS: u64 = 10_000_000;

/// A task whose affinity in the sidecar is not what the recording shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddAffinity {
    /// Its name and thread id, as in `tog (812)`.
    pub task: String,
    /// What the sidecar allows.
    pub allowed: Vec<CpuId>,
    /// Where it was seen beside that; empty when what is allowed does not exist.
    pub seen: Vec<CpuId>,
}

impl OddAffinity {
    /// For people: what contradicts what, and what a replay makes of it.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { task, allowed, seen } = self;
        let allowed = if allowed.is_empty() { "no CPU at all".to_owned() } else { ranges(allowed) };
        if seen.is_empty() {
            return format!(
                "the sidecar allows {task} on {allowed}, and the recording has none of these: \
                 taken as allowed everywhere"
            );
        }
        format!(
            "the sidecar allows {task} on {allowed}, and the recording shows it on {}: an affinity \
             that changed; taken as allowed there until it leaves for the last time",
            ranges(seen)
        )
    }
}

/// `CPU 1`, `CPUs 0-3,7`.
fn ranges(cpus: &[CpuId]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu.0) => *last = cpu.0,
            _ => runs.push((cpu.0, cpu.0)),
        }
    }
    let run = |(a, b): &(u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    let noun = if cpus.len() == 1 { "CPU" } else { "CPUs" };
    format!("{noun} {}", runs.iter().map(run).collect::<Vec<_>>().join(","))
}

/// Affinities as a replay can keep them.
pub(super) struct Affinities<'a> {
    pub(super) machine: &'a [CpuId],
    pub(super) names: &'a Names,
    pub(super) odd: Vec<OddAffinity>,
}

impl Affinities<'_> {
    /// What a task may use, and where it was seen beside that; its program changes from one to the
    /// other where it was last seen there.
    pub(super) fn settle(
        &mut self,
        info: &TaskInfo,
        sidecar: Option<&[u32]>,
        seen: &Seen,
        ops: &mut Vec<Op>,
    ) -> (Option<CpuSet>, Option<CpuSet>) {
        let Some(sidecar) = sidecar else {
            let bound = bound_by_name(self.names.text(info.comm));
            let fits = |cpu: &CpuId| {
                self.machine.binary_search(cpu).is_ok() && seen.keys().all(|other| other == cpu)
            };
            return (bound.filter(fits).map(|cpu| CpuSet::of(&[cpu])), None);
        };
        let mut allowed: Vec<CpuId> = sidecar.iter().map(|cpu| CpuId(*cpu)).collect();
        allowed.sort_unstable();
        allowed.dedup();
        let exists = allowed.iter().any(|cpu| self.machine.binary_search(cpu).is_ok());
        let elsewhere = seen.iter().filter(|(cpu, _)| allowed.binary_search(cpu).is_err());
        let outside: Vec<CpuId> =
            elsewhere.clone().map(|(cpu, _)| *cpu).filter(|_| exists).collect();
        let set = exists.then(|| CpuSet::of(&allowed));
        if exists && outside.is_empty() {
            return (set, None);
        }
        let until = elsewhere.map(|(_, total)| *total).max().unwrap_or(0);
        let beside = exists.then(|| CpuSet::of(&outside));
        if exists {
            narrow_after(ops, until);
        }
        let is_inside = seen.keys().any(|cpu| allowed.binary_search(cpu).is_ok());
        if exists && is_inside && until < BEGINNING_NS {
            // It was born elsewhere and pinned itself: nothing odd.
            return (set, beside);
        }
        let task = format!("{} ({})", self.names.text(info.comm), info.tid.0);
        self.odd.push(OddAffinity { task, allowed, seen: outside });
        (set, beside)
    }
}

/// The CPU of a kernel thread that is bound to one, by its name.
///
/// # Source
///
/// `smpboot_thread_fn` in `kernel/smpboot.c`; `create_worker` in `kernel/workqueue.c`, where
/// unbound workers are named `kworker/u`.
fn bound_by_name(comm: &str) -> Option<CpuId> {
    const PER_CPU: [&str; 5] = ["ksoftirqd/", "migration/", "cpuhp/", "rcuc/", "irq_work/"];
    let number = match comm.strip_prefix("kworker/") {
        Some(worker) => worker.split_once(':')?.0,
        None => PER_CPU.iter().find_map(|prefix| comm.strip_prefix(prefix))?,
    };
    number.parse().ok().map(CpuId)
}

/// Inserts the change behind everything a program does in its first `total` ns of CPU time.
fn narrow_after(ops: &mut Vec<Op>, total: u64) {
    let mut used = 0u64;
    for at in 0..ops.len() {
        if let Op::BusyWait(span) = ops[at] {
            used = used.saturating_add(span.0);
        }
        let Op::Compute(span) = ops[at] else { continue };
        let before = total.saturating_sub(used);
        used = used.saturating_add(span.0);
        if used <= total {
            continue;
        }
        if before == 0 {
            ops.insert(at, Op::KeepAffinity);
        } else {
            let parts =
                [Op::Compute(Nanos(before)), Op::KeepAffinity, Op::Compute(Nanos(used - total))];
            ops.splice(at..=at, parts);
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NameId, Tid};

    fn settled(sidecar: &[u32], seen: &[(u32, u64)], ops: &[Op]) -> (bool, Vec<Op>, Vec<String>) {
        let names = Names::default();
        let machine: Vec<CpuId> = (0..4).map(CpuId).collect();
        let mut affinities = Affinities { machine: &machine, names: &names, odd: Vec::new() };
        let info =
            TaskInfo { tid: Tid(7), comm: NameId(0), prio: None, parent: None, ended: false };
        let seen = seen.iter().map(|(cpu, total)| (CpuId(*cpu), *total)).collect();
        let mut ops = ops.to_vec();
        let (set, _) = affinities.settle(&info, Some(sidecar), &seen, &mut ops);
        (set.is_some(), ops, affinities.odd.iter().map(OddAffinity::text).collect())
    }

    const LONG: u64 = 10_000_000;
    const RUN: Op = Op::Compute(Nanos(10 * LONG));

    #[test]
    fn a_task_is_pinned_where_it_was_last_seen_elsewhere() {
        let ops = [RUN, Op::Yield, RUN];
        let (_, at_op, notes) = settled(&[1, 2], &[(0, 10 * LONG), (1, 20 * LONG)], &ops);
        assert_eq!(at_op, [RUN, Op::Yield, Op::KeepAffinity, RUN]);
        assert_eq!(
            notes,
            [
                "the sidecar allows  (7) on CPUs 1-2, and the recording shows it on CPU 0: an affinity \
              that changed; taken as allowed there until it leaves for the last time"
            ]
        );
        let part = [
            Op::Compute(Nanos(4 * LONG)),
            Op::KeepAffinity,
            Op::Compute(Nanos(6 * LONG)),
            Op::Yield,
            RUN,
        ];
        assert_eq!(settled(&[1], &[(0, 4 * LONG)], &ops).1, part);
        assert_eq!(settled(&[1], &[(0, u64::MAX)], &ops).1, ops, "it never left");
        assert_eq!(settled(&[1], &[(1, 4)], &ops), (true, ops.to_vec(), vec![]));
    }

    #[test]
    fn kernel_threads_of_one_cpu_are_known_by_their_names() {
        let bound = ["kworker/3:1", "kworker/12:0H", "ksoftirqd/0", "migration/7"];
        assert_eq!(bound.map(bound_by_name), [3, 12, 0, 7].map(|cpu| Some(CpuId(cpu))));
        let free = ["kworker/u8:2", "kworker/R-mm", "rcu_preempt", "ksoftirqd", "migration/x", ""];
        assert_eq!(free.map(bound_by_name), [None; 6]);
    }

    #[test]
    fn a_program_that_pins_itself_at_once_is_not_odd() {
        let (_, ops, notes) = settled(&[1], &[(0, 50), (1, 20 * LONG)], &[RUN]);
        assert_eq!(
            ops,
            [Op::Compute(Nanos(50)), Op::KeepAffinity, Op::Compute(Nanos(10 * LONG - 50))]
        );
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn an_affinity_without_cpus_is_none() {
        for sidecar in [&[][..], &[9, 11, 12]] {
            let (has_one, ops, notes) = settled(sidecar, &[(0, 4)], &[RUN]);
            assert!(!has_one);
            assert_eq!(ops, [RUN]);
            assert!(notes[0].ends_with("has none of these: taken as allowed everywhere"));
        }
        assert!(settled(&[9, 11, 12], &[], &[]).2[0].contains("on CPUs 9,11-12,"));
    }
}
