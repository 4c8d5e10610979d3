//! The machine of a script, and that of a demand.

use crate::demand::{Demand, Latencies, Machine, Preemption};
use trace_formats::script::{self, CpuList, Sharing};

pub(super) fn read(machine: &script::Machine) -> Machine {
    let cpus: Vec<_> = machine.cpus.iter().collect();
    let n = cpus.len();
    let newidle_of_cpu = match machine.newidle[..] {
        [all] => vec![all; n],
        _ => machine.newidle.clone(),
    };
    Machine {
        cpus,
        hz: machine.hz,
        tick_phase: machine.tick_phase,
        preemption: match machine.preemption {
            script::Preemption::None => Preemption::None,
            script::Preemption::Voluntary => Preemption::Voluntary,
            script::Preemption::Lazy => Preemption::Lazy,
            script::Preemption::Full => Preemption::Full,
        },
        hrtick: machine.hrtick,
        base_slice: machine.base_slice,
        core_of_cpu: machine.cores.by_position(n),
        llc_of_cpu: machine.caches.by_position(n),
        node_of_cpu: machine.nodes.by_position(n),
        newidle_of_cpu,
        passes_over_halted: machine.passes_over_halted,
        assumed: machine.assumed.clone(),
    }
}

pub(super) fn read_latencies(latencies: &script::Latencies) -> Latencies {
    Latencies {
        wake_busy: latencies.wake_busy,
        wake_idle: latencies.wake_idle,
        wake_deep: latencies.wake_deep,
        slice_end: latencies.slice_end,
        lock_contended: latencies.lock_contended,
        lock_sleep: latencies.lock_sleep,
        lock_wake: latencies.lock_wake,
        buffer_sleep: latencies.buffer_sleep,
        buffer_wake: latencies.buffer_wake,
        buffer_tell: latencies.buffer_tell,
    }
}

pub(super) fn write(demand: &Demand) -> script::Machine {
    let machine = &demand.machine;
    let l = &demand.latencies;
    let newidle = match &machine.newidle_of_cpu[..] {
        [first, rest @ ..] if rest.iter().all(|chance| chance == first) => vec![*first],
        list => list.to_vec(),
    };
    script::Machine {
        cpus: CpuList::of(machine.cpus.iter().copied()),
        cores: Sharing::of(&machine.core_of_cpu),
        caches: Sharing::of(&machine.llc_of_cpu),
        nodes: Sharing::of(&machine.node_of_cpu),
        newidle,
        passes_over_halted: machine.passes_over_halted,
        hz: machine.hz,
        tick_phase: machine.tick_phase,
        hrtick: machine.hrtick,
        base_slice: machine.base_slice,
        preemption: match machine.preemption {
            Preemption::None => script::Preemption::None,
            Preemption::Voluntary => script::Preemption::Voluntary,
            Preemption::Lazy => script::Preemption::Lazy,
            Preemption::Full => script::Preemption::Full,
        },
        latencies: script::Latencies {
            wake_busy: l.wake_busy,
            wake_idle: l.wake_idle,
            wake_deep: l.wake_deep,
            slice_end: l.slice_end,
            lock_contended: l.lock_contended,
            lock_sleep: l.lock_sleep,
            lock_wake: l.lock_wake,
            buffer_sleep: l.buffer_sleep,
            buffer_wake: l.buffer_wake,
            buffer_tell: l.buffer_tell,
        },
        assumed: machine.assumed.clone(),
        start: demand.start,
        end: Some(demand.end),
    }
}
