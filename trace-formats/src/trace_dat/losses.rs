//! What a trace.dat says was lost: marks on pages and the kernel's totals, each loss once.

use super::header::{Buffer, CpuStat};
use crate::ring_buffer::Missed;
use crate::{CpuId, Lost, LostWhat, Timestamp};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    lost: Vec<Lost>,
    cpus: BTreeMap<(Buffer, CpuId), CpuTimes>,
}

#[derive(Clone, Copy, Debug)]
struct CpuTimes {
    /// Of the first and the newest record; `None` before there is one.
    seen: Option<(Timestamp, Timestamp)>,
    /// A loss that no record has followed.
    open: Missed,
}

impl Losses {
    /// A page of this buffer and CPU begins.
    pub(super) fn page(&mut self, place: (Buffer, CpuId), missed: Missed) {
        let times = self.cpus.entry(place).or_insert(CpuTimes { seen: None, open: missed });
        if missed != Missed::Nothing {
            times.open = missed;
        }
    }

    /// A record of this buffer and CPU was read.
    pub(super) fn record(&mut self, place: (Buffer, CpuId), at: Timestamp) {
        let Some(times) = self.cpus.get_mut(&place) else { return };
        let missed = std::mem::replace(&mut times.open, Missed::Nothing);
        let after = times.seen.map_or(at, |(_, newest)| newest);
        times.seen = Some((times.seen.map_or(at, |(first, _)| first), at));
        if missed != Missed::Nothing {
            let events = match missed {
                Missed::Counted(events) => Some(events),
                _ => None,
            };
            let (what, cpu) = (what(place.0), Some(place.1));
            self.lost.push(Lost { cpu, what, events, after, before: at });
        }
    }

    /// All losses, with what the kernel's totals add.
    ///
    /// A total that exceeds what the pages tell explains their losses of unknown
    /// size; only without such a loss is it one of its own: overwritten events
    /// lie before a CPU's first record, dropped ones behind its last.
    pub(super) fn finish(
        mut self,
        stats: &BTreeMap<(Buffer, CpuId), CpuStat>,
        span: Option<(Timestamp, Timestamp)>,
    ) -> Vec<Lost> {
        let (start, end) = span.unwrap_or_default();
        for (place, stat) in stats {
            let (what, cpu) = (what(place.0), Some(place.1));
            let own = self.lost.iter_mut().filter(|lost| (lost.what, lost.cpu) == (what, cpu));
            let (mut told, mut unsized_losses) = (0u64, Vec::new());
            for lost in own {
                match lost.events {
                    Some(events) => told = told.saturating_add(events),
                    None => unsized_losses.push(lost),
                }
            }
            let total = stat.overrun.saturating_add(stat.dropped);
            let rest = total.saturating_sub(told);
            if rest == 0 {
                continue;
            }
            if let [only] = unsized_losses.as_mut_slice() {
                only.events = Some(rest);
            }
            if !unsized_losses.is_empty() {
                continue;
            }
            let seen = self.cpus.get(place).and_then(|times| times.seen);
            let (first, newest) = seen.unwrap_or((end, start));
            let dropped = rest.min(stat.dropped);
            for (events, after, before) in [(rest - dropped, start, first), (dropped, newest, end)]
            {
                if events > 0 {
                    self.lost.push(Lost { cpu, what, events: Some(events), after, before });
                }
            }
        }
        self.lost.sort_by_key(|lost| (lost.after, lost.before, lost.cpu));
        self.lost
    }
}

/// What a buffer can lose.
fn what(buffer: Buffer) -> LostWhat {
    match buffer {
        Buffer::Top => LostWhat::Events,
        Buffer::Owners => LostWhat::OwnRecords,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(marks: &[(Missed, u64)], stat: CpuStat) -> Vec<(Option<u64>, u64, u64)> {
        let mut losses = Losses::default();
        for (missed, at) in marks {
            losses.page((Buffer::Top, CpuId(0)), *missed);
            losses.record((Buffer::Top, CpuId(0)), Timestamp(*at));
        }
        let stats = BTreeMap::from([((Buffer::Top, CpuId(0)), stat)]);
        let found = losses.finish(&stats, Some((Timestamp(1), Timestamp(99))));
        found.iter().map(|lost| (lost.events, lost.after.0, lost.before.0)).collect()
    }

    #[test]
    fn totals_add_only_what_the_pages_do_not_tell() {
        let stat = |overrun, dropped| CpuStat { overrun, dropped };
        let counted = [(Missed::Nothing, 10), (Missed::Counted(5), 20)];
        assert_eq!(losses(&counted, stat(5, 0)), [(Some(5), 10, 20)]);
        let found = losses(&counted, stat(7, 1));
        assert_eq!(found, [(Some(2), 1, 10), (Some(5), 10, 20), (Some(1), 20, 99)]);
    }

    #[test]
    fn a_total_gives_a_loss_its_size() {
        let stat = CpuStat { overrun: 9, dropped: 0 };
        let marked = [(Missed::Nothing, 10), (Missed::Some, 20)];
        assert_eq!(losses(&marked, stat), [(Some(9), 10, 20)]);
        assert_eq!(losses(&marked, CpuStat::default()), [(None, 10, 20)]);
    }
}
