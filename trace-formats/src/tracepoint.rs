//! Binary records of tracepoints, read by the layout that the file declares.

use crate::bytes::Endian;
use crate::layout::{Field, Layout};
use crate::task_state::StateTable;
use crate::{
    BufferId, BufferSize, Context, CpuId, Event, HasReturn, LockFlags, LockHolder, LockId, NameId,
    Names, OwnerBits, SchedEvent, Tid, Timestamp, Transfer, WakeFields,
};
use std::collections::BTreeMap;

/// All event kinds of one file.
#[derive(Debug, Default)]
pub(crate) struct Tracepoints {
    by_id: BTreeMap<u64, Tracepoint>,
    /// Dense copy of `by_id` for small ids: position plus one.
    dense: Vec<u32>,
    list: Vec<Tracepoint>,
    /// A `kallsyms` text, read when an event needs it.
    kallsyms: String,
    symbols: BTreeMap<u64, String>,
    common_type: Option<Field>,
}

/// What a record turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// One of our vocabulary.
    Event(Event),
    /// Of another kind: counted only.
    Counted,
    /// Of our vocabulary, but shorter than its format says: counted only.
    Damaged,
    /// Of a kind that the file does not describe.
    Unknown,
}

#[derive(Clone, Debug)]
struct Tracepoint {
    name: String,
    count: u64,
    flags: Option<Field>,
    pid: Option<Field>,
    decode: Decode,
}

#[derive(Clone, Debug)]
enum Decode {
    Other,
    Switch {
        comm: [Field; 2],
        pid: [Field; 2],
        prio: [Field; 2],
        state: Field,
        states: StateTable,
    },
    Wake {
        kind: fn(WakeFields) -> SchedEvent,
        comm: Field,
        pid: Field,
        prio: Field,
        cpu: Field,
    },
    Migrate {
        comm: Field,
        pid: Field,
        prio: Field,
        orig: Field,
        dest: Field,
    },
    Fork {
        comm: [Field; 2],
        pid: [Field; 2],
    },
    Exec {
        pid: Field,
        old_pid: Field,
    },
    Exit {
        comm: Field,
        pid: Field,
        prio: Field,
    },
    PiSetprio {
        comm: Field,
        pid: Field,
        old: Field,
        new: Field,
    },
    StatRuntime {
        pid: Field,
        runtime: Field,
    },
    Begin {
        lock: Field,
        flags: Field,
    },
    End {
        lock: Field,
        ret: Field,
    },
    Release {
        lock: Field,
    },
    Owner {
        lock: Field,
        word: Field,
        flags: Field,
        holder: [Field; 4],
    },
    TransferBegin {
        buffer: Field,
        mutex: Field,
        inode: Field,
        size: Field,
        count: Field,
        flags: Field,
    },
    TransferEnd {
        buffer: Field,
        inode: Field,
        ret: Field,
    },
    FutexBegin {
        uaddr: Field,
        op: Field,
        val: Field,
        process: Option<Field>,
        word: Option<Field>,
        owner: Option<Field>,
    },
    FutexEnd {
        ret: Field,
    },
    Yield,
    MutexLock {
        lock: Field,
        has_return: HasReturn,
    },
    MutexLockReturn {
        lock: Field,
        ret: Field,
    },
    MutexTrylock {
        lock: Field,
        ret: Field,
    },
    MutexUnlock {
        lock: Field,
    },
    Hrtimer {
        timer: Field,
        function: Field,
        expires: Field,
    },
}

impl Tracepoints {
    /// Adds an event kind by its `format` text; false when that has no name or id.
    pub(crate) fn add(&mut self, format: &str) -> bool {
        let Some(layout) = Layout::parse(format) else { return false };
        if self.common_type.is_none() {
            self.common_type = layout.field("common_type").cloned();
        }
        let tracepoint = Tracepoint {
            flags: layout.field("common_flags").cloned(),
            pid: layout.field("common_pid").cloned(),
            decode: decoder(&layout).unwrap_or(Decode::Other),
            name: layout.name,
            count: 0,
        };
        self.by_id.insert(layout.id, tracepoint);
        true
    }

    /// Names of kernel functions by address, as a `kallsyms` text.
    pub(crate) fn add_symbols(&mut self, kallsyms: &str) {
        kallsyms.clone_into(&mut self.kallsyms);
    }

    fn read_symbols(&mut self) {
        for line in std::mem::take(&mut self.kallsyms).lines() {
            let mut words = line.split_whitespace();
            if let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
                && let Ok(address) = u64::from_str_radix(address, 16)
            {
                self.symbols.entry(address).or_insert_with(|| name.to_owned());
            }
        }
    }

    /// Call once all kinds and symbols are added.
    pub(crate) fn seal(&mut self) {
        if self.by_id.values().any(|t| matches!(t.decode, Decode::Hrtimer { .. })) {
            self.read_symbols();
        }
        for (id, tracepoint) in std::mem::take(&mut self.by_id) {
            // Event ids are small; a wild one would cost memory, so it counts as unknown.
            let Ok(index) = usize::try_from(id) else { continue };
            if index > 0xffff {
                continue;
            }
            if self.dense.len() <= index {
                self.dense.resize(index + 1, 0);
            }
            self.list.push(tracepoint);
            self.dense[index] = u32::try_from(self.list.len()).unwrap_or(0);
        }
    }

    fn slot(&self, id: u64) -> Option<usize> {
        let slot = *self.dense.get(usize::try_from(id).ok()?)?;
        (slot as usize).checked_sub(1)
    }

    /// The name of the kind with this id.
    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        Some(&self.list.get(self.slot(id)?)?.name)
    }

    /// Decodes a record and counts it under the name of its kind.
    pub(crate) fn decode(
        &mut self,
        record: &[u8],
        endian: Endian,
        at: Timestamp,
        cpu: CpuId,
        names: &mut Names,
    ) -> Decoded {
        let id = match &self.common_type {
            Some(field) => field.unsigned(record, endian),
            None => record.get(..2).map(|id| endian.number(id)),
        };
        let Some(tracepoint) =
            id.and_then(|id| self.slot(id)).and_then(|slot| self.list.get_mut(slot))
        else {
            return Decoded::Unknown;
        };
        tracepoint.count += 1;
        if matches!(tracepoint.decode, Decode::Other) {
            return Decoded::Counted;
        }
        let Some(kind) = tracepoint.decode.read(record, endian, names, &self.symbols) else {
            return Decoded::Damaged;
        };
        let flags = tracepoint.flags.as_ref().and_then(|f| f.unsigned(record, endian));
        let tid = tracepoint.pid.as_ref().and_then(|f| f.int(record, endian)).unwrap_or(0);
        Decoded::Event(Event { at, cpu, context: context(flags), tid: Tid(tid), kind })
    }

    /// Counts by name, of the kinds that occur.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for tracepoint in self.list.iter().filter(|t| t.count > 0) {
            *counts.entry(tracepoint.name.clone()).or_insert(0) += tracepoint.count;
        }
        counts
    }
}

/// `common_flags`: hard interrupt 0x08, soft interrupt 0x10, NMI 0x40.
fn context(flags: Option<u64>) -> Context {
    match flags {
        None => Context::Unknown,
        Some(f) if f & 0x48 != 0 => Context::HardIrq,
        Some(f) if f & 0x10 != 0 => Context::SoftIrq,
        Some(_) => Context::Task,
    }
}

/// How to read an event of our vocabulary; `None` for others and when a field is missing.
fn decoder(layout: &Layout) -> Option<Decode> {
    let f = |name: &str| layout.field(name).cloned();
    let wake = |kind| {
        let cpu = f("target_cpu")?;
        Some(Decode::Wake { kind, comm: f("comm")?, pid: f("pid")?, prio: f("prio")?, cpu })
    };
    let decode = match layout.name.as_str() {
        "sched_switch" => Decode::Switch {
            comm: [f("prev_comm")?, f("next_comm")?],
            pid: [f("prev_pid")?, f("next_pid")?],
            prio: [f("prev_prio")?, f("next_prio")?],
            state: f("prev_state")?,
            states: StateTable::from_print_fmt(&layout.print_fmt),
        },
        "sched_waking" => wake(SchedEvent::Waking)?,
        "sched_wakeup" => wake(SchedEvent::Wakeup)?,
        "sched_wakeup_new" => wake(SchedEvent::WakeupNew)?,
        "sched_migrate_task" => Decode::Migrate {
            comm: f("comm")?,
            pid: f("pid")?,
            prio: f("prio")?,
            orig: f("orig_cpu")?,
            dest: f("dest_cpu")?,
        },
        "sched_process_fork" => Decode::Fork {
            comm: [f("parent_comm")?, f("child_comm")?],
            pid: [f("parent_pid")?, f("child_pid")?],
        },
        "sched_process_exec" => Decode::Exec { pid: f("pid")?, old_pid: f("old_pid")? },
        "sched_process_exit" => Decode::Exit { comm: f("comm")?, pid: f("pid")?, prio: f("prio")? },
        "sched_pi_setprio" => Decode::PiSetprio {
            comm: f("comm")?,
            pid: f("pid")?,
            old: f("oldprio")?,
            new: f("newprio")?,
        },
        "sched_stat_runtime" => Decode::StatRuntime { pid: f("pid")?, runtime: f("runtime")? },
        "contention_begin" => Decode::Begin { lock: f("lock_addr")?, flags: f("flags")? },
        "contention_end" => Decode::End { lock: f("lock_addr")?, ret: f("ret")? },
        "contended_release" => Decode::Release { lock: f("lock_addr")? },
        "lock_owner" => Decode::Owner {
            lock: f("lock_addr")?,
            word: f("owner_raw")?,
            flags: f("flags")?,
            holder: [f("owner_pid")?, f("owner_prio")?, f("owner_on_cpu")?, f("owner_cpu")?],
        },
        "hrtimer_start" => Decode::Hrtimer {
            timer: f("hrtimer")?,
            function: f("function")?,
            expires: f("expires")?,
        },
        name => return own_record(name, &f).or_else(|| mutex_call(name, &f)),
    };
    Some(decode)
}

/// What the programs of our own recorder write, and the kernel's own futex calls.
fn own_record(name: &str, f: &impl Fn(&str) -> Option<Field>) -> Option<Decode> {
    Some(match name {
        "transfer_begin" => Decode::TransferBegin {
            buffer: f("buffer")?,
            mutex: f("mutex")?,
            inode: f("inode")?,
            size: f("size")?,
            count: f("count")?,
            flags: f("flags")?,
        },
        "transfer_end" => {
            Decode::TransferEnd { buffer: f("buffer")?, inode: f("inode")?, ret: f("ret")? }
        }
        "futex_begin" | "sys_enter_futex" => Decode::FutexBegin {
            uaddr: f("uaddr")?,
            op: f("op")?,
            val: f("val")?,
            process: f("process"),
            word: f("word"),
            owner: f("owner"),
        },
        "sched_yield" => Decode::Yield,
        "futex_end" | "sys_exit_futex" => Decode::FutexEnd { ret: f("ret")? },
        _ => return None,
    })
}

fn buffer_id(address: u64, inode: u64) -> Option<BufferId> {
    Some(BufferId { address, inode: u32::try_from(inode).ok()? })
}

/// A call on a pipe or socket; `flags` are those of our recorder.
pub(crate) fn transfer_begin(
    buffer: BufferId,
    mutex: u64,
    size: u32,
    count: u32,
    flags: u32,
) -> SchedEvent {
    /// The call puts.
    const PUT: u32 = 1;
    /// It is a socket.
    const SOCKET: u32 = 2;
    /// A pipe in packet mode.
    const PACKETS: u32 = 4;
    /// It does not wait.
    const NONBLOCKING: u32 = 8;
    SchedEvent::TransferBegin {
        buffer,
        way: if flags & PUT != 0 { Transfer::Put } else { Transfer::Take },
        size: if flags & SOCKET != 0 {
            BufferSize::Room(size)
        } else if flags & PACKETS != 0 {
            BufferSize::Packets(size)
        } else {
            BufferSize::Pages(size)
        },
        count,
        is_nonblocking: flags & NONBLOCKING != 0,
        mutex: Some(LockId(mutex)).filter(|mutex| mutex.0 != 0),
    }
}

/// A futex call on a word, with what the program's memory says: the word, and what lies where glibc
/// keeps the owner of a mutex.
pub(crate) fn futex_begin(
    (uaddr, op, val): (u64, u32, u32),
    process: Option<Tid>,
    memory: Option<(u32, Tid)>,
) -> SchedEvent {
    /// `FUTEX_LOCK_PI`, `FUTEX_UNLOCK_PI`, `FUTEX_TRYLOCK_PI` and `FUTEX_LOCK_PI2`: the word names
    /// the owner. So does that of a robust mutex, which somebody waits for.
    const PI: [u32; 4] = [6, 7, 8, 13];
    /// `FUTEX_CMD_MASK`, `FUTEX_TID_MASK` and `FUTEX_WAITERS`.
    const COMMAND: u32 = !(128 | 256);
    const THREAD: u32 = 0x3fff_ffff;
    const WAITERS: u32 = 1 << 31;
    let owner = memory.map(|(word, owner)| {
        let is_named = PI.contains(&(op & COMMAND)) || word & WAITERS != 0;
        if is_named { Tid((word & THREAD).cast_signed()) } else { owner }
    });
    let owner = owner.filter(|owner| *owner > Tid::IDLE);
    SchedEvent::FutexBegin { uaddr, op, val, process, owner }
}

/// The dynamic events of detail `full`.
fn mutex_call(name: &str, f: &impl Fn(&str) -> Option<Field>) -> Option<Decode> {
    let lock = f("lock")?;
    Some(match name {
        "mutex_lock_in" => Decode::MutexLock { lock, has_return: HasReturn::No },
        "mutex_lock_interruptible_in" | "mutex_lock_killable_in" => {
            Decode::MutexLock { lock, has_return: HasReturn::Yes }
        }
        "mutex_lock_interruptible_ret" | "mutex_lock_killable_ret" => {
            Decode::MutexLockReturn { lock, ret: f("ret")? }
        }
        "mutex_trylock_ret" => Decode::MutexTrylock { lock, ret: f("ret")? },
        "mutex_unlock_in" => Decode::MutexUnlock { lock },
        _ => return None,
    })
}

impl Decode {
    fn read(
        &self,
        r: &[u8],
        e: Endian,
        names: &mut Names,
        symbols: &BTreeMap<u64, String>,
    ) -> Option<SchedEvent> {
        let tid = |f: &Field| f.int(r, e).map(Tid);
        let cpu = |f: &Field| f.unsigned(r, e).and_then(|n| u32::try_from(n).ok()).map(CpuId);
        let mut name = |f: &Field| -> Option<NameId> { Some(names.id_of_bytes(f.text(r, e)?)) };
        Some(match self {
            Self::Switch { comm, pid, prio, state, states } => SchedEvent::Switch {
                prev: tid(&pid[0])?,
                prev_comm: name(&comm[0])?,
                prev_prio: prio[0].int(r, e)?,
                prev_state: states.state(state.signed(r, e)?),
                next: tid(&pid[1])?,
                next_comm: name(&comm[1])?,
                next_prio: prio[1].int(r, e)?,
            },
            Self::Wake { kind, comm, pid, prio, cpu: target } => kind(WakeFields {
                tid: tid(pid)?,
                comm: name(comm)?,
                prio: prio.int(r, e)?,
                target_cpu: cpu(target)?,
            }),
            Self::Migrate { comm, pid, prio, orig, dest } => SchedEvent::MigrateTask {
                tid: tid(pid)?,
                comm: name(comm)?,
                prio: prio.int(r, e)?,
                orig_cpu: cpu(orig)?,
                dest_cpu: cpu(dest)?,
            },
            Self::Fork { comm, pid } => SchedEvent::Fork {
                parent: tid(&pid[0])?,
                parent_comm: name(&comm[0])?,
                child: tid(&pid[1])?,
                child_comm: name(&comm[1])?,
            },
            Self::Exec { pid, old_pid } => {
                SchedEvent::Exec { tid: tid(pid)?, old_tid: tid(old_pid)? }
            }
            Self::Exit { comm, pid, prio } => {
                SchedEvent::Exit { tid: tid(pid)?, comm: name(comm)?, prio: prio.int(r, e)? }
            }
            Self::PiSetprio { comm, pid, old, new } => SchedEvent::PiSetprio {
                tid: tid(pid)?,
                comm: name(comm)?,
                old_prio: old.int(r, e)?,
                new_prio: new.int(r, e)?,
            },
            Self::StatRuntime { pid, runtime } => {
                SchedEvent::StatRuntime { tid: tid(pid)?, runtime_ns: runtime.unsigned(r, e)? }
            }
            Self::Hrtimer { timer, function, expires } => SchedEvent::HrtimerStart {
                timer: timer.unsigned(r, e)?,
                function: symbols.get(&function.unsigned(r, e)?).map_or(NameId(0), |s| names.id(s)),
                expires_ns: expires.signed(r, e)?,
            },
            _ => return self.read_lock(r, e),
        })
    }

    fn read_lock(&self, r: &[u8], e: Endian) -> Option<SchedEvent> {
        let lock = |f: &Field| f.unsigned(r, e).map(LockId);
        Some(match self {
            Self::Begin { lock: l, flags } => SchedEvent::ContentionBegin {
                lock: lock(l)?,
                flags: LockFlags(flags.int(r, e)?.cast_unsigned()),
            },
            Self::End { lock: l, ret } => {
                SchedEvent::ContentionEnd { lock: lock(l)?, ret: ret.int(r, e)? }
            }
            Self::Release { lock: l } => SchedEvent::ContendedRelease { lock: lock(l)? },
            Self::Owner { lock: l, word, flags, holder: [pid, prio, on_cpu, cpu] } => {
                let holder = LockHolder {
                    tid: Tid(pid.int(r, e)?),
                    prio: prio.int(r, e)?,
                    is_on_cpu: on_cpu.int(r, e)? != 0,
                    cpu: CpuId(cpu.int(r, e)?.cast_unsigned()),
                };
                SchedEvent::LockOwner {
                    lock: lock(l)?,
                    flags: LockFlags(flags.int(r, e)?.cast_unsigned()),
                    owner: Some(holder).filter(|holder| holder.tid != Tid::IDLE),
                    bits: OwnerBits::of_word(word.unsigned(r, e)?),
                }
            }
            Self::TransferBegin { buffer, mutex, inode, size, count, flags } => transfer_begin(
                buffer_id(buffer.unsigned(r, e)?, inode.unsigned(r, e)?)?,
                mutex.unsigned(r, e)?,
                u32::try_from(size.unsigned(r, e)?).ok()?,
                u32::try_from(count.unsigned(r, e)?).ok()?,
                u32::try_from(flags.unsigned(r, e)?).ok()?,
            ),
            Self::TransferEnd { buffer, inode, ret } => SchedEvent::TransferEnd {
                buffer: buffer_id(buffer.unsigned(r, e)?, inode.unsigned(r, e)?)?,
                ret: ret.int(r, e)?,
            },
            Self::FutexBegin { uaddr, op, val, process, word, owner } => {
                let number = |f: &Option<Field>| f.as_ref().and_then(|f| f.int(r, e));
                // System calls keep their arguments in whole registers.
                let half = |f: &Field| u32::try_from(f.unsigned(r, e)? & u64::from(u32::MAX)).ok();
                let owner = number(word).zip(number(owner));
                futex_begin(
                    (uaddr.unsigned(r, e)?, half(op)?, half(val)?),
                    number(process).map(Tid),
                    owner.map(|(word, owner)| (word.cast_unsigned(), Tid(owner))),
                )
            }
            Self::Yield => SchedEvent::Yield,
            Self::FutexEnd { ret } => {
                let ret = ret.signed(r, e)?;
                SchedEvent::FutexEnd { ret: i32::try_from(ret).unwrap_or(i32::MIN) }
            }
            Self::MutexLock { lock: l, has_return } => {
                SchedEvent::MutexLock { lock: lock(l)?, has_return: *has_return }
            }
            Self::MutexLockReturn { lock: l, ret } => {
                SchedEvent::MutexLockReturn { lock: lock(l)?, ret: ret.int(r, e)? }
            }
            Self::MutexTrylock { lock: l, ret } => {
                // The register holds a bool: only its low byte is the value.
                SchedEvent::MutexTrylock { lock: lock(l)?, ret: ret.int(r, e)? & 0xff }
            }
            Self::MutexUnlock { lock: l } => SchedEvent::MutexUnlock { lock: lock(l)? },
            _ => return None,
        })
    }
}
