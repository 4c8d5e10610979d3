//! What our own programs in the kernel write: which they are, and one ring a CPU for it.

use crate::bpf::{
    self, Attached, Btf, EventKind, OpenCalls, Output, OwnRecord, Programs, RecordRing,
};
use crate::offer::CallProbe;
use crate::perf_event;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of our events: far above those that a kernel has given out.
const FIRST_ID: u16 = 60_000;

/// A set of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramSet {
    /// Reads the owner of a lock when a wait begins.
    Owners,
    /// Sees the calls that move bytes through pipes and sockets.
    Transfers {
        /// Numbers of the events at which they run.
        at: [u16; 2],
    },
    /// Sees futex calls, and the owners of user-space mutexes.
    Futexes {
        /// Numbers of the events at which they run.
        at: [u16; 2],
    },
    /// Sees every call of a mutex that somebody has waited for.
    ContendedCalls {
        /// How.
        by: CallProbe,
    },
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
    output: Option<Output>,
    programs: Vec<Programs>,
    pub kinds: Vec<OwnKind>,
    /// Nanoseconds of the monotonic clock between which records count.
    begin: AtomicU64,
    end: AtomicU64,
}

impl OwnEvents {
    /// Loads what is wanted.
    pub(crate) fn load(sets: &[ProgramSet]) -> Result<Self> {
        let mut own = Self {
            output: None,
            programs: Vec::new(),
            kinds: Vec::new(),
            begin: AtomicU64::new(0),
            end: AtomicU64::new(u64::MAX),
        };
        if sets.is_empty() {
            return Ok(own);
        }
        let btf = Btf::read(Path::new(bpf::KERNEL_BTF))?;
        let output = Output::new()?;
        let sees_calls = sets.iter().any(|set| matches!(set, ProgramSet::Transfers { .. }));
        // The programs hold it from here on.
        let calls = sees_calls.then(OpenCalls::new).transpose()?;
        for set in sets {
            let first = FIRST_ID + u16::try_from(own.kinds.len())?;
            let (programs, kinds) = match set {
                ProgramSet::Owners => {
                    (Programs::load_owner(&btf, first, &output)?, bpf::OWNER_EVENTS)
                }
                ProgramSet::Transfers { at } => {
                    let Some(calls) = &calls else { continue };
                    let programs = Programs::load_transfers(&btf, first, &output, *at, calls)?;
                    (programs, bpf::TRANSFER_EVENTS)
                }
                ProgramSet::Futexes { at } => {
                    (Programs::load_futexes(first, &output, *at)?, bpf::FUTEX_EVENTS)
                }
                ProgramSet::ContendedCalls { by } => {
                    let calls = calls.as_ref();
                    let programs = Programs::load_contended(&btf, first, &output, *by, calls)?;
                    (programs, bpf::MUTEX_CALL_EVENTS)
                }
                ProgramSet::MutexCalls => {
                    (Programs::load_mutex_calls(&btf, first, &output)?, bpf::MUTEX_CALL_EVENTS)
                }
            };
            own.programs.push(programs);
            own.kinds.extend((first..).zip(kinds).map(|(id, kind)| OwnKind { kind: *kind, id }));
        }
        own.output = Some(output);
        Ok(own)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Functions whose calls are not seen, because this kernel does not have them.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.programs.iter().flat_map(Programs::missing).copied()
    }

    /// Opens the ring that takes the records of one CPU.
    pub(crate) fn open(&self, cpu: u32, kib: u64) -> Result<RecordRing> {
        let output = self.output.as_ref().context("no programs, so no records")?;
        Ok(output.open(cpu, kib)?)
    }

    /// Lets the programs run.
    pub(crate) fn attach(&self) -> Result<Vec<Attached>> {
        Ok(self.programs.iter().map(Programs::attach).collect::<Result<_, _>>()?)
    }

    /// Records count from now on.
    ///
    /// Programs are attached one after the other, and attaching takes locks: those of which only
    /// the acquisition was seen would be held for ever.
    pub(crate) fn begin(&self) {
        self.begin.store(perf_event::now(), Ordering::Release);
    }

    /// Records later than this do not count: programs go as they came.
    pub(crate) fn end(&self) {
        self.end.store(perf_event::now(), Ordering::Release);
    }

    /// Records that did not fit into a ring, by CPU.
    pub(crate) fn dropped(&self) -> Result<Vec<u64>> {
        Ok(self.output.as_ref().map(Output::dropped).transpose()?.unwrap_or_default())
    }

    /// Times that a program did not run because it was already running.
    pub(crate) fn skipped(&self) -> Result<u64> {
        Ok(self.programs.iter().map(Programs::skipped).sum::<Result<_, _>>()?)
    }

    /// The record itself, without what fills a ring's words, and its kind's place; `None` for
    /// one that does not count.
    pub(crate) fn record<'b>(&self, own: &OwnRecord<'b>) -> Option<(usize, &'b [u8])> {
        let (begin, end) = (self.begin.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
        if !(begin..=end).contains(&own.at) {
            return None;
        }
        let id = u16::from_le_bytes(*own.bytes.first_chunk::<2>()?);
        let place = usize::from(id.checked_sub(FIRST_ID)?);
        let size = self.kinds.get(place)?.kind.record_size;
        Some((place, own.bytes.get(..usize::from(size))?))
    }

    /// System and format texts, as tracefs would print them.
    pub(crate) fn formats(&self) -> Option<(String, Vec<String>)> {
        let formats: Vec<String> = self.kinds.iter().map(|own| own.kind.format(own.id)).collect();
        (!formats.is_empty()).then(|| (bpf::SYSTEM.to_owned(), formats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_from_before_the_beginning_and_after_the_end_do_not_count() {
        let mut own = OwnEvents::load(&[]).expect("nothing to load");
        own.kinds.push(OwnKind { kind: bpf::OWNER_EVENTS[0], id: FIRST_ID });
        let mut bytes = FIRST_ID.to_le_bytes().to_vec();
        bytes.resize(56, 0);
        let at = |at| OwnRecord { at, lost: 0, process: 1, thread: 1, bytes: &bytes };
        // What fills the ring's words behind a record is cut off.
        assert_eq!(own.record(&at(5)), Some((0, &bytes[..48])));
        own.begin();
        assert_eq!(own.record(&at(5)), None);
        let now = perf_event::now();
        assert_eq!(own.record(&at(now)), Some((0, &bytes[..48])));
        own.end();
        assert_eq!(own.record(&at(now)), Some((0, &bytes[..48])));
        assert_eq!(own.record(&at(now + 1_000_000_000)), None);
    }
}
