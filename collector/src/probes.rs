//! Everything beside the kernel's own events: dynamic events, and programs of ours.

use crate::dynamic::{self, DynamicEvent, DynamicEvents};
use crate::offer::CallProbe;
use crate::own_events::{OwnEvents, ProgramSet};
use crate::plan::Plan;
use crate::tracefs::Tracefs;
use anyhow::Result;

/// Probes that are ready and see nothing yet.
#[derive(Debug)]
pub(crate) struct Probes {
    pub own: OwnEvents,
    pub dynamic: Option<DynamicEvents>,
    /// How every mutex call is seen.
    pub call_probe: Option<CallProbe>,
    /// What does not work, or is not seen.
    pub remarks: Vec<String>,
}

impl Probes {
    /// Makes what the plan needs; of the ways to see mutex calls, the first that works.
    ///
    /// # Errors
    ///
    /// When a program is refused, or no way works.
    pub(crate) fn prepare(plan: &Plan, tracefs: &Tracefs, me: (u32, u64)) -> Result<Self> {
        let mut sets = plan.program_sets.clone();
        let mut probes = Self {
            own: OwnEvents::load(&[])?,
            dynamic: None,
            call_probe: None,
            remarks: Vec::new(),
        };
        for probe in &plan.call_probes {
            if *probe == CallProbe::Fentry {
                sets.push(ProgramSet::MutexCalls);
                probes.call_probe = Some(*probe);
                break;
            }
            match DynamicEvents::create(tracefs, *probe, me) {
                Ok(events) => {
                    probes.dynamic = Some(events);
                    probes.call_probe = Some(*probe);
                    break;
                }
                Err(error) => probes.remarks.push(format!("{}: {error:#}", probe.name())),
            }
        }
        if probes.call_probe.is_none() && !plan.call_probes.is_empty() {
            return Err(dynamic::nothing_works(&probes.remarks));
        }
        probes.own = OwnEvents::load(&sets)?;
        let unseen = probes.dynamic.iter().flat_map(|dynamic| dynamic.missing.iter().copied());
        let mut unseen: Vec<&str> = unseen.chain(probes.own.missing()).collect();
        unseen.dedup();
        if !unseen.is_empty() {
            let unseen = unseen.join(", ");
            probes.remarks.push(format!("this kernel has no {unseen}: such calls are not seen"));
        }
        Ok(probes)
    }

    /// The dynamic events, one by one.
    pub(crate) fn dynamic(&self) -> &[DynamicEvent] {
        self.dynamic.as_ref().map_or(&[], |dynamic| &dynamic.events)
    }
}
