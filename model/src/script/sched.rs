//! Classes of a script and scheduling parameters of a demand.

use crate::demand::SchedParams;
use crate::{Nanos, SchedPolicy};
use trace_formats::script::{Class, Parameters};

/// The parameters of a class, with a fair task's own slice.
pub(super) fn params(class: Class, slice: Option<Nanos>) -> SchedParams {
    let fair = |policy, nice| SchedParams { policy, nice, ..SchedParams::default() };
    let realtime =
        |policy, rt_priority| SchedParams { policy, rt_priority, ..SchedParams::default() };
    let mut params = match class {
        Class::Fair(nice) => fair(SchedPolicy::Other, nice),
        Class::Batch(nice) => fair(SchedPolicy::Batch, nice),
        Class::Idle(nice) => fair(SchedPolicy::Idle, nice),
        Class::Fifo(priority) => realtime(SchedPolicy::Fifo, priority),
        Class::Rr(priority) => realtime(SchedPolicy::Rr, priority),
        Class::Stop => fair(SchedPolicy::Stop, 0),
        Class::Deadline { budget, deadline, period } => SchedParams {
            policy: SchedPolicy::Deadline,
            runtime: budget,
            deadline,
            period,
            ..SchedParams::default()
        },
        Class::Exact(p) => SchedParams {
            policy: p.policy,
            nice: p.nice,
            rt_priority: p.rt_priority,
            runtime: p.runtime,
            deadline: p.deadline,
            period: p.period,
        },
    };
    if let Some(slice) = slice {
        params.runtime = slice;
    }
    params
}

/// The class that says these parameters, with a fair task's own slice.
pub(super) fn class(of: SchedParams) -> (Class, Option<Nanos>) {
    let slice = Some(of.runtime).filter(|slice| *slice != Nanos(0));
    let (class, slice) = match of.policy {
        SchedPolicy::Other => (Class::Fair(of.nice), slice),
        SchedPolicy::Batch => (Class::Batch(of.nice), slice),
        SchedPolicy::Idle => (Class::Idle(of.nice), slice),
        SchedPolicy::Fifo => (Class::Fifo(of.rt_priority), None),
        SchedPolicy::Rr => (Class::Rr(of.rt_priority), None),
        SchedPolicy::Stop => (Class::Stop, None),
        SchedPolicy::Deadline => {
            let SchedParams { runtime: budget, deadline, period, .. } = of;
            (Class::Deadline { budget, deadline, period }, None)
        }
    };
    let is_in_range = match class {
        Class::Fair(nice) | Class::Batch(nice) | Class::Idle(nice) => (-20..=19).contains(&nice),
        Class::Fifo(priority) | Class::Rr(priority) => (1..=99).contains(&priority),
        _ => true,
    };
    if is_in_range && params(class, slice) == of {
        return (class, slice);
    }
    let exact = Parameters {
        policy: of.policy,
        nice: of.nice,
        rt_priority: of.rt_priority,
        runtime: of.runtime,
        deadline: of.deadline,
        period: of.period,
    };
    (Class::Exact(exact), None)
}
