//! A recording written by hand, one event a line.
//!
//! `MICROSECONDS CPU RUNNING EVENT ARGUMENTS`, as in `10 0 low begin m 33`. Tasks and locks are
//! named; thread ids follow the order of names from 1 on; `idle` is the idle task. `low@139` has
//! kernel priority 139, which is 120 without.
//! `owner m 33 low 1` says that the recorder found `low`, or `nobody`, and the owner word's bits.
//! `put p 100 m` begins a write of 100 bytes into a pipe with the mutex `m`, `take p 100! -` a read
//! that does not wait, from a pipe without one; `moved p 100` ends either.
//! `|` in front of the event puts it in an interrupt. `lost CPU FROM TO` is a loss.

use model::{
    BufferId, BufferSize, Context, CpuId, Event, HasReturn, LockFlags, LockHolder, LockId, Lost,
    LostWhat, OwnerBits, PrevState, Recording, SchedEvent, Tid, Timestamp, Transfer, WakeFields,
};

/// Tasks in order of mention.
#[derive(Default)]
struct Shorthand {
    recording: Recording,
    tasks: Vec<String>,
    locks: Vec<String>,
}

/// Reads the shorthand.
pub(crate) fn recording(text: &str) -> Recording {
    let mut s = Shorthand::default();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        s.line(line);
    }
    s.recording
}

fn micros(text: &str) -> Timestamp {
    Timestamp(text.parse::<u64>().expect("microseconds") * 1000)
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a number, not {text}"))
}

fn prio(name: &str) -> i32 {
    name.split_once('@').map_or(120, |(_, prio)| number(prio))
}

impl Shorthand {
    fn tid(&mut self, name: &str) -> Tid {
        if name == "idle" {
            return Tid::IDLE;
        }
        let place = self.tasks.iter().position(|t| t == name).unwrap_or_else(|| {
            self.tasks.push(name.to_owned());
            self.tasks.len() - 1
        });
        Tid(i32::try_from(place + 1).expect("few"))
    }

    fn lock(&mut self, name: &str) -> LockId {
        let place = self.locks.iter().position(|t| t == name).unwrap_or_else(|| {
            self.locks.push(name.to_owned());
            self.locks.len() - 1
        });
        LockId(place as u64 + 1)
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["lost", cpu, from, to] = words[..] {
            let (after, before) = (micros(from), micros(to));
            let cpu = Some(CpuId(number(cpu)));
            return self.recording.lost.push(Lost {
                cpu,
                what: LostWhat::Events,
                events: None,
                after,
                before,
            });
        }
        let in_irq = words.get(3) == Some(&"|");
        let rest = &words[if in_irq { 4 } else { 3 }..];
        let kind = self.kind(rest);
        let context = if in_irq { Context::HardIrq } else { Context::Task };
        let (at, cpu, tid) = (micros(words[0]), CpuId(number(words[1])), self.tid(words[2]));
        self.recording.events.push(Event { at, cpu, context, tid, kind });
    }

    fn wake(&mut self, task: &str, cpu: &str) -> WakeFields {
        let (tid, comm) = (self.tid(task), self.recording.names.id(task));
        WakeFields { tid, comm, prio: prio(task), target_cpu: CpuId(number(cpu)) }
    }

    fn transfer(&mut self, words: &[&str]) -> SchedEvent {
        let mut buffer = |name: &str| BufferId { address: self.lock(name).0, inode: 0 };
        match *words {
            ["moved", name, ret] => {
                SchedEvent::TransferEnd { buffer: buffer(name), ret: number(ret) }
            }
            [word, name, count, mutex] => SchedEvent::TransferBegin {
                buffer: buffer(name),
                way: if word == "put" { Transfer::Put } else { Transfer::Take },
                size: BufferSize::Pages(16),
                count: number(count.trim_end_matches('!')),
                is_nonblocking: count.ends_with('!'),
                mutex: (mutex != "-").then(|| self.lock(mutex)),
            },
            _ => panic!("a call on a buffer, not {words:?}"),
        }
    }

    fn kind(&mut self, words: &[&str]) -> SchedEvent {
        let state = |letter: &str| match letter {
            "R" => PrevState::Runnable,
            "S" => PrevState::Interruptible,
            "D" => PrevState::Uninterruptible,
            "X" => PrevState::Dead,
            _ => panic!("a state, not {letter}"),
        };
        match *words {
            ["switch", prev, letter, next] => SchedEvent::Switch {
                prev: self.tid(prev),
                prev_comm: self.recording.names.id(prev),
                prev_prio: prio(prev),
                prev_state: state(letter),
                next: self.tid(next),
                next_comm: self.recording.names.id(next),
                next_prio: prio(next),
            },
            ["waking", task, cpu] => SchedEvent::Waking(self.wake(task, cpu)),
            ["wakeup", task, cpu] => SchedEvent::Wakeup(self.wake(task, cpu)),
            ["new", task, cpu] => SchedEvent::WakeupNew(self.wake(task, cpu)),
            ["migrate", task, from, to] => SchedEvent::MigrateTask {
                tid: self.tid(task),
                comm: self.recording.names.id(task),
                prio: prio(task),
                orig_cpu: CpuId(number(from)),
                dest_cpu: CpuId(number(to)),
            },
            ["begin", lock, flags] => SchedEvent::ContentionBegin {
                lock: self.lock(lock),
                flags: LockFlags(number(flags)),
            },
            ["end", lock, ret] => {
                SchedEvent::ContentionEnd { lock: self.lock(lock), ret: number(ret) }
            }
            ["owner", lock, flags, who, bits] => SchedEvent::LockOwner {
                lock: self.lock(lock),
                flags: LockFlags(number(flags)),
                owner: (who != "nobody").then(|| LockHolder {
                    tid: self.tid(who),
                    prio: prio(who),
                    is_on_cpu: false,
                    cpu: CpuId(0),
                }),
                bits: OwnerBits(number(bits)),
            },
            ["release", lock] => SchedEvent::ContendedRelease { lock: self.lock(lock) },
            ["lock", lock] => {
                SchedEvent::MutexLock { lock: self.lock(lock), has_return: HasReturn::No }
            }
            ["unlock", lock] => SchedEvent::MutexUnlock { lock: self.lock(lock) },
            ["try", lock, ret] => {
                SchedEvent::MutexTrylock { lock: self.lock(lock), ret: number(ret) }
            }
            ["put" | "take" | "moved", ..] => self.transfer(words),
            ["donor", donor, running] => {
                SchedEvent::Donor { donor: self.tid(donor), running: self.tid(running) }
            }
            ["return", task, from, to] => SchedEvent::ProxyReturn {
                tid: self.tid(task),
                orig_cpu: CpuId(number(from)),
                dest_cpu: CpuId(number(to)),
            },
            ["fork", parent, child] => SchedEvent::Fork {
                parent: self.tid(parent),
                parent_comm: self.recording.names.id(parent),
                child: self.tid(child),
                child_comm: self.recording.names.id(child),
            },
            _ => panic!("an event, not {words:?}"),
        }
    }
}
