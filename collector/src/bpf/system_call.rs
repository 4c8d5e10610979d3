//! The system call `bpf`: one safe function per command that is used here.
//!
//! Source: `include/uapi/linux/bpf.h`. Fields behind the last one named here are zero, as the
//! kernel demands of callers who do not know them. Errors are numbers as in `errno.h`.

use super::mutex_call::Moment;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What a map holds and for how many keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum MapKind<'m> {
    /// 32-bit number to a value of `value_size` bytes.
    Array { value_size: u32 },
    /// 32-bit number to a value of `value_size` bytes, for few of all numbers; the key is in the low
    /// half of eight bytes.
    Hash { value_size: u32 },
    /// Address to eight bytes, for few of all addresses.
    Addresses,
    /// Records in the order in which they were written, without keys.
    Ring { bytes: u32 },
    /// 32-bit number to a ring like this one.
    Rings { like: BorrowedFd<'m> },
}

/// Where a program will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramKind {
    /// At a tracepoint, with the tracepoint's own arguments.
    RawTracepoint,
    /// At a perf event of a tracepoint, with the record's fields.
    TracepointEvent,
    /// Where the function with this type id begins.
    FunctionEntry { function: u32 },
    /// Where the function with this type id returns.
    FunctionReturn { function: u32 },
    /// Where functions begin or return, with the registers; `is_many`: of several at a time.
    Functions { is_many: bool },
}

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const PROGRAM_LOAD: u32 = 5;
const OBJECT_INFORMATION: u32 = 15;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const LINK_CREATE: u32 = 28;

/// `BPF_TRACE_KPROBE_MULTI`.
const AT_FUNCTIONS: u32 = 42;

/// The programs call helpers that the kernel lends to programs under the GPL only.
const LICENSE: &CStr = c"GPL";

/// The length of what the verifier has to say, in bytes; it says the most important thing last.
const LOG_SIZE: u32 = 1 << 16;

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
}

#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramLoad {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    network_interface: u32,
    expected_attach_type: u32,
    own_types: [u32; 9],
    attach_btf_id: u32,
    attach_program: u32,
    padding: u32,
}

#[repr(C)]
struct ObjectInformation {
    object: u32,
    size: u32,
    information: u64,
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program: u32,
    padding: u32,
}

#[repr(C)]
struct LinkFunctions {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    where_in_them: u32,
    count: u32,
    names: u64,
    addresses: u64,
    cookies: u64,
}

/// A program the kernel refused, and what its verifier said about it.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) errno: i32,
    /// Empty if the verifier was not asked.
    pub(super) log: String,
}

/// Makes a map of so many entries; a ring has its own measure.
pub(super) fn create_map(kind: MapKind<'_>, entries: u32) -> Result<OwnedFd, i32> {
    let (kind, key_size, value_size, entries, inner) = match kind {
        MapKind::Hash { value_size } => (1, 4, value_size, entries, 0),
        MapKind::Addresses => (1, 8, 8, entries, 0),
        MapKind::Array { value_size } => (2, 4, value_size, entries, 0),
        MapKind::Rings { like } => (12, 4, 4, entries, number(like)),
        MapKind::Ring { bytes } => (27, 0, 0, bytes, 0),
    };
    descriptor(call(
        MAP_CREATE,
        &mut MapCreate { kind, key_size, value_size, entries, flags: 0, inner },
    )?)
}

/// Puts a ring at `key` of a map of rings.
pub(super) fn put_ring(map: BorrowedFd<'_>, key: u32, ring: BorrowedFd<'_>) -> Result<(), i32> {
    let value = number(ring);
    let (key, value) = (address(&raw const key), address(&raw const value));
    let mut element = MapElement { map: number(map), padding: 0, key, value, flags: 0 };
    call(MAP_UPDATE, &mut element).map(|_| ())
}

/// Reads the 8-byte value at `key` of an array.
pub(super) fn look_up(map: BorrowedFd<'_>, key: u32) -> Result<u64, i32> {
    let mut found = 0u64;
    let (key, value) = (address(&raw const key), address(&raw mut found));
    let mut element = MapElement { map: number(map), padding: 0, key, value, flags: 0 };
    call(MAP_LOOKUP, &mut element)?;
    Ok(found)
}

/// Hands a program to the kernel; it is not attached yet.
pub(super) fn load_program(
    kind: ProgramKind,
    name: [u8; 16],
    code: &[u64],
) -> Result<OwnedFd, Rejected> {
    let (kind, expected_attach_type, attach_btf_id) = match kind {
        ProgramKind::RawTracepoint => (17, 0, 0),
        ProgramKind::TracepointEvent => (5, 0, 0),
        ProgramKind::FunctionEntry { function } => (26, 24, function),
        ProgramKind::FunctionReturn { function } => (26, 25, function),
        ProgramKind::Functions { is_many } => (2, if is_many { AT_FUNCTIONS } else { 0 }, 0),
    };
    let request = ProgramLoad {
        kind,
        instruction_count: u32::try_from(code.len()).expect("programs are short"),
        instructions: address(code.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        network_interface: 0,
        expected_attach_type,
        own_types: [0; 9],
        attach_btf_id,
        attach_program: 0,
        padding: 0,
    };
    // The verifier writes its reasons only on demand, and writing them takes time.
    let refused = match call(PROGRAM_LOAD, &mut request.clone()).and_then(descriptor) {
        Ok(program) => return Ok(program),
        Err(errno) => errno,
    };
    let mut log = vec![0u8; LOG_SIZE as usize];
    let log_address = address(log.as_mut_ptr());
    let mut again = ProgramLoad { log_level: 1, log_size: LOG_SIZE, log: log_address, ..request };
    if let Ok(program) = call(PROGRAM_LOAD, &mut again).and_then(descriptor) {
        return Ok(program);
    }
    let log = CStr::from_bytes_until_nul(&log).map(|log| log.to_string_lossy().into_owned());
    Err(Rejected { errno: refused, log: log.unwrap_or_default() })
}

/// Attaches a program: to `tracepoint`, or without one to the function it was loaded for.
pub(super) fn attach(program: BorrowedFd<'_>, tracepoint: Option<&CStr>) -> Result<OwnedFd, i32> {
    let name = tracepoint.map_or(0, |name| address(name.as_ptr()));
    let mut request = RawTracepointOpen { name, program: number(program), padding: 0 };
    descriptor(call(RAW_TRACEPOINT_OPEN, &mut request)?)
}

/// Attaches a program to the beginning of all these functions, or to their return.
///
/// The kernel does it through fprobe; it has the command since Linux 5.18.
pub(super) fn attach_to_functions(
    program: BorrowedFd<'_>,
    functions: &[&CStr],
    moment: Moment,
) -> Result<OwnedFd, i32> {
    let names: Vec<u64> = functions.iter().map(|name| address(name.as_ptr())).collect();
    let mut request = LinkFunctions {
        program: number(program),
        target: 0,
        attach_type: AT_FUNCTIONS,
        flags: 0,
        where_in_them: u32::from(moment == Moment::Return),
        count: u32::try_from(names.len()).map_err(|_| libc::E2BIG)?,
        names: address(names.as_ptr()),
        addresses: 0,
        cookies: 0,
    };
    descriptor(call(LINK_CREATE, &mut request)?)
}

/// How often the kernel did not run a program, because it was still running on that CPU.
///
/// Counted by Linux 5.12 and later; zero before.
pub(super) fn skipped_runs(program: BorrowedFd<'_>) -> Result<u64, i32> {
    /// `recursion_misses` in `struct bpf_prog_info`, in 8-byte words.
    const RECURSION_MISSES: usize = 26;
    let mut information = [0u64; 29];
    let size = u32::try_from(size_of_val(&information)).expect("232 bytes");
    let information_address = address(information.as_mut_ptr());
    let object = number(program);
    let mut request = ObjectInformation { object, size, information: information_address };
    call(OBJECT_INFORMATION, &mut request)?;
    Ok(information[RECURSION_MISSES])
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

#[expect(unsafe_code, reason = "the only system call that talks to BPF has no safe wrapper")]
fn call<Request>(command: u32, request: &mut Request) -> Result<libc::c_long, i32> {
    // SAFETY: every `Request` is one of the `repr(C)` structs above: without implicit padding,
    // no longer than the size passed, and each address in it is that of a live value of this
    // module of the length the command reads or writes.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *request, size_of::<Request>()) };
    if result < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    Ok(result)
}

#[expect(unsafe_code, reason = "a descriptor from the kernel is a bare number")]
fn descriptor(result: libc::c_long) -> Result<OwnedFd, i32> {
    let descriptor = RawFd::try_from(result).map_err(|_| libc::EBADF)?;
    // SAFETY: callers pass results of commands that return a new descriptor, which nobody
    // else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
