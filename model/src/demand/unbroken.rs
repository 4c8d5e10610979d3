//! Which stretch of a recording its clock carries through.

use crate::Event;

/// Silence on all CPUs that no recording of a schedule has, in ns: ten minutes.
///
/// Kernel threads wake within seconds. Beyond this, a damaged time stamp or two recordings in one
/// file are far more likely, and a replay would run through years of idle time.
const SILENCE_NS: u64 = 600_000_000_000;

/// The longest stretch of events without such a silence, by number of events; the first of equals.
pub(crate) fn unbroken(events: &[Event]) -> &[Event] {
    let mut best: &[Event] = &[];
    for stretch in events.chunk_by(|a, b| b.at.0.saturating_sub(a.at.0) <= SILENCE_NS) {
        if stretch.len() > best.len() {
            best = stretch;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, CpuId, SchedEvent, Tid, Timestamp};

    fn at(second: u64) -> Event {
        let kind = SchedEvent::Exec { tid: Tid(1), old_tid: Tid(1) };
        let at = Timestamp(second * 1_000_000_000);
        Event { at, cpu: CpuId(0), context: Context::Task, tid: Tid(1), kind }
    }

    #[test]
    fn a_silence_ends_a_stretch() {
        let events: Vec<Event> = [0, 600, 1200, 1801, 1802, 99_000_000].map(at).to_vec();
        assert_eq!(unbroken(&events), &events[..3]);
        assert_eq!(unbroken(&events[3..]), &events[3..5]);
        assert_eq!(unbroken(&[]), &[] as &[Event]);
    }
}
