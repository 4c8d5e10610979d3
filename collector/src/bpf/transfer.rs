//! The programs that see the system calls that move bytes through pipes and Unix stream sockets.
//!
//! They sit where every system call begins and ends, and leave at once unless it is one of a few
//! and its file is a pipe or such a socket. They run as programs of perf events and not of raw
//! tracepoints: since Linux 6.13 the latter can be preempted there, and while one is, no other task
//! of that CPU is seen (59,952 of 154,826 runs in one recording of hackbench).
//!
//! Not seen: `splice`, `sendfile`, `io_uring`, and calls of 32-bit programs.

use super::btf::Btf;
use super::error::{BpfError, Step};
use super::event::EventKind;
use super::instruction::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use super::instruction::{Assembler, Helper, Label, Register, Width};
use super::output::{Output, Record};
use super::owner::read_kernel;
use super::system_call::{self, MapKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The events at which the two programs run.
pub(super) const EVENTS: [&str; 2] = ["raw_syscalls:sys_enter", "raw_syscalls:sys_exit"];

/// What stands in the field `flags`.
const PUT: i32 = 1;
const SOCKET: i32 = 2;
/// A pipe in packet mode (`O_DIRECT`), and a call that does not wait (`O_NONBLOCK`): the file's own
/// flags, moved to bits 2 and 3.
const FILE_FLAGS: [(i32, i32); 2] = [(libc::O_DIRECT, 4), (libc::O_NONBLOCK, 8)];

/// System calls on a file descriptor in their first argument.
const PUTS: [libc::c_long; 4] =
    [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto, libc::SYS_sendmsg];
const TAKES: [libc::c_long; 4] =
    [libc::SYS_read, libc::SYS_readv, libc::SYS_recvfrom, libc::SYS_recvmsg];

/// Bits of `i_mode` that say what a file is, and two that it can be.
const FILE_TYPE: i32 = 0o170_000;
const IS_PIPE: i32 = 0o010_000;
const IS_SOCKET: i32 = 0o140_000;
/// `AF_UNIX`, and the kinds of sockets with a bounded buffer in which bytes wait.
const UNIX: i32 = 1;
const STREAM: i32 = 1;

/// Descriptors above this are not looked at: no program has as many (`fs.nr_open`).
const MOST_FILES: i32 = 1 << 20;

/// A place for what is read on the way; the map key comes there later.
const SCRATCH: i16 = -8;

/// Where the kernel at hand keeps what the programs read, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    files: i32,
    table: i32,
    most_files: i32,
    array: i32,
    inode: i32,
    private: i32,
    file_flags: i32,
    mode: i32,
    pipe: i32,
    inode_number: i32,
    pages: i32,
    mutex: i32,
    socket: i32,
    family: i32,
    kind: i32,
    room: i32,
    peer: i32,
}

impl Layout {
    /// # Errors
    ///
    /// If the kernel is not 64-bit or keeps its files otherwise.
    pub(super) fn of(btf: &Btf) -> Result<Self, BpfError> {
        let bytes = btf.pointer_width().unwrap_or(0);
        if bytes != 8 {
            return Err(BpfError::PointerWidth { bytes });
        }
        let at = |structure: &str, path: &str| -> Result<i32, BpfError> {
            let offset = btf.offset_of(structure, path).and_then(super::owner::as_constant);
            offset.map_err(|missing| {
                let way_out = "this kernel keeps its pipes elsewhere. Record without transfers";
                BpfError::OtherKernel { missing, way_out }
            })
        };
        Ok(Self {
            files: at("task_struct", "files")?,
            table: at("files_struct", "fdt")?,
            most_files: at("fdtable", "max_fds")?,
            array: at("fdtable", "fd")?,
            inode: at("file", "f_inode")?,
            private: at("file", "private_data")?,
            file_flags: at("file", "f_flags")?,
            mode: at("inode", "i_mode")?,
            pipe: at("inode", "i_pipe")?,
            inode_number: at("inode", "i_ino")?,
            pages: at("pipe_inode_info", "max_usage")?,
            mutex: at("pipe_inode_info", "mutex")?,
            socket: at("socket", "sk")?,
            family: at("sock", "__sk_common.skc_family")?,
            kind: at("sock", "sk_type")?,
            room: at("sock", "sk_sndbuf")?,
            peer: at("unix_sock", "peer")?,
        })
    }
}

/// Calls that are going on, by thread: what goes through what.
#[derive(Debug)]
pub struct OpenCalls(OwnedFd);

impl OpenCalls {
    /// Makes the map.
    ///
    /// # Errors
    ///
    /// If the kernel gives none.
    pub fn new() -> Result<Self, BpfError> {
        let kind = MapKind::Hash { value_size: u32::from(CALL_SIZE.unsigned_abs()) };
        let made = system_call::create_map(kind, MOST_CALLS);
        made.map(Self).map_err(|errno| BpfError::refused(Step::CreateMap, errno))
    }

    /// The map, whose values hold the mutex of the pipe at [`MUTEX_OF_CALL`].
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where the value of an open call holds the mutex of its pipe, in bytes; 0 of a socket.
pub(super) const MUTEX_OF_CALL: i16 = 24;

/// Threads that are in such calls at one time, at most; most of them are asleep there.
const MOST_CALLS: u32 = 16_384;
/// All that stands in a record behind its head.
const CALL_SIZE: i16 = 32;

// What the two events hand to a program: their fields behind the common ones.
pub(super) const NUMBER: i16 = 8;
pub(super) const ARGUMENT: i16 = 16;
const COUNT: i16 = 32;
pub(super) const RESULT: i16 = 16;

/// The program at the beginning of system calls: writes one record for each call on a pipe or Unix
/// stream socket.
pub(super) fn begin(
    layout: Layout,
    (event, id): (&EventKind, u16),
    calls: BorrowedFd<'_>,
    output: &Output,
) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let [leave, chosen, is_pipe, is_socket, emit] = std::array::from_fn(|_| p.label());
    let (file, descriptor, flags) = (R7, R8, R9);
    // It belongs to the output later on.
    let count = R6;

    p.load(Width::Bytes8, R8, R1, NUMBER);
    p.load(Width::Bytes8, R7, R1, ARGUMENT);
    p.load(Width::Bytes8, count, R1, COUNT);
    p.mov_constant(flags, PUT);
    PUTS.into_iter().for_each(|call| p.jump_if_equal(R8, constant(call), chosen));
    p.mov_constant(flags, 0);
    TAKES.into_iter().for_each(|call| p.jump_if_equal(R8, constant(call), chosen));
    p.place(leave);
    p.mov_constant(R0, 0);
    p.exit();

    p.place(chosen);
    leave_if_peeking(p, leave);
    p.mov(descriptor, R7);
    find_file(p, layout, leave);
    let inode = R8;
    p.mov(inode, file);
    read_pointer(p, inode, layout.inode, leave);
    read_number(p, R1, inode, (layout.mode, 2));
    p.and_constant(R1, FILE_TYPE);
    p.jump_if_equal(R1, IS_PIPE, is_pipe);
    p.jump_if_equal(R1, IS_SOCKET, is_socket);
    p.jump(leave);

    p.place(is_pipe);
    record.begin(p, id);
    describe_pipe(p, layout, record, leave);
    p.jump(emit);
    p.place(is_socket);
    find_ends(p, layout, leave);
    record.begin(p, id);
    describe_socket(p, layout, record);

    p.place(emit);
    p.store(Width::Bytes4, R10, record.at(20), flags);
    p.store(Width::Bytes4, R10, record.at(28), count);
    // Without a place for the call its end would not be known: a loss, like a full ring.
    thread(p);
    on_calls(p, calls);
    p.mov(R3, R10);
    p.add_constant(R3, i32::from(record.at(8)));
    p.mov_constant(R4, 0);
    p.call(Helper::MapUpdate);
    p.mov(R7, R0);
    let found = output.find(p);
    output.emit_unless(p, record, R7, found);
    program.finish()
}

/// Leaves where a call looks at bytes and takes none (`MSG_PEEK`): its number is in R8, and R1 is
/// still the event.
fn leave_if_peeking(p: &mut Assembler, leave: Label) {
    let [other, look] = std::array::from_fn(|_| p.label());
    let [from, message] = [libc::SYS_recvfrom, libc::SYS_recvmsg].map(|call| (p.label(), call));
    p.jump_if_equal(R8, constant(from.1), from.0);
    p.jump_if_equal(R8, constant(message.1), message.0);
    p.jump(other);
    p.place(from.0);
    p.load(Width::Bytes8, R2, R1, ARGUMENT + 8 * 3);
    p.jump(look);
    p.place(message.0);
    p.load(Width::Bytes8, R2, R1, ARGUMENT + 8 * 2);
    p.place(look);
    p.jump_if_any_set(R2, libc::MSG_PEEK, leave);
    p.place(other);
}

/// The file of the descriptor in R8, into R7; its flags are added to R9.
fn find_file(p: &mut Assembler, layout: Layout, leave: Label) {
    let (file, descriptor, flags) = (R7, R8, R9);
    p.call(Helper::CurrentTask);
    p.mov(file, R0);
    read_pointer(p, file, layout.files, leave);
    read_pointer(p, file, layout.table, leave);
    read_number(p, R1, file, (layout.most_files, 4));
    p.jump_if_at_least(descriptor, MOST_FILES, leave);
    p.subtract(R1, descriptor);
    p.jump_if_at_most_signed(R1, 0, leave);
    read_pointer(p, file, layout.array, leave);
    p.shift_left(descriptor, 3);
    p.add(file, descriptor);
    read_pointer(p, file, 0, leave);
    for (of_file, flag) in FILE_FLAGS {
        let not_set = p.label();
        read_number(p, R1, file, (layout.file_flags, 4));
        p.and_constant(R1, of_file);
        p.jump_if_equal(R1, 0, not_set);
        p.add_constant(flags, flag);
        p.place(not_set);
    }
}

/// What a record says of the pipe whose inode is in R8.
fn describe_pipe(p: &mut Assembler, layout: Layout, record: Record, leave: Label) {
    let (inode, pipe) = (R8, R8);
    read_number(p, R1, inode, (layout.inode_number, 4));
    p.store(Width::Bytes4, R10, record.at(16), R1);
    read_pointer(p, pipe, layout.pipe, leave);
    p.store(Width::Bytes8, R10, record.at(8), pipe);
    read_kernel(p, record.at(24), 4, (pipe, layout.pages));
    p.mov(R1, pipe);
    p.add_constant(R1, layout.mutex);
    p.store(Width::Bytes8, R10, record.at(32), R1);
}

/// The two ends of the Unix stream socket whose file is in R7: its own into R8, the other into R7.
fn find_ends(p: &mut Assembler, layout: Layout, leave: Label) {
    let [is_unix, is_stream] = std::array::from_fn(|_| p.label());
    let (file, sock, peer) = (R7, R8, R7);
    p.mov(sock, file);
    read_pointer(p, sock, layout.private, leave);
    read_pointer(p, sock, layout.socket, leave);
    read_number(p, R1, sock, (layout.family, 2));
    p.jump_if_equal(R1, UNIX, is_unix);
    p.jump(leave);
    p.place(is_unix);
    read_number(p, R1, sock, (layout.kind, 2));
    p.jump_if_equal(R1, STREAM, is_stream);
    p.jump(leave);
    p.place(is_stream);
    p.mov(peer, sock);
    read_pointer(p, peer, layout.peer, leave);
}

/// What a record says of a socket: bytes lie in the end that receives, and the one that sends has
/// the room.
fn describe_socket(p: &mut Assembler, layout: Layout, record: Record) {
    let [is_taken, done] = std::array::from_fn(|_| p.label());
    let (sock, peer, flags) = (R8, R7, R9);
    p.add_constant(flags, SOCKET);
    p.mov(R1, flags);
    p.and_constant(R1, PUT);
    p.jump_if_equal(R1, 0, is_taken);
    p.store(Width::Bytes8, R10, record.at(8), peer);
    read_kernel(p, record.at(24), 4, (sock, layout.room));
    p.jump(done);
    p.place(is_taken);
    p.store(Width::Bytes8, R10, record.at(8), sock);
    read_kernel(p, record.at(24), 4, (peer, layout.room));
    p.place(done);
}

/// The program at the end of system calls: writes what came of each call that has begun.
pub(super) fn end(
    (event, id): (&EventKind, u16),
    calls: BorrowedFd<'_>,
    output: &Output,
) -> Vec<u64> {
    let record = Record::new(event.record_size);
    let mut program = Assembler::default();
    let p = &mut program;
    let [leave, chosen] = std::array::from_fn(|_| p.label());
    let (buffer, inode, result) = (R7, R8, R9);

    p.load(Width::Bytes8, R8, R1, NUMBER);
    p.load(Width::Bytes8, result, R1, RESULT);
    for call in PUTS.into_iter().chain(TAKES) {
        p.jump_if_equal(R8, constant(call), chosen);
    }
    p.place(leave);
    p.mov_constant(R0, 0);
    p.exit();

    p.place(chosen);
    thread(p);
    on_calls(p, calls);
    p.call(Helper::MapLookup);
    p.jump_if_equal(R0, 0, leave);
    p.load(Width::Bytes8, buffer, R0, 0);
    p.load(Width::Bytes4, inode, R0, 8);
    on_calls(p, calls);
    p.call(Helper::MapDelete);
    record.begin(p, id);
    p.store(Width::Bytes8, R10, record.at(8), buffer);
    p.store(Width::Bytes4, R10, record.at(16), inode);
    p.store(Width::Bytes4, R10, record.at(20), result);
    let found = output.find(p);
    output.emit(p, record, found);
    program.finish()
}

/// Puts the number of the thread where the key of a map is looked for.
fn thread(p: &mut Assembler) {
    p.call(Helper::CurrentPidTgid);
    p.store(Width::Bytes8, R10, SCRATCH, R0);
}

/// Names the map and the key.
fn on_calls(p: &mut Assembler, calls: BorrowedFd<'_>) {
    p.load_map(R1, calls);
    p.mov(R2, R10);
    p.add_constant(R2, i32::from(SCRATCH));
}

pub(super) fn constant(call: libc::c_long) -> i32 {
    i32::try_from(call).expect("system calls have small numbers")
}

/// Reads a number of `size` bytes at `offset` behind `base`; 0 where the address leads nowhere.
fn read_number(p: &mut Assembler, to: Register, base: Register, (offset, size): (i32, i32)) {
    p.store_constant(Width::Bytes8, R10, SCRATCH, 0);
    read_kernel(p, SCRATCH, size, (base, offset));
    p.load(Width::Bytes8, to, R10, SCRATCH);
}

/// Follows the pointer at `offset` behind `base`; leaves where it is null.
fn read_pointer(p: &mut Assembler, base: Register, offset: i32, leave: Label) {
    read_number(p, base, base, (offset, 8));
    p.jump_if_equal(base, 0, leave);
}
