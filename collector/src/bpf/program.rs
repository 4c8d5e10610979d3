//! A set of programs: loaded into the kernel, attached on request, gone when dropped.

use super::btf::Btf;
use super::error::{BpfError, Step};
use super::event::{MUTEX_CALL_EVENTS, OWNER_EVENTS};
use super::output::{self, Output};
use super::system_call::{self, ProgramKind, Rejected};
use super::{mutex_call, owner};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Programs in the kernel that write records into perf events.
///
/// The order of use: load, [`Programs::set_output`] for every CPU, [`Programs::attach`].
/// Dropping the value detaches them: the kernel keeps nothing without its descriptors.
#[derive(Debug)]
pub struct Programs {
    // Dropped first: no program may run while its maps go away.
    links: Vec<OwnedFd>,
    loaded: Vec<Loaded>,
    output: Output,
    missing: Vec<&'static str>,
}

#[derive(Debug)]
struct Loaded {
    program: OwnedFd,
    place: Place,
}

/// Where a program is to be attached.
#[derive(Clone, Copy, Debug)]
enum Place {
    Tracepoint(&'static std::ffi::CStr),
    Function(&'static str),
}

impl Programs {
    /// Loads the program that writes [`OWNER_EVENTS`], with `id` in their `common_type`.
    ///
    /// # Errors
    ///
    /// If the kernel's locks look otherwise than expected, or it refuses the program.
    pub fn load_owner(btf: &Btf, id: u16) -> Result<Self, BpfError> {
        let layout = owner::Layout::of(btf)?;
        let output = Output::new(output::possible_cpus())?;
        let code = owner::program(layout, &OWNER_EVENTS[0], id, &output);
        let place = Place::Tracepoint(owner::TRACEPOINT);
        let loaded = vec![load(ProgramKind::RawTracepoint, place, &code)?];
        Ok(Self { links: Vec::new(), loaded, output, missing: Vec::new() })
    }

    /// Loads the programs that write [`MUTEX_CALL_EVENTS`].
    ///
    /// The event at index `i` gets the id `first_id + i`.
    ///
    /// # Errors
    ///
    /// If the kernel has no `mutex_lock`, `mutex_unlock` or `mutex_trylock` to attach to, or
    /// refuses a program. Kernels that are locked down refuse all of them with `EPERM`.
    pub fn load_mutex_calls(btf: &Btf, first_id: u16) -> Result<Self, BpfError> {
        let count = MUTEX_CALL_EVENTS.len();
        if usize::from(u16::MAX - first_id) + 1 < count {
            return Err(BpfError::Ids { first: first_id, count });
        }
        let output = Output::new(output::possible_cpus())?;
        let calls = mutex_call::programs(btf, first_id, &output)?;
        let loaded: Result<_, _> = calls
            .programs
            .iter()
            .map(|call| load(call.kind, Place::Function(call.function), &call.code))
            .collect();
        Ok(Self { links: Vec::new(), loaded: loaded?, output, missing: calls.missing })
    }

    /// Lets the records of `cpu` go to `event`, a `PERF_COUNT_SW_BPF_OUTPUT` event opened for
    /// that CPU and with `PERF_SAMPLE_RAW`.
    ///
    /// Perf makes a record 4 bytes longer, so that it ends with one of its own 8-byte words.
    ///
    /// # Errors
    ///
    /// If the event is of another kind, or the CPU did not exist when the programs were loaded.
    pub fn set_output(&self, cpu: u32, event: BorrowedFd<'_>) -> Result<(), BpfError> {
        self.output.set(cpu, event)
    }

    /// Lets the programs run from now on. Records of CPUs without output are counted as dropped.
    ///
    /// # Errors
    ///
    /// If the kernel refuses one of them; then none of them stays attached.
    pub fn attach(&mut self) -> Result<(), BpfError> {
        let links: Result<_, _> = self.loaded.iter().map(Loaded::attach).collect();
        self.links = links?;
        Ok(())
    }

    /// Stops the programs; counts can still be read.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// How many records could not be written, per CPU from CPU 0 on.
    ///
    /// A full ring buffer is not among the reasons: perf itself reports those as lost.
    ///
    /// # Errors
    ///
    /// If the kernel does not let the counts be read.
    pub fn dropped(&self) -> Result<Vec<u64>, BpfError> {
        self.output.dropped()
    }

    /// How many times a program did not run, on all CPUs together, because it was already
    /// running on that CPU (for another task, or below an interrupt).
    ///
    /// # Errors
    ///
    /// If the kernel does not let the counts be read.
    pub fn skipped(&self) -> Result<u64, BpfError> {
        let counts = self.loaded.iter().map(|loaded| {
            system_call::skipped_runs(loaded.program.as_fd())
                .map_err(|errno| BpfError::refused(Step::ReadCounts, errno))
        });
        counts.sum()
    }

    /// Functions of interest that this kernel does not have; their calls are not seen.
    #[must_use]
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }
}

impl Loaded {
    fn attach(&self) -> Result<OwnedFd, BpfError> {
        let (tracepoint, place) = match self.place {
            Place::Tracepoint(name) => (Some(name), name.to_string_lossy().into_owned()),
            Place::Function(name) => (None, name.to_owned()),
        };
        system_call::attach(self.program.as_fd(), tracepoint)
            .map_err(|errno| BpfError::refused(Step::Attach { place }, errno))
    }
}

fn load(kind: ProgramKind, place: Place, code: &[u64]) -> Result<Loaded, BpfError> {
    // What `bpftool prog` shows.
    let name = *b"resched\0\0\0\0\0\0\0\0\0";
    let step = match place {
        Place::Tracepoint(name) => {
            Step::LoadAtTracepoint { tracepoint: name.to_string_lossy().into_owned() }
        }
        Place::Function(name) => Step::LoadAtFunction { function: name.into() },
    };
    match system_call::load_program(kind, name, code) {
        Ok(program) => Ok(Loaded { program, place }),
        Err(Rejected { errno, log }) => Err(BpfError::rejected(step, errno, &log)),
    }
}
