//! Costs: zero changes nothing, and each one costs what and where it says.

use model::{Demand, SchedEvent};
use replay::{Costs, Options, Policy};

/// S3: the owner is preempted on another CPU, and its donor moves there and back.
const MOVED: &str = "cpus 2
L  fair     cpu 1  at 0  lock m  run 4  unlock m
M  fifo 30  cpu 1  at 1  run 10
H  fifo 50  cpu 0  at 2  lock m  run 1  unlock m
";

/// When H gets the mutex and when the last task is gone, in microseconds.
fn times(costs: Costs) -> (u64, u64) {
    let script = trace_formats::script::parse(MOVED).expect("a scenario");
    let demand = Demand::from_script(&script);
    let options = Options { costs, ..Options::default() };
    let events = replay::replay(&demand, Policy::Pe73, &options).recording.events;
    let mut end = events.iter().filter(|e| matches!(e.kind, SchedEvent::ContentionEnd { .. }));
    let mut last = events.iter().filter(|e| matches!(e.kind, SchedEvent::Switch { .. }));
    let us = |e: Option<&model::Event>| e.expect("an event").at.0 / 1000;
    (us(end.next_back()), us(last.next_back()))
}

#[test]
fn each_cost_delays_what_it_is_of() {
    let zero = Costs::default();
    assert_eq!(times(zero), (5_000, 14_000));
    // L comes, H comes to ask, L comes again in place of M, and H comes with the mutex.
    assert_eq!(times(Costs { switch: 10_000, ..zero }).0, 5_040);
    assert_eq!(times(Costs { chain_hop: 7_000, ..zero }), (5_007, 14_007));
    // The pass through idle on H's CPU before H moves.
    assert_eq!(times(Costs { idle_detour: 5_000, ..zero }), (5_005, 14_000));
    assert_eq!(times(Costs { ipi: 3_000, ..zero }).0, 5_003);
    // H goes to sleep for the mutex, which its CPU does before it idles, and comes back.
    assert_eq!(times(Costs { lock_sleep: 4_000, ..zero }).0, 5_000);
    assert_eq!(times(Costs { lock_wake: 2_000, ..zero }).0, 5_002);
    // H's CPU has been idle for long twice: when H comes, and when it returns.
    assert_eq!(times(Costs { wake_deep: 6_000, ..zero }).0, 5_012);
    // Nobody executes on another CPU than before.
    assert_eq!(times(Costs { migration: 9_000, far_migration: 9_000, ..zero }), times(zero));
}

#[test]
fn waits_for_a_pipe_and_their_ends_have_costs() {
    let script = "pipe p\nR fifo 50 at 0 take p 1 run 1\nW fifo 40 at 1 run 1 put p 1 run 1\n\
                  M fifo 30 at 0 run 5\n";
    let last = |costs: Costs| {
        let demand =
            Demand::from_script(&trace_formats::script::parse(script).expect("a scenario"));
        let options = Options { costs, ..Options::default() };
        let schedule = replay::replay(&demand, Policy::None, &options);
        let end = |tid: i32| {
            let events = schedule.recording.events.iter();
            let mut of = events
                .filter(|e| matches!(e.kind, SchedEvent::Switch { prev, .. } if prev.0 == tid));
            of.next_back().expect("an end").at.0 / 1000
        };
        [end(1), end(2), end(3)]
    };
    let zero = Costs::default();
    assert_eq!(last(zero), [3_000, 4_000, 8_000]);
    // M begins later on the CPU on which R has gone to sleep.
    assert_eq!(last(Costs { buffer_sleep: 7_000, ..zero }), [3_000, 4_000, 8_007]);
    assert_eq!(last(Costs { buffer_wake: 3_000, ..zero }), [3_003, 4_003, 8_003]);
    // The wakeup takes longer, and R comes behind it.
    assert_eq!(last(Costs { buffer_tell: 5_000, ..zero }), [3_005, 4_005, 8_005]);
}
