//! What an event's text says: `key=value` as kernels print it, or trace-cmd's short forms.
//!
//! Task names may hold spaces, arrows and what looks like the next field, so
//! fields are found from the end of the text, or by a pattern longer than a name.

use crate::task_state::{StateTable, state_of_letter};
use crate::tracepoint::{futex_begin, transfer_begin};
use crate::{
    BufferId, CpuId, HasReturn, LockFlags, LockHolder, LockId, NameId, Names, OwnerBits, PrevState,
    SchedEvent, Tid, WakeFields,
};

/// The longest task name that the kernel's records hold.
const LONGEST_NAME: usize = 15;

/// `Err` when the text of a known event cannot be understood; `Ok(None)` for other events.
pub(super) fn parse(
    event: &str,
    payload: &str,
    names: &mut Names,
) -> Result<Option<SchedEvent>, ()> {
    let parsed = match event {
        "sched_switch" => switch(payload, names),
        "sched_waking" => wake(payload, names).map(SchedEvent::Waking),
        "sched_wakeup" => wake(payload, names).map(SchedEvent::Wakeup),
        "sched_wakeup_new" => wake(payload, names).map(SchedEvent::WakeupNew),
        "sched_migrate_task" => migrate(payload, names),
        "sched_process_fork" => fork(payload, names),
        "sched_process_exec" => exec(payload),
        "sched_process_exit" => exit(payload, names),
        "sched_pi_setprio" => pi_setprio(payload, names),
        "sched_stat_runtime" => stat_runtime(payload),
        "contention_begin" | "contention_end" | "contended_release" => lock_event(event, payload),
        "lock_owner" => lock_owner(payload),
        "transfer_begin" | "transfer_end" => transfer(event, payload),
        "sched_yield" => Some(SchedEvent::Yield),
        "futex_begin" | "futex_end" => futex(event, payload),
        "hrtimer_start" => hrtimer(payload, names),
        "resched_donor" | "resched_proxy_migrate" | "resched_proxy_return" => own(event, payload),
        "user_lock_begin" | "user_lock_end" | "user_lock_release" => user_lock(event, payload),
        _ if event.starts_with("mutex_") => {
            return mutex_call(event, payload).map_or(Ok(None), |e| e.ok_or(()).map(Some));
        }
        _ => return Ok(None),
    };
    parsed.map(Some).ok_or(())
}

/// The text before the last ` key=`, and the one behind it.
fn split_last<'t>(text: &'t str, key: &str) -> Option<(&'t str, &'t str)> {
    let at = text.rfind(key)?;
    Some((text.get(..at)?, text.get(at + key.len()..)?))
}

/// The value of `key=` among words that hold no spaces.
fn value<'t>(words: &'t str, key: &str) -> Option<&'t str> {
    words.split_whitespace().find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
}

/// A 32-bit number in either reading: raw output prints -1 as 4294967295.
fn int(text: &str) -> Option<i32> {
    let number = long(text)?;
    Some(u32::try_from(number & 0xffff_ffff).ok()?.cast_signed())
}

/// A decimal or `0x` number of 64 bits, in either reading.
fn long(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
        None => text.parse().ok().or_else(|| text.parse::<u64>().ok().map(u64::cast_signed)),
    }
}

/// An address: hexadecimal with or without `0x`.
fn address(text: &str) -> Option<u64> {
    let text = text.trim_end_matches([',', ')']);
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

fn cpu(text: &str) -> Option<CpuId> {
    text.trim().parse().ok().map(CpuId)
}

/// `R`, `R+`, `S|K`, or the number that raw output shows.
fn state(text: &str) -> Option<PrevState> {
    if let Some(number) = long(text) {
        // Above the states lies the preemption mark, which moved up over the years.
        let preempted = number >= 0x100;
        return Some(if preempted {
            PrevState::Preempted
        } else {
            StateTable::default().state(number)
        });
    }
    if text.ends_with('+') {
        return Some(PrevState::Preempted);
    }
    text.split('|').filter_map(|part| part.chars().next()).map(state_of_letter).max()
}

fn switch(text: &str, names: &mut Names) -> Option<SchedEvent> {
    match text.trim_start().strip_prefix("prev_comm=") {
        Some(rest) => switch_by_keys(rest, names),
        None => switch_short(text.trim(), names),
    }
}

fn switch_by_keys(text: &str, names: &mut Names) -> Option<SchedEvent> {
    const KEY: &str = " prev_pid=";
    text.match_indices(KEY).find_map(|(at, _)| {
        let rest = text.get(at + KEY.len()..)?;
        let (prev, rest) = rest.split_once(" prev_prio=")?;
        let (prev_prio, rest) = rest.split_once(" prev_state=")?;
        let (prev_state, rest) = rest.split_once(' ')?;
        let rest = rest.strip_prefix("==> ").unwrap_or(rest).strip_prefix("next_comm=")?;
        let (next_comm, rest) = split_last(rest, " next_pid=")?;
        let (next, next_prio) = rest.split_once(" next_prio=")?;
        Some(SchedEvent::Switch {
            prev: Tid(int(prev)?),
            prev_prio: int(prev_prio)?,
            prev_state: state(prev_state)?,
            next: Tid(int(next)?),
            next_prio: int(next_prio.split_whitespace().next()?)?,
            prev_comm: names.id(text.get(..at)?),
            next_comm: names.id(next_comm),
        })
    })
}

/// `comm:tid [prio]` at the end of a text.
fn short_task(text: &str) -> Option<(&str, Tid, i32)> {
    let (rest, prio) = text.trim_end().strip_suffix(']')?.rsplit_once(" [")?;
    let (comm, tid) = rest.rsplit_once(':')?;
    Some((comm, Tid(int(tid)?), int(prio)?))
}

/// `comm:tid [prio] S ==> comm:tid [prio]`
fn switch_short(text: &str, names: &mut Names) -> Option<SchedEvent> {
    const ARROW: &str = " ==> ";
    text.match_indices(ARROW).find_map(|(at, _)| {
        let (next_comm, next, next_prio) = short_task(text.get(at + ARROW.len()..)?)?;
        let (left, letter) = text.get(..at)?.rsplit_once(' ')?;
        let (prev_comm, prev, prev_prio) = short_task(left)?;
        let fits = prev_comm.len() <= LONGEST_NAME && next_comm.len() <= LONGEST_NAME;
        fits.then_some(())?;
        Some(SchedEvent::Switch {
            prev,
            prev_comm: names.id(prev_comm),
            prev_prio,
            prev_state: state(letter)?,
            next,
            next_comm: names.id(next_comm),
            next_prio,
        })
    })
}

fn wake(text: &str, names: &mut Names) -> Option<WakeFields> {
    if let Some(rest) = text.trim_start().strip_prefix("comm=") {
        let (comm, words) = split_last(rest, " pid=")?;
        return Some(WakeFields {
            tid: Tid(int(words.split_whitespace().next()?)?),
            prio: int(value(words, "prio")?)?,
            target_cpu: cpu(value(words, "target_cpu")?)?,
            comm: names.id(comm),
        });
    }
    // `comm:tid [prio] success=1 CPU:001`
    let (task, target) = split_last(text, " CPU:")?;
    let (comm, tid, prio) = short_task(task.get(..=task.rfind(']')?)?.trim_start())?;
    Some(WakeFields { tid, comm: names.id(comm), prio, target_cpu: cpu(target)? })
}

fn migrate(text: &str, names: &mut Names) -> Option<SchedEvent> {
    let (comm, words) = comm_and_words(text, "comm=")?;
    Some(SchedEvent::MigrateTask {
        tid: Tid(int(words.split_whitespace().next()?)?),
        prio: int(value(words, "prio")?)?,
        orig_cpu: cpu(value(words, "orig_cpu")?)?,
        dest_cpu: cpu(value(words, "dest_cpu")?)?,
        comm: names.id(comm),
    })
}

/// `comm=NAME pid=…`: the name, and the text behind `pid=`.
fn comm_and_words<'t>(text: &'t str, key: &str) -> Option<(&'t str, &'t str)> {
    split_last(text.trim_start().strip_prefix(key)?, " pid=")
}

/// `comm=A pid=1 child_comm=B child_pid=2`, or `parent_comm=A parent_pid=1` in raw output.
fn fork(text: &str, names: &mut Names) -> Option<SchedEvent> {
    let text = text.trim_start();
    let (rest, key) = match text.strip_prefix("parent_") {
        Some(rest) => (rest, " parent_pid="),
        None => (text, " pid="),
    };
    let rest = rest.strip_prefix("comm=")?;
    let (rest, child) = split_last(rest, " child_pid=")?;
    rest.match_indices(key).find_map(|(at, _)| {
        let (parent, child_comm) = rest.get(at + key.len()..)?.split_once(" child_comm=")?;
        Some(SchedEvent::Fork {
            parent: Tid(int(parent)?),
            child: Tid(int(child.split_whitespace().next()?)?),
            parent_comm: names.id(rest.get(..at)?),
            child_comm: names.id(child_comm),
        })
    })
}

fn exec(text: &str) -> Option<SchedEvent> {
    let (rest, old) = split_last(text, " old_pid=")?;
    let (_, tid) = split_last(rest, " pid=")?;
    let old_tid = Tid(int(old.split_whitespace().next()?)?);
    Some(SchedEvent::Exec { tid: Tid(int(tid)?), old_tid })
}

fn exit(text: &str, names: &mut Names) -> Option<SchedEvent> {
    let (comm, words) = comm_and_words(text, "comm=")?;
    Some(SchedEvent::Exit {
        tid: Tid(int(words.split_whitespace().next()?)?),
        prio: int(value(words, "prio")?)?,
        comm: names.id(comm),
    })
}

fn pi_setprio(text: &str, names: &mut Names) -> Option<SchedEvent> {
    let (comm, words) = comm_and_words(text, "comm=")?;
    Some(SchedEvent::PiSetprio {
        tid: Tid(int(words.split_whitespace().next()?)?),
        old_prio: int(value(words, "oldprio")?)?,
        new_prio: int(value(words, "newprio")?)?,
        comm: names.id(comm),
    })
}

fn stat_runtime(text: &str) -> Option<SchedEvent> {
    let (_, words) = comm_and_words(text, "comm=")?;
    let tid = Tid(int(words.split_whitespace().next()?)?);
    let runtime_ns = long(value(words, "runtime")?)?.cast_unsigned();
    Some(SchedEvent::StatRuntime { tid, runtime_ns })
}

/// `0x… (flags=SPIN|MUTEX)`, `0x… (ret=0)`, `0x…`; raw: `lock_addr=0x… flags=33`.
fn lock_event(event: &str, text: &str) -> Option<SchedEvent> {
    let mut words = text.split([' ', '\t', '(', ')']).filter(|w| !w.is_empty());
    let first = words.next()?;
    let lock = LockId(address(first.strip_prefix("lock_addr=").unwrap_or(first))?);
    let find = |key: &str| {
        text.split([' ', '\t', '(', ')']).find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    };
    Some(match event {
        "contention_begin" => {
            SchedEvent::ContentionBegin { lock, flags: lock_flags(find("flags")?)? }
        }
        "contention_end" => SchedEvent::ContentionEnd { lock, ret: int(find("ret")?)? },
        _ => SchedEvent::ContendedRelease { lock },
    })
}

/// `lock_addr=0x… owner_raw=0x… flags=33 owner_pid=…`
fn lock_owner(text: &str) -> Option<SchedEvent> {
    let number = |key| value(text, key).and_then(int);
    let holder = LockHolder {
        tid: Tid(number("owner_pid")?),
        prio: number("owner_prio")?,
        is_on_cpu: number("owner_on_cpu")? != 0,
        cpu: cpu(value(text, "owner_cpu")?)?,
    };
    Some(SchedEvent::LockOwner {
        lock: LockId(address(value(text, "lock_addr")?)?),
        flags: lock_flags(value(text, "flags")?)?,
        owner: Some(holder).filter(|holder| holder.tid != Tid::IDLE),
        bits: OwnerBits::of_word(address(value(text, "owner_raw")?)?),
    })
}

/// `buffer=0x… inode=7 flags=1 size=16 count=64 mutex=0x…`, `buffer=0x… inode=7 ret=100`
fn transfer(event: &str, text: &str) -> Option<SchedEvent> {
    let number = |key| value(text, key).and_then(int);
    let buffer = BufferId {
        address: address(value(text, "buffer")?)?,
        inode: number("inode")?.cast_unsigned(),
    };
    if event == "transfer_end" {
        return Some(SchedEvent::TransferEnd { buffer, ret: number("ret")? });
    }
    let (size, flags) = (number("size")?.cast_unsigned(), number("flags")?.cast_unsigned());
    let count = number("count")?.cast_unsigned();
    Some(transfer_begin(buffer, address(value(text, "mutex")?)?, size, count, flags))
}

/// `uaddr=0x… op=128 val=2 process=7 word=2 owner=8`, `ret=0`
fn futex(event: &str, text: &str) -> Option<SchedEvent> {
    let number = |key| value(text, key).and_then(int);
    if event == "futex_end" {
        return Some(SchedEvent::FutexEnd { ret: number("ret")? });
    }
    let [op, val, word] = ["op", "val", "word"].map(|key| number(key).map(i32::cast_unsigned));
    let process = Some(Tid(number("process")?)).filter(|process| *process != Tid::IDLE);
    let memory = (word?, Tid(number("owner")?));
    Some(futex_begin((address(value(text, "uaddr")?)?, op?, val?), process, Some(memory)))
}

/// Names of the bits in the order that kernels print them.
pub(super) const LOCK_FLAG_NAMES: [(&str, u32); 6] = [
    ("SPIN", LockFlags::SPIN),
    ("READ", LockFlags::READ),
    ("WRITE", LockFlags::WRITE),
    ("RT", LockFlags::RT),
    ("PERCPU", LockFlags::PERCPU),
    ("MUTEX", LockFlags::MUTEX),
];

fn lock_flags(text: &str) -> Option<LockFlags> {
    let mut flags = 0;
    for part in text.split('|').filter(|p| !p.is_empty()) {
        flags |= match LOCK_FLAG_NAMES.iter().find(|(name, _)| *name == part) {
            Some((_, bit)) => *bit,
            None => int(part)?.cast_unsigned(),
        };
    }
    Some(LockFlags(flags))
}

/// The mutex probes of detail `full`; `None` when it is none of them, `Some(None)` when unreadable.
fn mutex_call(event: &str, text: &str) -> Option<Option<SchedEvent>> {
    let lock = value(text, "lock").and_then(address).map(LockId);
    let ret = value(text, "ret").and_then(int);
    let has_return = if event == "mutex_lock_in" { HasReturn::No } else { HasReturn::Yes };
    Some(match event {
        "mutex_lock_in" | "mutex_lock_interruptible_in" | "mutex_lock_killable_in" => {
            lock.map(|lock| SchedEvent::MutexLock { lock, has_return })
        }
        "mutex_lock_interruptible_ret" | "mutex_lock_killable_ret" => {
            lock.zip(ret).map(|(lock, ret)| SchedEvent::MutexLockReturn { lock, ret })
        }
        // The register holds a bool: only its low byte is the value.
        "mutex_trylock_ret" => {
            lock.zip(ret).map(|(lock, ret)| SchedEvent::MutexTrylock { lock, ret: ret & 0xff })
        }
        "mutex_unlock_in" => lock.map(|lock| SchedEvent::MutexUnlock { lock }),
        _ => return None,
    })
}

/// `hrtimer=0x… function=NAME/0x0 expires=…`
fn hrtimer(text: &str, names: &mut Names) -> Option<SchedEvent> {
    let function = value(text, "function")?;
    let function = function.split(['/', '+']).next()?;
    let is_address =
        function.starts_with("0x") || address(function).is_some_and(|_| function.len() >= 8);
    let function = if is_address { NameId::default() } else { names.id(function) };
    Some(SchedEvent::HrtimerStart {
        timer: address(value(text, "hrtimer")?)?,
        function,
        expires_ns: long(value(text, "expires")?)?,
    })
}

/// Waits for the mutexes of programs, of our own replays: `lock=0x… ret=0`.
fn user_lock(event: &str, text: &str) -> Option<SchedEvent> {
    let lock = LockId(address(value(text, "lock")?)?);
    Some(match event {
        "user_lock_begin" => {
            SchedEvent::ContentionBegin { lock, flags: LockFlags(LockFlags::USER) }
        }
        "user_lock_end" => SchedEvent::ContentionEnd { lock, ret: int(value(text, "ret")?)? },
        _ => SchedEvent::ContendedRelease { lock },
    })
}

/// The events of our own replays.
fn own(event: &str, text: &str) -> Option<SchedEvent> {
    let tid = |key| value(text, key).and_then(int).map(Tid);
    if event == "resched_donor" {
        return Some(SchedEvent::Donor { donor: tid("donor_pid")?, running: tid("running_pid")? });
    }
    let (tid, orig_cpu, dest_cpu) =
        (tid("pid")?, cpu(value(text, "orig_cpu")?)?, cpu(value(text, "dest_cpu")?)?);
    Some(if event == "resched_proxy_migrate" {
        SchedEvent::ProxyMigrate { tid, orig_cpu, dest_cpu }
    } else {
        SchedEvent::ProxyReturn { tid, orig_cpu, dest_cpu }
    })
}
