//! A recording as ftrace text that trace-cmd's readers, ours included, understand.
//!
//! Times have nine decimals and payloads are `key=value`, so nothing of the
//! events is lost, with one exception: control characters in a task's name
//! would end its line and are written as `?`. A loss of lock owners alone is
//! left out: as text it would be one of all events of its CPU.

use super::payload::LOCK_FLAG_NAMES;
use crate::{
    BufferId, BufferSize, Context, CpuId, Event, HasReturn, LockFlags, LockId, Lost, LostWhat,
    NameId, Recording, SchedEvent, Tid, Transfer,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Writes all events of `recording`, one a line, with its losses between them.
///
/// # Errors
///
/// When `out` fails.
///
/// ```
/// let text = "   low-77  [000] d..2. 1.5: sched_process_exit: comm=low pid=77 prio=120\n";
/// let recording = trace_formats::read(text.as_bytes()).expect("this is ftrace text");
/// let mut out = String::new();
/// trace_formats::write_ftrace_text(&recording, &mut out).expect("a string takes anything");
/// assert!(out.ends_with("1.500000000: sched_process_exit: comm=low pid=77 prio=120\n"));
/// ```
pub fn write_ftrace_text(recording: &Recording, out: &mut impl Write) -> fmt::Result {
    write_header(recording, out)?;
    let mut writer = Writer { recording, comms: BTreeMap::new(), first_seen: true };
    writer.learn_first_names();
    let mut losses: Vec<&Lost> = told(recording).filter(|l| l.cpu.is_some()).collect();
    losses.sort_by_key(|lost| (lost.before, lost.cpu));
    let mut losses = losses.into_iter().peekable();
    for event in &recording.events {
        while let Some(lost) = losses.next_if(|lost| lost.before <= event.at) {
            write_lost(lost, out)?;
        }
        writer.write(event, out)?;
    }
    losses.try_for_each(|lost| write_lost(lost, out))
}

/// The losses that the text can tell.
fn told(recording: &Recording) -> impl Iterator<Item = &Lost> {
    recording.lost.iter().filter(|lost| lost.what == LostWhat::Events)
}

fn write_header(recording: &Recording, out: &mut impl Write) -> fmt::Result {
    let inside = recording.events.len() as u64;
    let lost: u64 = told(recording).filter_map(|lost| lost.events).sum();
    let cpus: Vec<String> = recording.cpus.iter().map(|cpu| cpu.0.to_string()).collect();
    write!(out, "# tracer: nop\n# resched cpus={}", cpus.join(","))?;
    let format = recording.format.as_ref();
    let word = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("_");
    if let Some(clock) = format.and_then(|f| f.clock.as_deref()) {
        write!(out, " clock={}", word(clock))?;
    }
    if let Some(kernel) = format.and_then(|f| f.kernel.as_deref()) {
        write!(out, " kernel={}", word(kernel))?;
    }
    let written = inside.saturating_add(lost);
    writeln!(
        out,
        "\n#\n# entries-in-buffer/entries-written: {inside}/{written}   #P:{}",
        cpus.len()
    )?;
    out.write_str(LEGEND)
}

const LEGEND: &str = "\
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
";

fn write_lost(lost: &Lost, out: &mut impl Write) -> fmt::Result {
    let Some(CpuId(cpu)) = lost.cpu else { return Ok(()) };
    match lost.events {
        Some(events) => writeln!(out, "CPU:{cpu} [LOST {events} EVENTS]"),
        None => writeln!(out, "CPU:{cpu} [EVENTS DROPPED]"),
    }
}

struct Writer<'r> {
    recording: &'r Recording,
    /// The name each task was last seen under.
    comms: BTreeMap<Tid, NameId>,
    first_seen: bool,
}

impl<'r> Writer<'r> {
    /// A task is known by its first name also before that name occurs.
    fn learn_first_names(&mut self) {
        for event in &self.recording.events {
            self.learn(&event.kind);
        }
        self.first_seen = false;
    }

    fn learn(&mut self, kind: &SchedEvent) {
        let mut is = |tid: Tid, comm: NameId| {
            if self.first_seen {
                self.comms.entry(tid).or_insert(comm);
            } else {
                self.comms.insert(tid, comm);
            }
        };
        match *kind {
            SchedEvent::Switch { prev, prev_comm, next, next_comm, .. } => {
                is(prev, prev_comm);
                is(next, next_comm);
            }
            SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                is(w.tid, w.comm);
            }
            SchedEvent::Fork { parent, parent_comm, child, child_comm } => {
                is(parent, parent_comm);
                is(child, child_comm);
            }
            SchedEvent::MigrateTask { tid, comm, .. }
            | SchedEvent::Exit { tid, comm, .. }
            | SchedEvent::PiSetprio { tid, comm, .. } => is(tid, comm),
            _ => {}
        }
    }

    fn name(&self, id: NameId) -> Cow<'r, str> {
        let name = self.recording.names.text(id);
        if name.contains(char::is_control) {
            Cow::Owned(name.replace(char::is_control, "?"))
        } else {
            Cow::Borrowed(name)
        }
    }

    fn comm(&self, tid: Tid) -> Cow<'r, str> {
        if tid == Tid::IDLE {
            return Cow::Borrowed("<idle>");
        }
        self.comms.get(&tid).map_or(Cow::Borrowed("<...>"), |id| self.name(*id))
    }

    fn write(&mut self, event: &Event, out: &mut impl Write) -> fmt::Result {
        let Event { at, cpu, context, tid, kind } = event;
        self.learn(kind);
        // The kernel's column has five flags; of them only the context is known here.
        let flags = match context {
            Context::Unknown => "     ",
            Context::Task => ".....",
            Context::SoftIrq => "..s..",
            Context::HardIrq => "..h..",
        };
        let seconds = at.0 / 1_000_000_000;
        let nanos = at.0 % 1_000_000_000;
        let comm = self.comm(*tid);
        write!(out, "{comm:>16}-{:<7} [{:03}] {flags} {seconds:>5}.{nanos:09}: ", tid.0, cpu.0)?;
        self.write_sched(kind, out)?;
        out.write_char('\n')
    }

    fn write_sched(&self, kind: &SchedEvent, out: &mut impl Write) -> fmt::Result {
        match *kind {
            SchedEvent::Switch {
                prev,
                prev_comm,
                prev_prio,
                prev_state,
                next,
                next_comm,
                next_prio,
            } => {
                let (prev_comm, next_comm) = (self.name(prev_comm), self.name(next_comm));
                let state = prev_state.letter();
                write!(
                    out,
                    "sched_switch: prev_comm={prev_comm} prev_pid={} prev_prio={prev_prio} \
                     prev_state={state} ==> next_comm={next_comm} next_pid={} next_prio={next_prio}",
                    prev.0, next.0
                )
            }
            SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                let event = match kind {
                    SchedEvent::Waking(_) => "sched_waking",
                    SchedEvent::Wakeup(_) => "sched_wakeup",
                    _ => "sched_wakeup_new",
                };
                let (comm, cpu) = (self.name(w.comm), w.target_cpu.0);
                write!(
                    out,
                    "{event}: comm={comm} pid={} prio={} target_cpu={cpu:03}",
                    w.tid.0, w.prio
                )
            }
            SchedEvent::MigrateTask { tid, comm, prio, orig_cpu, dest_cpu } => write!(
                out,
                "sched_migrate_task: comm={} pid={} prio={prio} orig_cpu={} dest_cpu={}",
                self.name(comm),
                tid.0,
                orig_cpu.0,
                dest_cpu.0
            ),
            SchedEvent::PiSetprio { tid, comm, old_prio, new_prio } => write!(
                out,
                "sched_pi_setprio: comm={} pid={} oldprio={old_prio} newprio={new_prio}",
                self.name(comm),
                tid.0
            ),
            SchedEvent::StatRuntime { tid, runtime_ns } => write!(
                out,
                "sched_stat_runtime: comm={} pid={} runtime={runtime_ns} [ns]",
                self.comm(tid),
                tid.0
            ),
            _ => self.write_life(kind, out),
        }
    }

    fn write_life(&self, kind: &SchedEvent, out: &mut impl Write) -> fmt::Result {
        match *kind {
            SchedEvent::Fork { parent, parent_comm, child, child_comm } => write!(
                out,
                "sched_process_fork: comm={} pid={} child_comm={} child_pid={}",
                self.name(parent_comm),
                parent.0,
                self.name(child_comm),
                child.0
            ),
            SchedEvent::Exec { tid, old_tid } => {
                write!(out, "sched_process_exec: filename=? pid={} old_pid={}", tid.0, old_tid.0)
            }
            SchedEvent::Exit { tid, comm, prio } => {
                write!(
                    out,
                    "sched_process_exit: comm={} pid={} prio={prio}",
                    self.name(comm),
                    tid.0
                )
            }
            SchedEvent::HrtimerStart { timer, function, expires_ns } => {
                let function = self.recording.names.text(function);
                write!(
                    out,
                    "hrtimer_start: hrtimer={timer:#x} function={function} expires={expires_ns}"
                )
            }
            _ => write_lock(kind, out),
        }
    }
}

fn write_lock(kind: &SchedEvent, out: &mut impl Write) -> fmt::Result {
    match *kind {
        // Readers of the kernel's events are not to take these for the kernel's.
        SchedEvent::ContentionBegin { lock, .. } if lock.is_of_program() => {
            write!(out, "user_lock_begin: lock={lock}")
        }
        SchedEvent::ContentionEnd { lock, ret } if lock.is_of_program() => {
            write!(out, "user_lock_end: lock={lock} ret={ret}")
        }
        SchedEvent::ContendedRelease { lock } if lock.is_of_program() => {
            write!(out, "user_lock_release: lock={lock}")
        }
        SchedEvent::ContentionBegin { lock, flags } => {
            write!(out, "contention_begin: {lock} (flags={})", flag_names(flags))
        }
        SchedEvent::ContentionEnd { lock, ret } => {
            write!(out, "contention_end: {lock} (ret={ret})")
        }
        SchedEvent::ContendedRelease { lock } => write!(out, "contended_release: {lock}"),
        SchedEvent::LockOwner { lock, flags, owner, bits } => {
            write!(out, "lock_owner: lock_addr={lock} owner_raw={:#x} flags={}", bits.0, flags.0)?;
            let (tid, prio, on_cpu, cpu) =
                owner.map_or((0, 0, 0, 0), |o| (o.tid.0, o.prio, i32::from(o.is_on_cpu), o.cpu.0));
            write!(out, " owner_pid={tid} owner_prio={prio} owner_on_cpu={on_cpu} owner_cpu={cpu}")
        }
        SchedEvent::MutexLock { lock, has_return: HasReturn::No } => {
            write!(out, "mutex_lock_in: lock={lock}")
        }
        SchedEvent::MutexLock { lock, has_return: HasReturn::Yes } => {
            write!(out, "mutex_lock_interruptible_in: lock={lock}")
        }
        SchedEvent::MutexLockReturn { lock, ret } => {
            write!(out, "mutex_lock_interruptible_ret: lock={lock} ret={ret}")
        }
        SchedEvent::MutexTrylock { lock, ret } => {
            write!(out, "mutex_trylock_ret: lock={lock} ret={ret}")
        }
        SchedEvent::MutexUnlock { lock } => write!(out, "mutex_unlock_in: lock={lock}"),
        SchedEvent::Donor { donor, running } => {
            write!(out, "resched_donor: donor_pid={} running_pid={}", donor.0, running.0)
        }
        SchedEvent::ProxyMigrate { tid, orig_cpu, dest_cpu } => {
            let (orig, dest) = (orig_cpu.0, dest_cpu.0);
            write!(out, "resched_proxy_migrate: pid={} orig_cpu={orig} dest_cpu={dest}", tid.0)
        }
        SchedEvent::ProxyReturn { tid, orig_cpu, dest_cpu } => {
            let (orig, dest) = (orig_cpu.0, dest_cpu.0);
            write!(out, "resched_proxy_return: pid={} orig_cpu={orig} dest_cpu={dest}", tid.0)
        }
        _ => write_own_record(kind, out),
    }
}

/// What the programs of our own recorder write.
fn write_own_record(kind: &SchedEvent, out: &mut impl Write) -> fmt::Result {
    match *kind {
        SchedEvent::TransferBegin { buffer, way, size, count, is_nonblocking, mutex } => {
            let (size, kind) = match size {
                BufferSize::Pages(pages) => (pages, 0),
                BufferSize::Packets(pages) => (pages, 4),
                BufferSize::Room(room) => (room, 2),
            };
            let flags = u32::from(way == Transfer::Put) | kind | u32::from(is_nonblocking) << 3;
            let BufferId { address, inode } = buffer;
            let mutex = mutex.unwrap_or(LockId(0)).0;
            let [inode, size, count] = [inode, size, count].map(u32::cast_signed);
            write!(out, "transfer_begin: buffer={address:#x} inode={inode} flags={flags} ")?;
            write!(out, "size={size} count={count} mutex={mutex:#x}")
        }
        SchedEvent::TransferEnd { buffer: BufferId { address, inode }, ret } => {
            let inode = inode.cast_signed();
            write!(out, "transfer_end: buffer={address:#x} inode={inode} ret={ret}")
        }
        SchedEvent::FutexBegin { uaddr, op, val, process, owner } => {
            let [process, owner] = [process, owner].map(|tid| tid.map_or(0, |tid| tid.0));
            // Of PI futexes the word holds the owner.
            write!(out, "futex_begin: uaddr={uaddr:#x} op={op} val={val} process={process} ")?;
            write!(out, "word={owner} owner={owner}")
        }
        SchedEvent::Yield => write!(out, "sched_yield:"),
        SchedEvent::FutexEnd { ret } => write!(out, "futex_end: ret={ret}"),
        _ => unreachable!("the other kinds are written before"),
    }
}

/// `SPIN|MUTEX`, as kernels print flags; unknown bits as a number.
fn flag_names(flags: LockFlags) -> String {
    let known = LOCK_FLAG_NAMES.iter().filter(|(_, bit)| flags.has(*bit));
    let mut names: Vec<String> = known.map(|(name, _)| (*name).to_owned()).collect();
    let rest = LOCK_FLAG_NAMES.iter().fold(flags.0, |rest, (_, bit)| rest & !bit);
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.join("|")
}
