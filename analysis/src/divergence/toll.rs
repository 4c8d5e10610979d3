//! What a replay's differences come to: time that tasks of one name spend otherwise.

use model::{TaskState, Trace};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is measured of the tasks of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Time on CPUs; counted are the times they left one.
    Cpu,
    /// Time without a CPU that was wanted; counted are wakeups.
    Delay,
    /// Time asleep or gone, waits for locks aside; counted are sleeps.
    Away,
    /// Length of waits for locks; counted are waits.
    LockWait,
}

impl Measure {
    const ALL: [Self; 4] = [Self::Cpu, Self::Delay, Self::Away, Self::LockWait];
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Toll {
    /// The tasks' name.
    pub task: String,
    /// How many there are.
    pub tasks: usize,
    /// What differs.
    pub what: Measure,
    /// In the recording: time, and how often.
    pub recorded: Amount,
    /// In the replay.
    pub replayed: Amount,
}

/// A time and a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Nanoseconds.
    pub ns: u64,
    /// How often.
    pub count: u64,
}

impl Toll {
    /// The time that is spent otherwise.
    #[must_use]
    pub fn ns(&self) -> u64 {
        self.recorded.ns.abs_diff(self.replayed.ns)
    }

    /// Work must be the same on both sides, within the kernel's own; waits need not.
    #[must_use]
    pub fn breaks_conservation(&self) -> bool {
        self.what == Measure::Cpu && self.ns() * 50 > self.recorded.ns.max(self.replayed.ns)
    }
}

type Sums<'t> = BTreeMap<&'t str, (usize, [Amount; 4])>;

/// Everything that differs in time or number, the most time first.
pub(super) fn tolls(recorded: &Trace, replayed: &Trace) -> Vec<Toll> {
    let (a, mut b) = (sums(recorded), sums(replayed));
    let mut list = Vec::new();
    for (name, (tasks, before)) in a {
        let (found, mut after) = b.remove(name).unwrap_or_default();
        // Who never stirs in the replay sleeps through it.
        after[2].ns += replayed.span().0 * tasks.saturating_sub(found) as u64;
        for (what, (recorded, replayed)) in
            Measure::ALL.into_iter().zip(before.into_iter().zip(after))
        {
            if recorded != replayed {
                list.push(Toll { task: name.to_owned(), tasks, what, recorded, replayed });
            }
        }
    }
    list.sort_by(|x, y| y.ns().cmp(&x.ns()).then(x.task.cmp(&y.task)).then(x.what.cmp(&y.what)));
    list
}

fn sums(trace: &Trace) -> Sums<'_> {
    let mut sums: Sums<'_> = BTreeMap::new();
    for (id, task) in trace.tasks() {
        let (tasks, amounts) = sums.entry(trace.name(id)).or_default();
        *tasks += 1;
        let [cpu, delay, away, waits] = amounts;
        let runs = task.time_in(|s| s.running_on().is_some()).0;
        let wants = task.time_in(|s| matches!(s, TaskState::Runnable(..))).0;
        let blocked = task.time_in(|s| matches!(s, TaskState::Blocked(_))).0;
        (cpu.ns, cpu.count) = (cpu.ns + runs, cpu.count + task.switches);
        delay.ns += wants;
        away.ns += trace.span().0.saturating_sub(runs + wants + blocked);
        let sleeps = task.intervals.iter().filter(|i| matches!(i.state, TaskState::Sleeping(_)));
        away.count += sleeps.count() as u64;
        waits.count += task.waits.len() as u64;
        let length = |&wait: &usize| {
            let wait = &trace.waits[wait];
            wait.until.since(wait.begin).0
        };
        waits.ns += task.waits.iter().map(length).sum::<u64>();
    }
    for wakeup in &trace.wakeups {
        if let Some((_, [_, delay, ..])) = sums.get_mut(trace.name(wakeup.task)) {
            delay.count += 1;
        }
    }
    sums
}
