//! Owners of locks in a buffer of their own, beside the events.

use crate::build::{Before, Instance, Shape, owner_page, page, version_6_with, version_7_with};
use expect_test::expect;
use std::collections::BTreeSet;
use trace_formats::{
    Context, CpuId, Event, LockFlags, LockHolder, LockId, LostWhat, OwnerBits, Recording,
    SchedEvent, Tid, Timestamp, read, write_ftrace_text,
};

const SHAPE: Shape = Shape { version: b'7', is_big: false, long_size: 8, compression: "none" };

fn owners(shape: Shape) -> Instance {
    let pages = vec![
        owner_page(shape, &[(5, 10, 20), (500_000, 11, 0)], Before::Nothing),
        owner_page(shape, &[(700_000, 20, 11)], Before::Lost),
    ];
    Instance { name: "resched", clock: "mono", pages, stats: Vec::new() }
}

fn recording(shape: Shape, instance: &Instance) -> Recording {
    let pages = [page(shape, (10, 11)), page(shape, (20, 21))];
    let bytes = match shape.version {
        b'6' => version_6_with(shape, &pages, Some(instance)),
        _ => version_7_with(shape, &pages, &[0, 1], Some(instance)),
    };
    read(&bytes).expect("readable")
}

fn records(recording: &Recording) -> String {
    let mut text = String::new();
    write_ftrace_text(recording, &mut text).expect("a String takes everything");
    let lines = text.lines().filter(|l| !l.starts_with('#')).map(str::trim_start);
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn both_buffers_are_one_stream() {
    let mut texts = BTreeSet::new();
    for (version, compression) in [(b'6', "none"), (b'7', "none"), (b'7', "zlib"), (b'7', "zstd")] {
        for (is_big, long_size) in [(false, 4), (false, 8), (true, 4), (true, 8)] {
            let shape = Shape { version, is_big, long_size, compression };
            let recording = recording(shape, &owners(shape));
            assert_eq!(recording.oddities, [], "{shape:?}");
            assert_eq!(recording.cpus, [CpuId(0), CpuId(1)]);
            assert_eq!(recording.counts["lock_owner"], 3);
            texts.insert(records(&recording));
        }
    }
    let texts = texts.into_iter().collect::<Vec<_>>().join("or\n");
    expect![[r#"
        task-10-10      [000] .....     7.000000005: sched_switch: prev_comm=task-10 prev_pid=10 prev_prio=120 prev_state=R ==> next_comm=task-11 next_pid=11 next_prio=120
        task-10-10      [000] .....     7.000000005: lock_owner: lock_addr=0xffff888100000010 owner_raw=0x1 flags=33 owner_pid=20 owner_prio=139 owner_on_cpu=1 owner_cpu=1
        task-20-20      [001] .....     7.000000005: sched_switch: prev_comm=task-20 prev_pid=20 prev_prio=120 prev_state=R ==> next_comm=task-21 next_pid=21 next_prio=120
        task-11-11      [000] .....     7.000500000: lock_owner: lock_addr=0xffff888100000010 owner_raw=0x0 flags=33 owner_pid=0 owner_prio=0 owner_on_cpu=0 owner_cpu=0
        task-20-20      [001] .....     7.000700000: lock_owner: lock_addr=0xffff888100000010 owner_raw=0x1 flags=33 owner_pid=11 owner_prio=139 owner_on_cpu=1 owner_cpu=1
        task-11-11      [000] .....     7.001000005: sched_switch: prev_comm=task-11 prev_pid=11 prev_prio=120 prev_state=S ==> next_comm=task-10 next_pid=10 next_prio=120
        task-21-21      [001] .....     7.001000005: sched_switch: prev_comm=task-21 prev_pid=21 prev_prio=120 prev_state=S ==> next_comm=task-20 next_pid=20 next_prio=120
    "#]].assert_eq(&texts);
}

#[test]
fn what_was_written_as_text_is_read_again() {
    let recording = recording(SHAPE, &owners(SHAPE));
    let mut text = String::new();
    write_ftrace_text(&recording, &mut text).expect("a String takes everything");
    let again = read(text.as_bytes()).expect("readable");
    assert_eq!((again.events.len(), again.lost.len()), (recording.events.len(), 0));
    for (one, other) in recording.events.iter().zip(&again.events) {
        if let SchedEvent::LockOwner { .. } = one.kind {
            assert_eq!(one, other);
        }
    }
}

#[test]
fn a_loss_of_owners_is_one_of_owners_alone() {
    let mut instance = owners(SHAPE);
    let stat = |cpu: u32, overrun: u32| format!("CPU: {cpu}\noverrun: {overrun}\n");
    instance.stats = vec![stat(0, 4), "\nBuffer: other\n\n".to_owned(), stat(0, 9)];
    instance.stats.extend(["\nBuffer: resched\n\n".to_owned(), stat(1, 7)]);
    let recording = recording(SHAPE, &instance);
    let found = recording.lost.iter();
    let found = found.map(|l| (l.what, l.cpu, l.events, l.after.0, l.before.0)).collect::<Vec<_>>();
    let (start, first, cpu_1) = (7_000_000_005, 7_000_000_005, 7_000_700_000);
    assert_eq!(
        found,
        [
            (LostWhat::Events, Some(CpuId(0)), Some(4), start, first),
            (LostWhat::OwnRecords, Some(CpuId(1)), Some(7), cpu_1, cpu_1),
        ]
    );
}

#[test]
fn other_instances_and_other_clocks_are_told_and_left_out() {
    let mut other = owners(SHAPE);
    other.name = "net";
    let mut boot = owners(SHAPE);
    boot.clock = "boot";
    let mut told = String::new();
    for instance in [other, boot] {
        let recording = recording(SHAPE, &instance);
        assert_eq!(recording.events.len(), 4);
        told += &recording.oddities.iter().map(|o| format!("{}\n", o.text)).collect::<String>();
    }
    expect![[r#"
        the buffer of instance `net` is not read
        the buffer of instance `resched` is not read: its clock `boot` is not that of the others, `mono`
    "#]].assert_eq(&told);
}

/// As trace-cmd prints the buffers of instances, and perf its samples.
#[test]
fn texts_of_other_tools() {
    let fields = "lock_addr=0xffff888100000010 owner_raw=0xffff888200000003 flags=33 owner_pid=77 \
                  owner_prio=-1 owner_on_cpu=1 owner_cpu=3";
    let lines = [
        format!("resched:      a b-5     [002]     7.000000005: lock_owner:           {fields}"),
        format!("     a b-5     (    5) [002] .....     7.000000005: lock_owner: {fields}"),
        format!("a b     5 [002]     7.000000005: resched:lock_owner: {fields}"),
    ];
    let holder = LockHolder { tid: Tid(77), prio: -1, is_on_cpu: true, cpu: CpuId(3) };
    let kind = SchedEvent::LockOwner {
        lock: LockId(0xffff_8881_0000_0010),
        flags: LockFlags(33),
        owner: Some(holder),
        bits: OwnerBits(3),
    };
    let event = Event {
        at: Timestamp(7_000_000_005),
        cpu: CpuId(2),
        context: Context::Unknown,
        tid: Tid(5),
        kind,
    };
    for line in lines {
        let recording = read(line.as_bytes()).expect("readable");
        let found = recording.events.iter().map(|e| Event { context: Context::Unknown, ..*e });
        assert_eq!(found.collect::<Vec<_>>(), [event], "{line}");
    }
}
