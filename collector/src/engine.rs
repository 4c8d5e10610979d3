//! Either engine, behind one face.

use crate::control::Control;
use crate::instance::KernelCount;
use crate::own_events::OwnEvents;
use crate::perf_engine::PerfEngine;
use crate::plan::Plan;
use crate::probes::Probes;
use crate::request::Via;
use crate::spool::Spool;
use crate::stream::Lost;
use crate::tracefs::Tracefs;
use crate::tracefs_engine::TracefsEngine;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A recording that is being made.
pub(crate) enum Engine {
    Tracefs(Box<TracefsEngine>),
    Perf(Box<PerfEngine>),
}

/// What both engines need to begin.
#[derive(Clone, Copy)]
pub(crate) struct Around<'r> {
    pub plan: &'r Plan,
    pub tracefs: &'r Tracefs,
    pub spool: &'r Spool,
    /// This process, and its start in clock ticks since boot.
    pub me: (u32, u64),
    pub control: &'r Arc<Control>,
}

/// What became of a recording.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Losses that the buffers told.
    pub lost: Vec<Lost>,
    /// The kernel's own counts, by CPU.
    pub kernel: BTreeMap<u32, KernelCount>,
    /// Records that are in the file.
    pub events: u64,
    /// Bytes that left the buffers.
    pub taken: u64,
    /// Addresses of the locks that were waited for.
    pub locks: BTreeSet<u64>,
    /// `stats` texts of tracefs.
    pub stats: Vec<String>,
    /// What went wrong.
    pub failures: Vec<anyhow::Error>,
}

impl Ended {
    /// Gives losses without a size the one that the kernel's count leaves for them, where a CPU
    /// has only one such gap.
    pub(crate) fn settle_losses(&mut self) {
        for (cpu, count) in &self.kernel {
            let own = self.lost.iter().filter(|lost| lost.cpu == *cpu);
            let told: u64 = own.filter_map(|lost| lost.records).sum();
            let mut unknown =
                self.lost.iter_mut().filter(|lost| lost.cpu == *cpu && lost.records.is_none());
            if let (Some(gap), None) = (unknown.next(), unknown.next()) {
                gap.records = count.overrun.checked_sub(told).filter(|rest| *rest > 0);
            }
        }
        self.lost.sort_by_key(|lost| (lost.cpu, lost.before));
    }
}

impl Engine {
    pub(crate) fn prepare(around: &Around<'_>, probes: &Probes) -> Result<Self> {
        Ok(match around.plan.via {
            Via::Tracefs => Self::Tracefs(Box::new(TracefsEngine::prepare(around, probes)?)),
            Via::Perf => Self::Perf(Box::new(PerfEngine::prepare(around, probes)?)),
        })
    }

    /// Begins to record.
    pub(crate) fn start(&mut self, own: &Arc<OwnEvents>) -> Result<()> {
        match self {
            Self::Tracefs(engine) => engine.start(own),
            Self::Perf(engine) => engine.start(own),
        }
    }

    /// Lets no more events in.
    pub(crate) fn stop(&self) -> Result<()> {
        match self {
            Self::Tracefs(engine) => engine.stop(),
            Self::Perf(engine) => engine.stop(),
        }
    }

    /// Takes what is left, and counts.
    pub(crate) fn finish(&mut self) -> Ended {
        let mut ended = match self {
            Self::Tracefs(engine) => engine.finish(),
            Self::Perf(engine) => engine.finish(),
        };
        ended.settle_losses();
        ended
    }

    /// Writes what a flight recorder holds into a spool of its own.
    pub(crate) fn dump(&self, spool: &Spool) -> Result<()> {
        match self {
            Self::Tracefs(engine) => engine.dump(spool),
            Self::Perf(engine) => engine.dump(spool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_gives_the_only_unknown_gap_its_size() {
        let gap = |cpu, records, before| Lost { cpu, records, after: before - 1, before };
        let count = |overrun| KernelCount { overrun, dropped: 0, read: 0 };
        let mut ended = Ended {
            lost: vec![gap(1, None, 9), gap(1, Some(30), 5), gap(0, None, 7), gap(0, None, 8)],
            kernel: BTreeMap::from([(0, count(50)), (1, count(100))]),
            ..Ended::default()
        };
        ended.settle_losses();
        let expected = [gap(0, None, 7), gap(0, None, 8), gap(1, Some(30), 5), gap(1, Some(70), 9)];
        assert_eq!(ended.lost, expected);
    }
}
