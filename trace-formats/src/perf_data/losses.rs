//! What a perf.data file says was lost: `LOST` and `LOST_SAMPLES` records, each loss once.
//!
//! The kernel writes `LOST` into a CPU's buffer in front of the first record
//! that fits again. Since 6.0 it also counts the lost samples of each event, and
//! perf writes those counts as `LOST_SAMPLES` without a time at the end of the
//! file: mostly the same samples, but also those after which nothing fitted any more.

use super::bits::Sample;
use crate::{CpuId, Lost, LostWhat, Timestamp};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    lost: Vec<Lost>,
    /// Time of the newest record of each CPU, in the order of the file.
    newest: BTreeMap<CpuId, Timestamp>,
    /// The CPU on which the event with this id counts.
    cpu_of_id: BTreeMap<u64, CpuId>,
    /// Totals that carry no time.
    totals: BTreeMap<Option<CpuId>, u64>,
}

impl Losses {
    /// The event with this id counts on this CPU.
    pub(super) fn id_is_of(&mut self, id: u64, cpu: CpuId) {
        self.cpu_of_id.insert(id, cpu);
    }

    /// A sample of this CPU was read.
    pub(super) fn sample(&mut self, cpu: CpuId, at: Timestamp) {
        self.newest.insert(cpu, at);
    }

    /// A record says that `events` were lost.
    pub(super) fn record(&mut self, events: u64, id: &Sample<'_>) {
        let Some(time) = id.time.filter(|time| *time > 0) else {
            // perf leaves the CPU of such a record 0; the event's id knows it.
            let cpu = id.id.and_then(|id| self.cpu_of_id.get(&id).copied());
            let total = self.totals.entry(cpu).or_insert(0);
            *total = total.saturating_add(events);
            return;
        };
        let cpu = id.cpu.map(CpuId);
        let before = Timestamp(time);
        let newest = match cpu {
            Some(cpu) => self.newest.get(&cpu).copied(),
            None => self.newest.values().min().copied(),
        };
        let after = newest.map_or(before, |newest| newest.min(before));
        self.lost.push(Lost { cpu, what: LostWhat::Events, events: Some(events), after, before });
    }

    /// All losses, ordered by time.
    pub(super) fn finish(mut self, span: Option<(Timestamp, Timestamp)>) -> Vec<Lost> {
        let (start, end) = span.unwrap_or_default();
        for (cpu, total) in std::mem::take(&mut self.totals) {
            let same = self.lost.iter().filter(|lost| cpu.is_none() || lost.cpu == cpu);
            let told: u64 = same.filter_map(|lost| lost.events).fold(0, u64::saturating_add);
            let untold = total.saturating_sub(told);
            if untold > 0 {
                let newest = cpu.and_then(|cpu| self.newest.get(&cpu).copied());
                let after = newest.unwrap_or(start);
                self.lost.push(Lost {
                    cpu,
                    what: LostWhat::Events,
                    events: Some(untold),
                    after,
                    before: end.max(after),
                });
            }
        }
        self.lost.sort_by_key(|lost| (lost.after, lost.before, lost.cpu));
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(time: Option<u64>, cpu: u32) -> Sample<'static> {
        Sample { id: Some(u64::from(cpu) + 40), time, cpu: Some(cpu), raw: None }
    }

    #[test]
    fn a_total_repeats_what_was_told_with_a_time_and_adds_the_rest() {
        let mut losses = Losses::default();
        losses.id_is_of(41, CpuId(1));
        losses.sample(CpuId(1), Timestamp(10));
        losses.record(7, &id(Some(20), 1));
        losses.sample(CpuId(1), Timestamp(30));
        losses.record(6, &id(Some(0), 1));
        losses.record(4, &id(None, 1));
        let lost = |events, after, before| Lost {
            cpu: Some(CpuId(1)),
            what: LostWhat::Events,
            events: Some(events),
            after: Timestamp(after),
            before: Timestamp(before),
        };
        let found = losses.finish(Some((Timestamp(5), Timestamp(90))));
        assert_eq!(found, [lost(7, 10, 20), lost(3, 30, 90)]);
    }
}
