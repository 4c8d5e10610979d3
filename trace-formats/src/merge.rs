//! Per-CPU streams into one, ordered by (time, CPU, position in the CPU's stream).

use crate::Event;

/// Merges streams; each becomes ordered by time first, records of equal time keeping their order.
///
/// True is returned as well when a stream's clock ran backwards.
pub(crate) fn merge(mut streams: Vec<Vec<Event>>) -> (Vec<Event>, u64) {
    let mut backwards = 0;
    for stream in &mut streams {
        let steps = stream.windows(2).filter(|w| w[1].at < w[0].at).count() as u64;
        if steps > 0 {
            backwards += steps;
            stream.sort_by_key(|e| e.at);
        }
    }
    streams.sort_by_key(|s| s.first().map(|e| e.cpu));
    let total = streams.iter().map(Vec::len).sum();
    let mut merged = Vec::with_capacity(total);
    if streams.len() == 1 {
        return (streams.pop().unwrap_or_default(), backwards);
    }
    let mut heads: std::collections::BinaryHeap<_> = streams
        .iter()
        .enumerate()
        .filter_map(|(s, events)| {
            events.first().map(|e| std::cmp::Reverse((e.at, e.cpu, s, 0usize)))
        })
        .collect();
    while let Some(std::cmp::Reverse((_, _, s, i))) = heads.pop() {
        let stream = &streams[s];
        let Some(event) = stream.get(i) else { continue };
        merged.push(*event);
        if let Some(next) = stream.get(i + 1) {
            heads.push(std::cmp::Reverse((next.at, next.cpu, s, i + 1)));
        }
    }
    (merged, backwards)
}
