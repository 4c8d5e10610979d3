//! Events in an order that no kernel emits: no question panics, and parts sum to their waits.

use crate::soup::soup;
use analysis::{TableName, compare, decompose_all, table, worst_episodes};
use model::assemble;

#[test]
fn any_order_of_events_can_be_asked() {
    let mut before = assemble(&soup(0), None);
    for seed in 1..4000 {
        let trace = assemble(&soup(seed), None);
        // That parts sum is asserted inside.
        assert_eq!(decompose_all(&trace).len(), trace.waits.len());
        if seed % 8 == 0 {
            for name in TableName::ALL {
                let asked = table(&trace, name);
                assert_eq!(asked.is_err(), name.question().is_some_and(|q| q.ask(&trace).is_err()));
            }
            assert_eq!(worst_episodes(&trace, 3).len(), trace.waits.len().min(3));
            assert!(compare(&before, &trace).tasks.len() >= trace.tasks.len());
            before = trace;
        }
    }
}
