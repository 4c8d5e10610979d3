//! What a trace promises whatever the events are.

use crate::soup::soup;
use model::{Trace, assemble};

/// Intervals, stretches and owners leave no holes.
fn promises(trace: &Trace) {
    for task in &trace.tasks {
        for pair in task.intervals.windows(2) {
            assert!(pair[0].end == pair[1].start && pair[0].start < pair[0].end);
        }
    }
    for cpu in &trace.cpus {
        assert!(cpu.stretches.windows(2).all(|p| p[0].end == p[1].start));
        assert!(cpu.donations.windows(2).all(|p| p[0].end <= p[1].start));
    }
    for wait in &trace.waits {
        let mut at = wait.begin;
        for span in &wait.ownership {
            assert_eq!(span.from, at);
            at = span.to;
        }
        assert!(at == wait.until || wait.ownership.is_empty() && wait.begin == wait.until);
    }
}

#[test]
fn any_order_of_events_is_a_trace() {
    for seed in 0..4000 {
        promises(&assemble(&soup(seed), None));
    }
}
