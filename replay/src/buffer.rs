//! Pipes and sockets: bytes that tasks hand to each other, and waits for bytes and for room.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::rule::buffer::{Part, Store};
use crate::sched::Entry;
use crate::state::T;
use crate::wake::Waker;
use model::demand::{BufferIndex, DemandBuffer};
use model::{Op, PrevState};
use std::collections::VecDeque;

/// A buffer and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    store: Store,
    /// Who waits for bytes, the longest first.
    readers: VecDeque<T>,
    /// Who waits for room.
    writers: VecDeque<T>,
    /// Bytes that reads found missing: later ones take them along.
    owed: u64,
}

impl Buffer {
    pub(crate) fn new(of: &DemandBuffer) -> Self {
        Self {
            store: Store::new(of.kind, of.filled),
            readers: VecDeque::new(),
            writers: VecDeque::new(),
            owed: 0,
        }
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Into the buffer.
    Put,
    /// Out of it.
    Take,
}

impl Way {
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Put => Self::Take,
            Self::Take => Self::Put,
        }
    }
}

/// What a call does where it finds nothing to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Waits,
    GoesOn,
}

/// How far a call that moves bytes has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    /// Bytes moved.
    moved: u32,
    stage: Stage,
    /// The other side has something that it lacked.
    tells_other: bool,
    /// It was woken, and another of its own side waits perhaps.
    tells_own: bool,
    /// The mutex was held when it began to wait, and is taken again.
    pub(crate) relocks: bool,
}

impl Call {
    /// Whether it has waited and not gone on yet.
    pub(crate) fn is_behind_wait(self) -> bool {
        self.stage == Stage::Woken
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Moves,
    /// It has let go of the mutex and is about to wait.
    Waits,
    /// It has told others, and is on its way to sleep.
    Leaves,
    /// Behind the wait.
    Woken,
}

/// Whom a task tells of a buffer when it lets go of the mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    buffer: BufferIndex,
    way: Way,
    other: bool,
    own: bool,
}

impl Engine<'_> {
    /// One step of a call that moves bytes.
    ///
    /// # Source
    ///
    /// `anon_pipe_read` and `anon_pipe_write` in `fs/pipe.c`: the mutex is released before the wait
    /// and taken again behind it; who was woken and leaves something wakes the next of its side.
    ///
    /// # Deviation
    ///
    /// A reader takes as many bytes as it did in the recording, or what there is; what it then leaves
    /// behind of them, the next one takes along. So bytes are conserved, and it does not call more
    /// often than it did.
    pub(crate) fn transfer(&mut self, cpu: usize, t: T, op: Op) {
        let (way, buffer, bytes, waits) = match op {
            Op::Put { buffer, bytes, is_nonblocking } => (Way::Put, buffer, bytes, !is_nonblocking),
            Op::Take { buffer, bytes, is_nonblocking } => {
                (Way::Take, buffer, bytes, !is_nonblocking)
            }
            _ => return self.next_op(t),
        };
        if buffer.index() >= self.buffers.len() {
            return self.next_op(t);
        }
        let asked = (bytes, if waits { Empty::Waits } else { Empty::GoesOn });
        match self.task(t).call.stage {
            Stage::Moves => self.move_bytes(cpu, t, (way, buffer), asked),
            Stage::Waits => {
                self.give_notice(cpu, t);
                self.tasks[t as usize].call.stage = Stage::Leaves;
                let busy = &mut self.cpus[cpu].busy_until;
                *busy = (*busy).max(self.now) + self.costs.buffer_sleep;
            }
            Stage::Leaves => self.wait_for_buffer(cpu, t, (way, buffer)),
            Stage::Woken => {
                self.tasks[t as usize].call.stage = Stage::Moves;
                if self.task(t).call.relocks
                    && let Some(mutex) = self.demand.buffers[buffer.index()].mutex
                    && self.lock(cpu, t, mutex)
                {
                    self.locked(t);
                }
            }
        }
    }

    fn move_bytes(
        &mut self,
        cpu: usize,
        t: T,
        (way, buffer): (Way, BufferIndex),
        (bytes, empty): (u32, Empty),
    ) {
        let at = buffer.index();
        let call = self.task(t).call;
        let left = bytes - call.moved;
        let store = &mut self.buffers[at].store;
        let (tells_other, moved) = match way {
            Way::Put => {
                let was_empty = store.is_empty();
                let moved =
                    store.put(left, if call.moved == 0 { Part::First } else { Part::Later });
                (was_empty || !store.wakes_when_empty(), moved)
            }
            Way::Take => {
                let before = store.level();
                let Buffer { store, owed, .. } = &mut self.buffers[at];
                let takes_along = empty == Empty::Waits && !store.is_in_packets();
                let wanted = u64::from(left) + if takes_along { *owed } else { 0 };
                let moved = store.take(clamped(wanted));
                if moved > 0 && takes_along {
                    *owed = wanted - u64::from(moved);
                }
                (store.tells_writers(before), moved)
            }
        };
        // A read returns with what there is.
        let is_over = moved == left || empty == Empty::GoesOn || way == Way::Take && moved > 0;
        let moved = moved.min(left);
        let store = &self.buffers[at].store;
        let own_can_go_on = match way {
            Way::Put => !store.is_full(),
            Way::Take => !store.is_empty(),
        };
        let tells_own = call.tells_own && own_can_go_on && store.wakes_one();
        let call = &mut self.tasks[t as usize].call;
        call.moved += moved;
        call.tells_other |= tells_other && moved > 0;
        let tells_other = call.tells_other;
        let mutex = self.demand.buffers[at]
            .mutex
            .filter(|m| self.locks.get(m.index()).is_some_and(|lock| lock.word.owner == Some(t)));
        if is_over {
            self.tasks[t as usize].call = Call::default();
            self.next_op(t);
            let notice = Notice { buffer, way, other: tells_other, own: tells_own };
            self.tasks[t as usize].notice = Some(notice);
            if mutex.is_none() {
                self.give_notice(cpu, t);
            }
            return;
        }
        let call = &mut self.tasks[t as usize].call;
        call.stage = Stage::Waits;
        call.tells_other = false;
        call.relocks = mutex.is_some();
        self.tasks[t as usize].notice =
            Some(Notice { buffer, way, other: tells_other, own: false });
        match mutex {
            Some(mutex) => self.unlock(cpu, t, mutex),
            None => self.give_notice(cpu, t),
        }
    }

    fn wait_for_buffer(&mut self, cpu: usize, t: T, (way, buffer): (Way, BufferIndex)) {
        let at = buffer.index();
        self.tasks[t as usize].call.stage = Stage::Woken;
        self.tasks[t as usize].call.tells_own = true;
        let buffer = &mut self.buffers[at];
        let goes_on = match way {
            Way::Put => !buffer.store.is_full(),
            Way::Take => !buffer.store.is_empty(),
        };
        if goes_on {
            return;
        }
        match way {
            Way::Put => buffer.writers.push_back(t),
            Way::Take => buffer.readers.push_back(t),
        }
        self.tasks[t as usize].asleep = Some(PrevState::Interruptible);
        self.schedule(cpu, Entry::Voluntary);
    }

    /// Wakes those whom the last call of this task has made able to go on.
    pub(crate) fn give_notice(&mut self, cpu: usize, t: T) {
        let Some(notice) = self.tasks[t as usize].notice.take() else { return };
        if notice.other {
            self.wake_side(cpu, notice.buffer, notice.way.opposite());
        }
        if notice.own {
            self.wake_side(cpu, notice.buffer, notice.way);
        }
    }

    /// Wakes one who waits on a side of a pipe, or all who wait on that of a socket.
    ///
    /// # Source
    ///
    /// `wake_up_interruptible_sync_poll` in `fs/pipe.c` and `net/core/sock.c`.
    fn wake_side(&mut self, cpu: usize, buffer: BufferIndex, side: Way) {
        loop {
            let buffer = &mut self.buffers[buffer.index()];
            let wakes_one = buffer.store.wakes_one();
            let waiting = if side == Way::Put { &mut buffer.writers } else { &mut buffer.readers };
            let Some(p) = waiting.pop_front() else { return };
            self.rule = Rule::BufferMoves;
            self.wake(p, Waker::Sync(cpu));
            let busy = &mut self.cpus[cpu].busy_until;
            *busy = (*busy).max(self.now) + self.costs.buffer_tell;
            if wakes_one {
                return;
            }
        }
    }
}

fn clamped(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
