//! Per-CPU streams into one, ordered by (time, CPU, position in the CPU's stream).

use crate::Event;
use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

/// Orders one stream by time, records of equal time keeping their order.
///
/// Returns how often the stream's clock ran backwards.
pub(crate) fn sort_by_time(events: &mut [Event]) -> u64 {
    let backwards = events.windows(2).filter(|w| w[1].at < w[0].at).count() as u64;
    if backwards > 0 {
        events.sort_by_key(|e| e.at);
    }
    backwards
}

/// Merges the streams of different CPUs.
///
/// Returns the events, and how often a stream's clock ran backwards.
pub(crate) fn merge(mut streams: Vec<Vec<Event>>) -> (Vec<Event>, u64) {
    let backwards = streams.iter_mut().map(|stream| sort_by_time(stream)).sum();
    streams.retain(|stream| !stream.is_empty());
    if streams.len() <= 1 {
        return (streams.pop().unwrap_or_default(), backwards);
    }
    let mut merged = Vec::with_capacity(streams.iter().map(Vec::len).sum());
    let key = |event: &Event, stream: usize| Reverse((event.at, event.cpu, stream));
    let mut heads: BinaryHeap<_> =
        streams.iter().enumerate().filter_map(|(s, e)| Some(key(e.first()?, s))).collect();
    let mut next = vec![0; streams.len()];
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((_, _, s)) = *head;
        let event = streams[s][next[s]];
        merged.push(event);
        next[s] += 1;
        match streams[s].get(next[s]) {
            Some(event) => *head = key(event, s),
            None => _ = PeekMut::pop(head),
        }
    }
    (merged, backwards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, CpuId, LockId, SchedEvent, Tid, Timestamp};

    fn stream(cpu: u32, times: &[u64]) -> Vec<Event> {
        let event = |(position, at): (usize, &u64)| Event {
            at: Timestamp(*at),
            cpu: CpuId(cpu),
            context: Context::Task,
            tid: Tid(0),
            kind: SchedEvent::ContendedRelease { lock: LockId(position as u64) },
        };
        times.iter().enumerate().map(event).collect()
    }

    #[test]
    fn equal_times_are_ordered_by_cpu_then_position() {
        let (merged, backwards) = merge(vec![stream(1, &[1, 5, 5, 9]), stream(0, &[5, 7])]);
        let order: Vec<_> = merged.iter().map(|e| (e.at.0, e.cpu.0)).collect();
        assert_eq!(order, [(1, 1), (5, 0), (5, 1), (5, 1), (7, 0), (9, 1)]);
        assert_eq!(merged[2], stream(1, &[1, 5, 5, 9])[1]);
        assert_eq!(backwards, 0);
    }

    #[test]
    fn a_clock_that_runs_backwards_is_counted_and_mended() {
        let (merged, backwards) = merge(vec![stream(0, &[3, 1, 2]), Vec::new()]);
        assert_eq!(merged.iter().map(|e| e.at.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(backwards, 1);
    }
}
