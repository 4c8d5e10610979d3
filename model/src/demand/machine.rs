//! The machine a demand is replayed on, from the sidecar and the trace.

use super::chances::Chances;
use super::halted::Halted;
use super::latency::{Spans, SwitchCauses};
use super::tick::SliceEnds;
use super::{Latencies, Machine, Preemption};
use crate::{CpuId, Event, Host, Names, Nanos, Recording, SchedEvent};
use std::collections::BTreeSet;

/// What a walk over a recording measures of the machine.
pub(crate) struct Measures<'r> {
    names: &'r Names,
    causes: SwitchCauses<'r>,
    spans: Spans,
    slice_ends: SliceEnds,
    /// When the first timer of the tick was due.
    tick: Option<u64>,
    chances: Chances<'r>,
    halted: Halted,
}

impl<'r> Measures<'r> {
    /// Nothing yet.
    pub(crate) fn new(names: &'r Names, host: Option<&'r Host>) -> Self {
        Self {
            names,
            causes: SwitchCauses::new(names),
            spans: Spans::default(),
            slice_ends: SliceEnds::default(),
            tick: None,
            chances: Chances::new(names, host),
            halted: Halted::default(),
        }
    }

    /// Takes the next event; returns what the kernel took on the way to it, if it is a switch.
    pub(crate) fn observe(&mut self, event: &Event) -> Nanos {
        let cause = self.causes.observe(event);
        self.spans.observe_locks(event);
        if let Some(cause) = cause {
            self.spans.observe(event, cause);
        }
        self.slice_ends.observe(event, cause.map(|(cause, _)| cause));
        self.chances.observe(event);
        self.halted.observe(event);
        if let SchedEvent::HrtimerStart { function, expires_ns, .. } = event.kind
            && self.tick.is_none()
            && self.names.text(function).starts_with("tick_")
        {
            self.tick = u64::try_from(expires_ns).ok();
        }
        cause.map_or(Nanos(0), |(_, span)| span)
    }

    /// The machine, and what its kernel's own work took; what neither the sidecar nor the
    /// recording says is assumed and listed.
    pub(crate) fn finish(self, cpus: Vec<CpuId>, host: Option<&Host>) -> (Machine, Latencies) {
        let host = host.cloned().unwrap_or_default();
        let machine = self.machine(cpus, &host);
        let n_cpus = machine.cpus.len();
        (machine, self.spans.finish(n_cpus))
    }

    fn machine(&self, cpus: Vec<CpuId>, host: &Host) -> Machine {
        let mut assumed = Vec::new();
        let n = cpus.len();
        let known = host.hz.filter(|hz| (1..=100_000).contains(hz));
        let seen = if known.is_some() { None } else { self.slice_ends.find() };
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
            let by_default = times_slices(host);
            let (hrtick, ends) = match seen {
                Some(_) => (false, "slices end at ticks"),
                None if by_default => (true, "slices timed by hrtick"),
                None => (false, "slices end at ticks, as by default before Linux 7.0"),
            };
            assumed.push(ends.to_owned());
            hrtick
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
                "no SMT siblings (`smt` says there are, `core_of_cpu` does not say which)"
                    .to_owned(),
            );
        }
        let period = u64::from(1_000_000_000 / hz);
        let armed = self.tick.map(|expiry| Nanos(expiry % period));
        let phase = armed.or(seen.map(|tick| tick.phase));
        let tick_phase = phase.unwrap_or_else(|| {
            assumed.push("ticks at multiples of their period".to_owned());
            Nanos(0)
        });
        Machine {
            newidle_of_cpu: self.chances.finish(&cpus),
            passes_over_halted: self.halted.are_passed_over(),
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
}

/// The CPUs of the sidecar, else of the file, and those that events name; one at least.
pub(crate) fn cpus(
    recording: &Recording,
    seen: &BTreeSet<CpuId>,
    host: Option<&Host>,
) -> Vec<CpuId> {
    let mut cpus: Vec<CpuId> = match host.and_then(|h| h.cpus.as_ref()) {
        Some(cpus) => cpus.iter().map(|c| CpuId(*c)).collect(),
        None => recording.cpus.clone(),
    };
    cpus.extend(seen);
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

/// Whether slices are timed precisely by default.
///
/// # Source
///
/// `SCHED_FEAT(HRTICK)` in `kernel/sched/features.h`: off before Linux 7.0, and since then on where
/// `CONFIG_HRTIMER_REARM_DEFERRED` is.
fn times_slices(host: &Host) -> bool {
    let version = host.kernel.as_deref().and_then(|kernel| kernel.split('.').next());
    version.and_then(|major| major.parse().ok()).is_none_or(|major: u32| major >= 7)
}
