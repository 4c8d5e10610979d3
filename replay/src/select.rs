//! Which runqueue a waking task joins.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::state::{Class, T};
use crate::wake::Waker;
use model::demand::HALTED_NS;
use std::cmp::Reverse;

/// Time after which a waker's count of different wakees is halved (kernel model 4.2).
const FLIP_DECAY_NS: u64 = 1_000_000_000;

impl Engine<'_> {
    pub(crate) fn shares_cache(&self, a: usize, b: usize) -> bool {
        self.machine.llc_of_cpu.get(a) == self.machine.llc_of_cpu.get(b)
    }

    /// `idle_cpu`: nothing executes and nothing, not even a parked donor, is queued.
    fn is_idle(&self, cpu: usize) -> bool {
        self.cpus[cpu].running.is_none() && self.cpus[cpu].n_running == 0
    }

    /// `available_idle_cpu`: idle, and not halted where that looks as if the host had taken it.
    fn is_available(&self, cpu: usize) -> bool {
        let has_halted = self.now.saturating_sub(self.cpus[cpu].idle_from) >= HALTED_NS;
        self.is_idle(cpu) && !(self.machine.passes_over_halted && has_halted)
    }

    /// Idle, or busy with `SCHED_IDLE` work only.
    fn is_free_for(&self, cpu: usize, p: T) -> bool {
        self.is_available(cpu)
            || (!self.task(p).is_idle_policy()
                && self.cpus[cpu].n_running > 0
                && self.cpus[cpu].rt.is_empty()
                && self.cpus[cpu].dl.is_empty()
                && self.only_idle_policy(cpu))
    }

    fn only_idle_policy(&self, cpu: usize) -> bool {
        let fair = &self.cpus[cpu].fair;
        let mut all = fair.tree.values().chain(fair.current.iter());
        all.all(|&t| self.task(t).is_idle_policy())
    }

    /// Kernel model 4.1: `select_task_rq`.
    pub(crate) fn select_cpu(&mut self, p: T, waker: Waker) -> usize {
        let prev = self.task(p).wake_cpu;
        self.placed = Rule::OnlyAllowed;
        if self.cpus.len() == 1 {
            return 0;
        }
        self.placed = Rule::PlaceUrgent;
        let chosen = match self.task(p).class {
            Class::Fair => self.select_fair(p, prev, waker),
            Class::Realtime => self.select_rt(p, prev, waker),
            Class::Deadline => self.select_dl(p, prev, waker),
            Class::Stop | Class::Idle => prev,
        };
        if !self.allowed(p, chosen) {
            self.placed = Rule::OnlyAllowed;
        }
        self.allowed_or_first(p, chosen)
    }

    /// A new task goes where most is idle: from the largest domain down, the idlest group; there
    /// the idle CPU, else the one with the least load.
    ///
    /// # Source
    ///
    /// Kernel model 4.2, step 6; `sched_balance_find_dst_cpu`.
    ///
    /// # Deviation
    ///
    /// Of idle CPUs the kernel takes the one in the shallowest idle state; here it is the first,
    /// seen from the forking CPU.
    pub(crate) fn select_idlest(&mut self, p: T, this: usize) -> usize {
        if self.task(p).class != Class::Fair {
            return self.select_cpu(p, Waker::Task(this));
        }
        let mut here = this;
        for level in (0..self.topology.of_cpu[this].len()).rev() {
            let Some(&domain) = self.topology.of_cpu[here].get(level) else { continue };
            let groups = &self.topology.domains[domain].groups;
            let own = groups.iter().position(|g| g.contains(&here)).unwrap_or(0);
            let order = (0..groups.len()).map(|step| &groups[(own + step) % groups.len()]);
            let may = order.filter(|g| g.iter().any(|&c| self.allowed(p, c)));
            // Of equals the first: the own group.
            let best = may.min_by_key(|group| {
                let idle = group.iter().filter(|&&c| self.is_idle(c)).count();
                let load: i64 = group.iter().map(|&c| self.cpus[c].load.value()).sum();
                let of_each = load / i64::try_from(group.len()).unwrap_or(1);
                (Reverse(idle), of_each)
            });
            let Some(best) = best else { continue };
            if !best.contains(&here) {
                let allowed = best.iter().copied().find(|&c| self.allowed(p, c));
                here = allowed.unwrap_or(here);
            }
        }
        if self.allowed(p, here) { here } else { self.select_cpu(p, Waker::Task(this)) }
    }

    /// Kernel model 4.2.
    fn select_fair(&mut self, p: T, prev: usize, waker: Waker) -> usize {
        let this = waker.cpu();
        self.record_wakee(this, p);
        let mut target = prev;
        if this != prev && self.allowed(p, this) && !self.wakes_wide(this, p) {
            target = self.wake_affine(p, prev, waker);
        }
        self.select_idle_sibling(p, prev, target)
    }

    fn record_wakee(&mut self, this: usize, p: T) {
        let now = self.now;
        let Some(w) = self.cpus[this].running else { return };
        let waker = &mut self.tasks[w as usize];
        if now.saturating_sub(waker.flips_since) > FLIP_DECAY_NS {
            waker.wakee_flips /= 2;
            waker.flips_since = now;
        }
        if waker.last_wakee != Some(p) {
            waker.last_wakee = Some(p);
            waker.wakee_flips += 1;
        }
    }

    fn wakes_wide(&self, this: usize, p: T) -> bool {
        let waker = self.cpus[this].running.map_or(0, |w| self.task(w).wakee_flips);
        let wakee = self.task(p).wakee_flips;
        let factor = (0..self.cpus.len()).filter(|&c| self.shares_cache(c, this)).count();
        is_wide(waker, wakee, u32::try_from(factor).unwrap_or(u32::MAX))
    }

    /// # Source
    ///
    /// Kernel model 4.2; `wake_affine_idle` and `wake_affine_weight` in `kernel/sched/fair.c`.
    fn wake_affine(&self, p: T, prev: usize, waker: Waker) -> usize {
        let this = waker.cpu();
        let sync = matches!(waker, Waker::Sync(_));
        if self.is_available(this) && self.shares_cache(this, prev) {
            return if self.is_available(prev) { prev } else { this };
        }
        if sync && self.n_awake(this) == 1 {
            return this;
        }
        if self.is_available(prev) {
            return prev;
        }
        let own = i128::from(self.task(p).fair.load.value());
        let load = |cpu: usize| i128::from(self.cpus[cpu].load.value());
        let mut at_waker = load(this);
        if sync && let Some(w) = self.cpus[this].running {
            let of_waker = i128::from(self.task(w).fair.load.value());
            if of_waker > at_waker {
                return this;
            }
            at_waker -= of_waker;
        }
        let here = (at_waker + own) * 100;
        let there = (load(prev) - own) * (100 + (117 - 100) / 2) + i128::from(sync);
        if here < there { this } else { prev }
    }

    /// Tasks queued on a CPU, those aside that sleep and have lag to work off.
    fn n_awake(&self, cpu: usize) -> usize {
        let delayed = self.cpus[cpu].fair.tree.values().filter(|&&t| self.task(t).delayed).count();
        (self.cpus[cpu].n_running as usize).saturating_sub(delayed)
    }

    /// Kernel model 4.3.
    fn select_idle_sibling(&mut self, p: T, prev: usize, target: usize) -> usize {
        let fits = |e: &Self, cpu: usize| e.allowed(p, cpu) && e.is_free_for(cpu, p);
        self.placed = Rule::IdleSearch;
        if fits(self, target) {
            return target;
        }
        if prev != target && self.shares_cache(prev, target) && fits(self, prev) {
            return prev;
        }
        let recent = self.task(p).recent_cpu;
        self.tasks[p as usize].recent_cpu = prev;
        if recent != prev
            && recent != target
            && self.shares_cache(recent, target)
            && fits(self, recent)
        {
            return recent;
        }
        let found = self.search_cache(p, prev, target);
        if found.is_none() {
            self.placed = Rule::NoIdleCpu;
        }
        found.unwrap_or(target)
    }

    /// An idle CPU of the target's cache, a whole idle core first; the busier the cache, the
    /// sooner the search ends.
    ///
    /// # Deviation
    ///
    /// Whether there is an idle core is looked up, not remembered.
    fn search_cache(&self, p: T, prev: usize, target: usize) -> Option<usize> {
        let cache = &self.topology.cache[target];
        let fits = |cpu: usize| self.allowed(p, cpu) && self.is_free_for(cpu, p);
        let behind = cache.partition_point(|&cpu| cpu <= target);
        let mut order = cache[behind..].iter().chain(&cache[..behind]).copied();
        let idle_core =
            |cpu: &usize| self.topology.core[*cpu].iter().all(|&c| self.is_free_for(c, p));
        let has_siblings = self.topology.core[target].len() > 1;
        if has_siblings {
            let whole = order.clone().find(|cpu| fits(*cpu) && idle_core(cpu));
            if whole.is_some() {
                return whole;
            }
            let sibling = self.topology.core[prev].iter().copied().find(|&c| c != prev && fits(c));
            if self.shares_cache(prev, target) && sibling.is_some() {
                return sibling;
            }
        }
        let most = usize::try_from(self.idle_scan[cache[0]]).unwrap_or(usize::MAX);
        let mut looked = order.by_ref().filter(|&cpu| self.allowed(p, cpu)).take(most);
        looked.find(|&cpu| fits(cpu))
    }

    /// Kernel model 4.3, realtime: stay unless the donor there is as urgent.
    fn select_rt(&self, p: T, prev: usize, waker: Waker) -> usize {
        let urgency = |cpu: usize| {
            let rq = &self.cpus[cpu];
            let dl = rq.dl.first().map(|_| -1);
            dl.or(rq.rt.keys().next().copied()).unwrap_or(if rq.n_running > 0 { 120 } else { 140 })
        };
        let prio = self.task(p).prio;
        let stays = self.cpus[prev].donor.is_none_or(|d| self.task(d).prio > prio);
        if stays && self.allowed(p, prev) {
            return prev;
        }
        let own = self.task(p).cpu;
        let best = (0..self.cpus.len()).filter(|&c| self.allowed(p, c)).map(urgency).max();
        let Some(best) = best.filter(|&b| b > prio) else { return prev };
        let candidates = |c: &usize| self.allowed(p, *c) && urgency(*c) == best;
        [own, waker.cpu()].into_iter().chain(0..self.cpus.len()).find(candidates).unwrap_or(prev)
    }
}

impl Engine<'_> {
    /// Kernel model 4.3, deadline: stay unless the donor there has an earlier deadline.
    fn select_dl(&self, p: T, prev: usize, waker: Waker) -> usize {
        let deadline = self.task(p).dl.deadline;
        let earlier = |d: T| {
            let donor = self.task(d);
            donor.class == Class::Deadline && donor.dl.deadline <= deadline
        };
        if self.allowed(p, prev) && !self.cpus[prev].donor.is_some_and(earlier) {
            return prev;
        }
        // No deadline task at all counts as the latest deadline.
        let earliest = |cpu: usize| self.cpus[cpu].dl.first().map_or(i64::MAX, |(d, _)| *d);
        let allowed = (0..self.cpus.len()).filter(|&c| self.allowed(p, c));
        let latest = allowed.map(earliest).max().filter(|&d| d > deadline);
        let Some(latest) = latest else { return prev };
        let fits = |c: &usize| self.allowed(p, *c) && earliest(*c) == latest;
        let own = self.task(p).cpu;
        [own, waker.cpu()].into_iter().chain(0..self.cpus.len()).find(fits).unwrap_or(prev)
    }
}

/// Whether waker and wakee switch partners so often that pulling them together hurts.
///
/// # Source
///
/// Kernel model 4.2; `wake_wide` in `kernel/sched/fair.c`.
#[must_use]
fn is_wide(waker_flips: u32, wakee_flips: u32, cpus_of_cache: u32) -> bool {
    let (most, least) = (waker_flips.max(wakee_flips), waker_flips.min(wakee_flips));
    least >= cpus_of_cache && most >= least.saturating_mul(cpus_of_cache)
}

#[cfg(test)]
mod tests {
    use super::is_wide;

    #[test]
    fn wide_wakers_switch_partners_a_cache_domain_times_as_often() {
        assert!(is_wide(64, 8, 8));
        assert!(!is_wide(63, 8, 8));
        assert!(!is_wide(100, 7, 8));
    }
}
