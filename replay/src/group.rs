//! Cgroups: what a fair task weighs is its share of its group's share.

use crate::engine::Engine;
use crate::rule::weight::NICE_0;
use crate::state::T;
use model::demand::GroupIndex;

/// Least weight of an entity (`MIN_SHARES`).
const LEAST: i64 = 2;

/// What is queued of a group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    parent: Option<usize>,
    /// Its configured weight; 100 of cgroup v2 is [`NICE_0`].
    shares: i64,
    /// By CPU: the weights of its queued tasks and of its queued subgroups.
    pub load: Vec<i64>,
    /// By CPU: what its entity weighs in the group above; another CPU's changes do not change it.
    entity: Vec<i64>,
    /// By CPU: tasks queued in it and below it.
    pub queued: Vec<i64>,
}

impl Group {
    pub(crate) fn of(group: &model::demand::Group, n_cpus: usize) -> Self {
        Self {
            parent: group.parent.map(GroupIndex::index),
            shares: i64::from(group.weight.clamp(1, 10_000)) * NICE_0 / 100,
            load: vec![0; n_cpus],
            entity: vec![0; n_cpus],
            queued: vec![0; n_cpus],
        }
    }

    /// The weight of its entity on a CPU.
    ///
    /// # Source
    ///
    /// Kernel model 5.2; `calc_concur_shares`.
    ///
    /// # Deviation
    ///
    /// The load of a CPU and the number of runnable tasks are those of now, without their averages,
    /// and its cpuset is the whole machine.
    fn weight_on(&self, cpu: usize) -> i64 {
        let n_cpus = i64::try_from(self.load.len()).unwrap_or(i64::MAX);
        let all: i64 = self.load.iter().sum();
        let most = self.shares * self.queued.iter().sum::<i64>().clamp(1, n_cpus);
        let share = i128::from(most) * i128::from(self.load[cpu]) / i128::from(all.max(1));
        i64::try_from(share).unwrap_or(most).clamp(LEAST, most.max(LEAST))
    }
}

/// Which way a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    In,
    Out,
}

impl Engine<'_> {
    /// Counts a fair task in or out of its groups.
    pub(crate) fn count_in_groups(&mut self, cpu: usize, t: T, goes: Goes) {
        let mut next = self.demand.tasks[t as usize].group.map(GroupIndex::index);
        if next.is_none() {
            return;
        }
        let own = crate::fair::weight_of(self.task(t));
        let (mut change, by) = if goes == Goes::In { (own, 1) } else { (-own, -1) };
        while let Some(g) = next {
            let group = &mut self.groups[g];
            group.load[cpu] += change;
            group.queued[cpu] += by;
            let now = if group.queued[cpu] > 0 { group.weight_on(cpu) } else { 0 };
            change = now - std::mem::replace(&mut group.entity[cpu], now);
            next = self.groups[g].parent;
        }
    }

    /// A task's share changes with what its groups have queued; its kernel looks when the task is
    /// picked, and at its ticks.
    pub(crate) fn reweigh_in_group(&mut self, cpu: usize, t: T) {
        if self.demand.tasks[t as usize].group.is_some() && self.task(t).is_queued() {
            self.fair_reweight(cpu, t);
        }
    }

    /// What a task weighs in the tree of its CPU: all levels multiplied.
    ///
    /// # Source
    ///
    /// Kernel model 5.2; `__calc_prop_weight`.
    pub(crate) fn hierarchical_weight(&self, cpu: usize, t: T) -> i64 {
        let mut entity = crate::fair::weight_of(self.task(t));
        let mut next = self.demand.tasks[t as usize].group.map(GroupIndex::index);
        if next.is_none() {
            return entity;
        }
        let mut weight = i128::from(NICE_0);
        while let Some(g) = next {
            let group = &self.groups[g];
            let all = i128::from(group.load[cpu].max(1));
            weight = (weight * i128::from(entity) / all).max(i128::from(LEAST));
            entity = group.entity[cpu];
            next = group.parent;
        }
        weight = (weight * i128::from(entity) / i128::from(NICE_0)).max(i128::from(LEAST));
        i64::try_from(weight).unwrap_or(i64::MAX)
    }
}
