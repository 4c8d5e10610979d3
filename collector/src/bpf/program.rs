//! A set of programs: loaded into the kernel, attached on request, gone when dropped.

use super::btf::Btf;
use super::error::{BpfError, Step};
use super::event::{FUTEX_EVENTS, MUTEX_CALL_EVENTS, OWNER_EVENTS, TRANSFER_EVENTS};
use super::mutex_call::Moment;
use super::output::Output;
use super::system_call::{self, ProgramKind, Rejected};
use super::transfer::OpenCalls;
use super::{contended, futex, mutex_call, owner, transfer};
use crate::offer::CallProbe;
use crate::perf_event;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// Programs in the kernel that write records into an [`Output`].
#[derive(Debug)]
pub struct Programs {
    loaded: Vec<Loaded>,
    missing: Vec<&'static str>,
}

/// Programs at work, until it is dropped: the kernel keeps nothing without its descriptors.
#[derive(Debug)]
#[must_use = "dropping it ends the programs"]
pub struct Attached {
    _links: Vec<OwnedFd>,
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
    /// Through fprobe.
    Fprobe {
        function: &'static CStr,
        moment: Moment,
    },
    /// Through a breakpoint.
    Kprobe {
        function: &'static CStr,
        moment: Moment,
    },
    /// The perf event of the tracepoint with this number.
    Event {
        name: &'static str,
        id: u16,
    },
}

impl Programs {
    /// Loads the program that writes [`OWNER_EVENTS`], with `id` in their `common_type`.
    ///
    /// # Errors
    ///
    /// If the kernel's locks look otherwise than expected, or it refuses the program.
    pub fn load_owner(btf: &Btf, id: u16, output: &Output) -> Result<Self, BpfError> {
        let layout = owner::Layout::of(btf)?;
        let code = owner::program(layout, &OWNER_EVENTS[0], id, output);
        let place = Place::Tracepoint(owner::TRACEPOINT);
        let loaded = vec![load(ProgramKind::RawTracepoint, place, &code)?];
        Ok(Self { loaded, missing: Vec::new() })
    }

    /// Loads the programs that write [`MUTEX_CALL_EVENTS`].
    ///
    /// The event at index `i` gets the id `first_id + i`.
    ///
    /// # Errors
    ///
    /// If the kernel has no `mutex_lock`, `mutex_unlock` or `mutex_trylock` to attach to, or
    /// refuses a program. Kernels that are locked down refuse all of them with `EPERM`.
    pub fn load_mutex_calls(btf: &Btf, first_id: u16, output: &Output) -> Result<Self, BpfError> {
        enough_ids(first_id, MUTEX_CALL_EVENTS.len())?;
        let calls = mutex_call::programs(btf, first_id, None, output)?;
        Ok(Self { loaded: load_all(&calls.programs)?, missing: calls.missing })
    }

    /// Loads the programs that write [`MUTEX_CALL_EVENTS`] of mutexes that somebody has waited for
    /// since they are attached, `by` way of one kind of probes; except mutexes of pipes, whose
    /// sections `transfers` show.
    ///
    /// The event at index `i` gets the id `first_id + i`.
    ///
    /// # Errors
    ///
    /// If the kernel lacks `mutex_lock`, `mutex_unlock` or `mutex_trylock`, or refuses a program.
    pub fn load_contended(
        btf: &Btf,
        first_id: u16,
        output: &Output,
        by: CallProbe,
        transfers: Option<&OpenCalls>,
    ) -> Result<Self, BpfError> {
        enough_ids(first_id, MUTEX_CALL_EVENTS.len())?;
        let maps = contended::Maps::new()?;
        let place = Place::Tracepoint(owner::TRACEPOINT);
        let mut loaded =
            vec![load(ProgramKind::RawTracepoint, place, &contended::note(&maps, transfers))?];
        if by == CallProbe::Fentry {
            let calls = mutex_call::programs(btf, first_id, Some(maps.locks()), output)?;
            loaded.extend(load_all(&calls.programs)?);
            return Ok(Self { loaded, missing: calls.missing });
        }
        let (programs, missing) = contended::programs(btf, first_id, &maps, output)?;
        for contended::AtFunction { function, moment, code } in programs {
            let (is_many, place) = match by {
                CallProbe::Fprobe => (true, Place::Fprobe { function, moment }),
                _ => (false, Place::Kprobe { function, moment }),
            };
            loaded.push(load(ProgramKind::Functions { is_many }, place, &code)?);
        }
        Ok(Self { loaded, missing })
    }

    /// Loads the programs that write [`TRANSFER_EVENTS`]; the event at index `i` gets the id
    /// `first_id + i`.
    ///
    /// `at` are the numbers of `raw_syscalls:sys_enter` and `raw_syscalls:sys_exit` in tracefs.
    ///
    /// # Errors
    ///
    /// If the kernel keeps its pipes otherwise than expected, or it refuses a program.
    pub fn load_transfers(
        btf: &Btf,
        first_id: u16,
        output: &Output,
        at: [u16; 2],
        calls: &OpenCalls,
    ) -> Result<Self, BpfError> {
        let count = TRANSFER_EVENTS.len();
        let Some(second_id) = first_id.checked_add(1) else {
            return Err(BpfError::Ids { first: first_id, count });
        };
        let layout = transfer::Layout::of(btf)?;
        let (begin, end) = (&TRANSFER_EVENTS[0], &TRANSFER_EVENTS[1]);
        let code = [
            transfer::begin(layout, (begin, first_id), calls.as_fd(), output),
            transfer::end((end, second_id), calls.as_fd(), output),
        ];
        Ok(Self { loaded: load_at_calls(&code, at)?, missing: Vec::new() })
    }

    /// Loads the programs that write [`FUTEX_EVENTS`]; the event at index `i` gets the id
    /// `first_id + i`.
    ///
    /// `at` are the numbers of `raw_syscalls:sys_enter` and `raw_syscalls:sys_exit` in tracefs.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a program.
    pub fn load_futexes(first_id: u16, output: &Output, at: [u16; 2]) -> Result<Self, BpfError> {
        enough_ids(first_id, FUTEX_EVENTS.len())?;
        let code = [
            futex::begin((&FUTEX_EVENTS[0], first_id), (&FUTEX_EVENTS[2], first_id + 2), output),
            futex::end((&FUTEX_EVENTS[1], first_id + 1), output),
        ];
        Ok(Self { loaded: load_at_calls(&code, at)?, missing: Vec::new() })
    }

    /// Lets the programs run from now on.
    ///
    /// # Errors
    ///
    /// If the kernel refuses one of them; then none of them stays attached.
    pub fn attach(&self) -> Result<Attached, BpfError> {
        let links: Result<_, _> = self.loaded.iter().map(Loaded::attach).collect();
        Ok(Attached { _links: links? })
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
            Place::Fprobe { function, moment } => {
                let attach = system_call::attach_to_functions;
                let refused = |errno| refused_at(function, errno);
                return attach(self.program.as_fd(), &[function], moment).map_err(refused);
            }
            Place::Kprobe { function, moment } => {
                let attach = perf_event::run_at_function;
                let refused = |errno| refused_at(function, errno);
                return attach(function, moment, self.program.as_fd()).map_err(refused);
            }
            Place::Event { name, id } => {
                let refused = |errno| BpfError::refused(Step::Attach { place: name.into() }, errno);
                return perf_event::run_program(id, self.program.as_fd()).map_err(refused);
            }
        };
        system_call::attach(self.program.as_fd(), tracepoint)
            .map_err(|errno| BpfError::refused(Step::Attach { place }, errno))
    }
}

fn refused_at(function: &CStr, errno: i32) -> BpfError {
    BpfError::refused(Step::Attach { place: function.to_string_lossy().into_owned() }, errno)
}

fn enough_ids(first: u16, count: usize) -> Result<(), BpfError> {
    let is_enough = usize::from(u16::MAX - first) + 1 >= count;
    if is_enough { Ok(()) } else { Err(BpfError::Ids { first, count }) }
}

/// The programs at the beginning and at the end of system calls.
fn load_at_calls(code: &[Vec<u64>; 2], at: [u16; 2]) -> Result<Vec<Loaded>, BpfError> {
    let places = transfer::EVENTS.into_iter().zip(at);
    let load = |(code, (name, id)): (&Vec<u64>, (&'static str, u16))| {
        load(ProgramKind::TracepointEvent, Place::Event { name, id }, code)
    };
    code.iter().zip(places).map(load).collect()
}

fn load_all(programs: &[mutex_call::CallProgram]) -> Result<Vec<Loaded>, BpfError> {
    let load = |call: &mutex_call::CallProgram| {
        load(call.kind, Place::Function(call.function), &call.code)
    };
    programs.iter().map(load).collect()
}

fn load(kind: ProgramKind, place: Place, code: &[u64]) -> Result<Loaded, BpfError> {
    // What `bpftool prog` shows.
    let name = *b"resched\0\0\0\0\0\0\0\0\0";
    let step = match place {
        Place::Tracepoint(name) => {
            Step::LoadAtTracepoint { tracepoint: name.to_string_lossy().into_owned() }
        }
        Place::Function(name) => Step::LoadAtFunction { function: name.into() },
        Place::Fprobe { function, .. } | Place::Kprobe { function, .. } => {
            Step::LoadAtFunction { function: function.to_string_lossy().into_owned() }
        }
        Place::Event { name, .. } => Step::LoadAtTracepoint { tracepoint: name.into() },
    };
    match system_call::load_program(kind, name, code) {
        Ok(program) => Ok(Loaded { program, place }),
        Err(Rejected { errno, log }) => Err(BpfError::rejected(step, errno, &log)),
    }
}
