//! Events in an order that no kernel emits.

use model::{
    BufferId, BufferSize, Context, CpuId, Event, HasReturn, LockFlags, LockHolder, LockId, Lost,
    LostWhat, OwnerBits, PrevState, Recording, SchedEvent, Tid, Timestamp, Transfer, WakeFields,
};

/// A small generator: the same seed, the same soup.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn tid(&mut self) -> Tid {
        Tid(i32::try_from(self.roll(5)).expect("small"))
    }

    fn cpu(&mut self) -> CpuId {
        CpuId(u32::try_from(self.roll(3)).expect("small"))
    }

    fn lock(&mut self) -> LockId {
        LockId(self.roll(2))
    }
}

fn kind(d: &mut Dice, recording: &mut Recording) -> SchedEvent {
    let comm =
        recording.names.id(["a", "b", "migration/0"][usize::try_from(d.roll(3)).expect("small")]);
    let prio =
        [-1, 0, 49, 100, 120, 139, i32::MAX, i32::MIN][usize::try_from(d.roll(8)).expect("small")];
    let (tid, cpu, lock) = (d.tid(), d.cpu(), d.lock());
    let wake = WakeFields { tid, comm, prio, target_cpu: cpu };
    let ret = if d.roll(4) == 0 { -4 } else { 0 };
    let states = [
        PrevState::Runnable,
        PrevState::Interruptible,
        PrevState::Uninterruptible,
        PrevState::Dead,
        PrevState::Unknown,
    ];
    match d.roll(20) {
        0..3 => SchedEvent::Switch {
            prev: d.tid(),
            prev_comm: comm,
            prev_prio: prio,
            prev_state: states[usize::try_from(d.roll(5)).expect("small")],
            next: tid,
            next_comm: comm,
            next_prio: 120,
        },
        3 => SchedEvent::Waking(wake),
        4 => SchedEvent::Wakeup(wake),
        5 => SchedEvent::WakeupNew(wake),
        6 => SchedEvent::MigrateTask { tid, comm, prio, orig_cpu: d.cpu(), dest_cpu: cpu },
        7 => SchedEvent::Fork { parent: d.tid(), parent_comm: comm, child: tid, child_comm: comm },
        8 => {
            let flags = [0, 1, 2, 4, 8, 20, 32, 33][usize::try_from(d.roll(8)).expect("small")];
            SchedEvent::ContentionBegin { lock, flags: LockFlags(flags) }
        }
        9 => SchedEvent::ContentionEnd { lock, ret },
        10 => SchedEvent::ContendedRelease { lock },
        11 => SchedEvent::MutexLock { lock, has_return: HasReturn::Yes },
        12 => SchedEvent::MutexUnlock { lock },
        13 => SchedEvent::MutexTrylock { lock, ret: 1 },
        15..17 => {
            let flags = [4, 32, 33][usize::try_from(d.roll(3)).expect("small")];
            let bits = OwnerBits::of_word(d.roll(8));
            let holder = LockHolder { tid: d.tid(), prio, is_on_cpu: true, cpu };
            let owner = (d.roll(3) > 0).then_some(holder);
            SchedEvent::LockOwner { lock, flags: LockFlags(flags), owner, bits }
        }
        17 => SchedEvent::TransferBegin {
            buffer: BufferId { address: d.roll(2), inode: 0 },
            way: if d.roll(2) == 0 { Transfer::Put } else { Transfer::Take },
            size: BufferSize::Pages(1),
            count: 2,
            is_nonblocking: d.roll(4) == 0,
            mutex: (d.roll(3) > 0).then_some(lock),
        },
        18 => SchedEvent::TransferEnd { buffer: BufferId { address: d.roll(2), inode: 0 }, ret },
        14 => SchedEvent::Donor { donor: d.tid(), running: tid },
        _ => SchedEvent::MutexLockReturn { lock, ret },
    }
}

/// Eighty events of few tasks, CPUs and locks.
pub(crate) fn soup(seed: u64) -> Recording {
    let mut d = Dice(seed);
    let mut recording = Recording::default();
    let mut at = if d.roll(9) == 0 { u64::MAX - 300 } else { 0 };
    for _ in 0..80 {
        at = at.saturating_add(d.roll(9)).saturating_sub(if d.roll(20) == 0 { 5 } else { 0 });
        let context = if d.roll(6) == 0 { Context::HardIrq } else { Context::Task };
        let (cpu, tid) = (d.cpu(), d.tid());
        let kind = kind(&mut d, &mut recording);
        recording.events.push(Event { at: Timestamp(at), cpu, context, tid, kind });
        if d.roll(40) == 0 {
            let (after, before) = (Timestamp(at), Timestamp(at.saturating_add(d.roll(20))));
            let what = if d.roll(2) == 0 { LostWhat::Events } else { LostWhat::OwnRecords };
            let cpu = (d.roll(2) == 0).then(|| d.cpu());
            recording.lost.push(Lost { cpu, what, events: None, after, before });
        }
    }
    recording
}
