//! What our own programs in the kernel write: which they are, and one perf event a CPU for it.

use crate::bpf::{self, Btf, EventKind, Programs};
use crate::perf_event::{self, PerfEvent, Source, Tasks};
use anyhow::{Context, Result};
use std::os::fd::AsFd;
use std::path::Path;

/// Numbers of our events: far above those that a kernel has given out.
const FIRST_ID: u16 = 60_000;

/// A set of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramSet {
    /// Reads the owner of a lock when a wait begins.
    Owners,
    /// Sees every mutex call.
    MutexCalls,
}

/// One kind of record, with its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnKind {
    pub kind: EventKind,
    pub id: u16,
}

/// Programs that are loaded and do not run yet.
#[derive(Debug)]
pub(crate) struct OwnEvents {
    programs: Vec<Programs>,
    pub kinds: Vec<OwnKind>,
}

impl OwnEvents {
    /// Loads what is wanted.
    pub(crate) fn load(sets: &[ProgramSet]) -> Result<Self> {
        let mut own = Self { programs: Vec::new(), kinds: Vec::new() };
        if sets.is_empty() {
            return Ok(own);
        }
        let btf = Btf::read(Path::new(bpf::KERNEL_BTF))?;
        for set in sets {
            let first = FIRST_ID + u16::try_from(own.kinds.len())?;
            let (programs, kinds) = match set {
                ProgramSet::Owners => (Programs::load_owner(&btf, first)?, bpf::OWNER_EVENTS),
                ProgramSet::MutexCalls => {
                    (Programs::load_mutex_calls(&btf, first)?, bpf::MUTEX_CALL_EVENTS)
                }
            };
            own.programs.push(programs);
            own.kinds.extend((first..).zip(kinds).map(|(id, kind)| OwnKind { kind: *kind, id }));
        }
        Ok(own)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Functions whose calls are not seen, because this kernel does not have them.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().flat_map(Programs::missing).copied()
    }

    /// Opens the event that takes the records of one CPU.
    pub(crate) fn open(&self, cpu: u32) -> Result<PerfEvent> {
        let attr = perf_event::attribute(Source::Bpf, Tasks::Untold);
        let event = PerfEvent::open(attr, cpu).context("BPF has nowhere to write to")?;
        for programs in &self.programs {
            programs.set_output(cpu, event.as_fd())?;
        }
        Ok(event)
    }

    /// Lets the programs run.
    pub(crate) fn attach(&mut self) -> Result<()> {
        self.programs.iter_mut().try_for_each(Programs::attach)?;
        Ok(())
    }

    /// Records that no buffer took, by CPU, the kernel's own losses aside; and times that a
    /// program did not run because it was already running.
    pub(crate) fn dropped(&self) -> Result<(Vec<u64>, u64)> {
        let mut by_cpu: Vec<u64> = Vec::new();
        let mut skipped = 0;
        for programs in &self.programs {
            let dropped = programs.dropped()?;
            by_cpu.resize(by_cpu.len().max(dropped.len()), 0);
            by_cpu.iter_mut().zip(dropped).for_each(|(sum, n)| *sum += n);
            skipped += programs.skipped()?;
        }
        Ok((by_cpu, skipped))
    }

    /// The record itself, without what perf appends to fill its words, and its kind's place.
    pub(crate) fn record<'b>(&self, raw: &'b [u8]) -> Option<(usize, &'b [u8])> {
        let id = u16::from_le_bytes(*raw.first_chunk::<2>()?);
        let place = usize::from(id.checked_sub(FIRST_ID)?);
        let size = self.kinds.get(place)?.kind.record_size;
        Some((place, raw.get(..usize::from(size))?))
    }

    /// System and format texts, as tracefs would print them.
    pub(crate) fn formats(&self) -> Option<(String, Vec<String>)> {
        let formats: Vec<String> = self.kinds.iter().map(|own| own.kind.format(own.id)).collect();
        (!formats.is_empty()).then(|| (bpf::SYSTEM.to_owned(), formats))
    }
}
