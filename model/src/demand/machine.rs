//! The machine a demand is replayed on, from the sidecar and the trace.

use super::unbroken::unbroken;
use super::{Machine, Preemption, chances, tick};
use crate::{CpuId, Host, Nanos, Recording, SchedEvent};

/// Reads the machine; what neither source says is assumed and listed.
pub(super) fn machine(recording: &Recording, host: Option<&Host>) -> Machine {
    let mut assumed = Vec::new();
    let host = host.cloned().unwrap_or_default();
    let cpus = cpus(recording, &host);
    let n = cpus.len();
    let known = host.hz.filter(|hz| (1..=100_000).contains(hz));
    let seen = if known.is_some() { None } else { tick::find(&recording.events, &recording.names) };
    let hz = known.unwrap_or_else(|| {
        assumed.push(match seen {
            Some(tick) => format!("HZ={} (slices end so)", tick.hz),
            None => "HZ=1000".to_owned(),
        });
        seen.map_or(1000, |tick| tick.hz)
    });
    let preemption = preemption(host.preemption.as_deref()).unwrap_or_else(|| {
        assumed.push("full preemption".to_owned());
        Preemption::Full
    });
    let hrtick = host.features.get("hrtick").copied().unwrap_or_else(|| {
        // Slices that end at ticks are not timed.
        let ends = if seen.is_some() { "slices end at ticks" } else { "slices timed by hrtick" };
        assumed.push(ends.to_owned());
        seen.is_none()
    });
    let base_slice =
        host.base_slice_ns.filter(|s| (1..=1_000_000_000).contains(s)).unwrap_or_else(|| {
            let slice = 700_000 * (1 + u64::from(n.clamp(1, 8).ilog2()));
            assumed.push(format!("base slice {slice} ns"));
            slice
        });
    let per_cpu = |given: &Option<Vec<u32>>| {
        given.clone().filter(|v| v.len() == n).unwrap_or_else(|| vec![0; n])
    };
    if host.llc_of_cpu.as_ref().is_none_or(|v| v.len() != n) && n > 1 {
        assumed.push("one last-level cache".to_owned());
    }
    let each_its_own = || (0..).take(n).collect();
    let cores = host.core_of_cpu.clone().filter(|v| v.len() == n);
    if cores.is_none() && host.smt == Some(true) {
        assumed.push(
            "no SMT siblings (`smt` says there are, `core_of_cpu` does not say which)".to_owned(),
        );
    }
    let phase = tick_phase(recording, hz).or(seen.map(|tick| tick.phase));
    let tick_phase = phase.unwrap_or_else(|| {
        assumed.push("ticks at multiples of their period".to_owned());
        Nanos(0)
    });
    Machine {
        newidle_of_cpu: chances::measure(
            unbroken(&recording.events),
            &recording.names,
            Some(&host),
            &cpus,
        ),
        core_of_cpu: cores.unwrap_or_else(each_its_own),
        llc_of_cpu: per_cpu(&host.llc_of_cpu),
        node_of_cpu: per_cpu(&host.node_of_cpu),
        cpus,
        hz,
        tick_phase,
        preemption,
        hrtick,
        base_slice: Nanos(base_slice),
        assumed,
    }
}

/// The CPUs of the sidecar, else of the file, and those that events name; one at least.
fn cpus(recording: &Recording, host: &Host) -> Vec<CpuId> {
    let mut cpus: Vec<CpuId> = match &host.cpus {
        Some(cpus) => cpus.iter().map(|c| CpuId(*c)).collect(),
        None => recording.cpus.clone(),
    };
    cpus.extend(recording.events.iter().map(|e| e.cpu).collect::<std::collections::BTreeSet<_>>());
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.is_empty() {
        cpus.push(CpuId(0));
    }
    cpus
}

fn preemption(name: Option<&str>) -> Option<Preemption> {
    match name? {
        "none" => Some(Preemption::None),
        "voluntary" => Some(Preemption::Voluntary),
        "lazy" => Some(Preemption::Lazy),
        "full" => Some(Preemption::Full),
        _ => None,
    }
}

/// Where the tick falls within its period: the first armed tick timer says.
fn tick_phase(recording: &Recording, hz: u32) -> Option<Nanos> {
    let period = u64::from(1_000_000_000 / hz);
    recording.events.iter().find_map(|event| match event.kind {
        SchedEvent::HrtimerStart { function, expires_ns, .. }
            if recording.names.text(function).starts_with("tick_") =>
        {
            Some(Nanos(u64::try_from(expires_ns).ok()? % period))
        }
        _ => None,
    })
}
