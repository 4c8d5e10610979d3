//! One task over a window, as marks to draw.

use model::{CpuId, CpuLine, TaskId, TaskState, Timestamp, Trace};

/// What a task did, as a drawing tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Executed.
    Runs,
    /// Executed on a donor's time.
    RunsForDonor,
    /// Executed inside a lock wait: spun.
    Spins,
    /// Waited for a lock off its CPU.
    Waits,
    /// Waited for a lock and lent its time to whoever executed.
    Donates,
    /// Wanted a CPU and had none, inside a lock wait or not.
    Runnable,
    /// Slept.
    Sleeps,
    /// The trace does not say, or the task is not there.
    Unknown,
}

impl Mark {
    /// The character of a text drawing.
    #[must_use]
    pub fn character(self) -> char {
        match self {
            Self::Runs => '#',
            Self::RunsForDonor => 'D',
            Self::Spins => 's',
            Self::Waits => 'w',
            Self::Donates => 'd',
            Self::Runnable => '·',
            Self::Sleeps => ' ',
            Self::Unknown => '?',
        }
    }
}

/// A stretch of a lane: [from, to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSpan {
    /// From here,
    pub from: Timestamp,
    /// to here, exclusive.
    pub to: Timestamp,
    /// What the task did.
    pub mark: Mark,
    /// Where, when it executed or was queued at a known place.
    pub cpu: Option<CpuId>,
}

/// A task over a window; spans cover it without holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Who.
    pub task: TaskId,
    /// What it did.
    pub spans: Vec<LaneSpan>,
}

/// Draws one lane.
pub(super) fn lane(trace: &Trace, task: TaskId, window: (Timestamp, Timestamp)) -> Lane {
    let mut marks = Marks { trace, task, spans: Vec::new(), at: window.0 };
    for interval in trace.task(task).between(window.0, window.1) {
        let (from, to) = (interval.start.max(window.0), interval.end.min(window.1));
        marks.push(from, Mark::Unknown, None);
        match interval.state {
            TaskState::Running(cpu) => marks.running(cpu, to),
            TaskState::Runnable(cpu, _) => marks.push(to, Mark::Runnable, cpu),
            TaskState::Sleeping(_) => marks.push(to, Mark::Sleeps, None),
            TaskState::Blocked(_) => marks.blocked(to),
            TaskState::Unknown | TaskState::Exited => marks.push(to, Mark::Unknown, None),
        }
    }
    marks.push(window.1, Mark::Unknown, None);
    Lane { task, spans: marks.spans }
}

struct Marks<'t> {
    trace: &'t Trace,
    task: TaskId,
    spans: Vec<LaneSpan>,
    at: Timestamp,
}

impl<'t> Marks<'t> {
    fn push(&mut self, to: Timestamp, mark: Mark, cpu: Option<CpuId>) {
        if to <= self.at {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if (last.mark, last.cpu) == (mark, cpu) => last.to = to,
            _ => self.spans.push(LaneSpan { from: self.at, to, mark, cpu }),
        }
        self.at = to;
    }

    /// On a CPU up to `to`: spinning inside waits, else for itself or for a donor.
    fn running(&mut self, cpu: CpuId, to: Timestamp) {
        let line = self.trace.cpu(cpu);
        while self.at < to {
            let wait = self.trace.wait_at(self.task, self.at);
            let waits = &self.trace.task(self.task).waits;
            let begun = waits.partition_point(|&w| self.trace.waits[w].begin <= self.at);
            let next = waits.get(begun).map(|&w| self.trace.waits[w].begin);
            let until = wait.map(|w| w.until).into_iter().chain(next).fold(to, Timestamp::min);
            let (donation, change) = line.map_or((None, None), |l| l.donation_at(self.at));
            let is_lent = donation.is_some_and(|d| d.running == self.task);
            let mark = match (wait, is_lent) {
                (Some(_), _) => Mark::Spins,
                (None, true) => Mark::RunsForDonor,
                (None, false) => Mark::Runs,
            };
            self.push(change.map_or(until, |c| c.min(until)), mark, Some(cpu));
        }
    }

    /// Blocked up to `to`: lends its time where it is somebody's donor.
    fn blocked(&mut self, to: Timestamp) {
        let from = self.at;
        let near = |line: &'t CpuLine| {
            let first = line.donations.partition_point(|d| d.end <= from);
            let last = line.donations.partition_point(|d| d.start < to);
            line.donations.get(first..last).unwrap_or_default()
        };
        let all = self.trace.cpus.iter().flat_map(near);
        let mut lent: Vec<_> =
            all.filter(|d| d.donor == self.task).map(|d| (d.start, d.end)).collect();
        lent.sort_unstable();
        for (start, end) in lent {
            self.push(start.min(to), Mark::Waits, None);
            self.push(end.min(to), Mark::Donates, None);
        }
        self.push(to, Mark::Waits, None);
    }
}
