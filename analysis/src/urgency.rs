//! Which of two tasks is more urgent: a stated order, because the fair class has none.
//!
//! Class first (stop, deadline, realtime, fair, idle); then the relative deadline, the realtime
//! priority, or the weight. Weight is that of the nice level (1024 at nice 0): traces do not show
//! cgroup hierarchies, so that throttled or light groups are not seen here.

use model::{SchedPolicy, TaskId, Timestamp, Trace};

/// Scheduling classes, least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing to do.
    Idle,
    /// `SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`.
    Fair,
    /// `SCHED_FIFO`, `SCHED_RR`, and tasks boosted to them.
    Realtime,
    /// `SCHED_DEADLINE`.
    Deadline,
    /// Per-CPU stopper threads.
    Stop,
}

/// How urgent a task is at one moment; greater is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// Its class.
    pub class: Class,
    /// Within the class: minus the relative deadline in ns, the realtime priority, or the weight.
    ///
    /// A deadline that nothing names counts as the latest.
    pub rank: i64,
}

impl Urgency {
    /// Of an idle CPU.
    pub const IDLE: Self = Self { class: Class::Idle, rank: 0 };

    /// Of a task, by its kernel priority at that moment (boosts included) and its policy.
    #[must_use]
    pub fn of(trace: &Trace, task: TaskId, at: Timestamp) -> Self {
        let t = trace.task(task);
        let prio = t.prio_at(at).unwrap_or_else(|| t.sched.kernel_prio());
        if prio == 0 && trace.name(task).starts_with("migration/") {
            return Self { class: Class::Stop, rank: 0 };
        }
        if prio < 0 {
            let deadline = i64::try_from(t.sched.deadline.0).ok().filter(|d| *d > 0);
            return Self { class: Class::Deadline, rank: -deadline.unwrap_or(i64::MAX) };
        }
        if prio < 100 {
            return Self { class: Class::Realtime, rank: 99 - i64::from(prio) };
        }
        let weight = if t.sched.policy == SchedPolicy::Idle {
            WEIGHT_IDLE
        } else {
            weight_of_nice(prio - 120)
        };
        Self { class: Class::Fair, rank: i64::from(weight) }
    }
}

/// Load weight of `SCHED_IDLE`.
const WEIGHT_IDLE: u32 = 3;

/// Load weight of a nice level, 1024 at nice 0; levels out of range count as the nearest one.
///
/// # Source
///
/// `sched_prio_to_weight` in `kernel/sched/core.c`; kernel model 5.2.
#[must_use]
pub fn weight_of_nice(nice: i32) -> u32 {
    const WEIGHTS: [u32; 40] = [
        88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100,
        4904, 3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172,
        137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
    ];
    WEIGHTS[usize::try_from(nice.clamp(-20, 19) + 20).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nice_levels_have_the_kernels_weights() {
        assert_eq!([-20, -5, 0, 19].map(weight_of_nice), [88761, 3121, 1024, 15]);
        assert_eq!(weight_of_nice(99), 15);
    }
}
