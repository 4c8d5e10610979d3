//! Owners that were read in the kernel beside a recording, as our own recorder reads them.

use crate::listing;
use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::{
    Basis, Context, CpuId, Event, LockFlags, LockHolder, LockId, LockKind, Lost, LostWhat,
    OwnerBits, Ownership, Recording, SchedEvent, Tid, Timestamp, assemble,
};
use std::collections::BTreeMap;
use std::path::Path;

fn check(text: &str, expect: Expect) {
    let trace = assemble(&recording(text), None);
    expect.assert_eq(&(listing::waits(&trace) + &listing::notes(&trace)));
}

#[test]
fn a_record_wins_over_the_waker() {
    // A signal ends the wait: other, which sends it, is not the one that has the mutex.
    let text = "0 0 x switch x R high
         0 1 y switch y R thief
         10 0 high begin m 33
         10 0 high owner m 33 thief 0
         12 0 high begin m 32
         12 0 high owner m 32 thief 1
         14 0 high switch high D low
         20 1 thief switch thief R other
         30 1 other waking high 0
         31 1 other wakeup high 0
         40 0 low switch low R high
         41 0 high end m -4";
    let mut without = recording(text);
    without.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    expect![[r#"
        high mutex 10..41 ret -4: 10..30 other (inferred); 30..41 nobody (inferred)
    "#]]
    .assert_eq(&listing::waits(&assemble(&without, None)));
    check(
        text,
        expect![[r#"
        high mutex 10..41 ret -4: 10..41 thief (exact)
    "#]],
    );
}

#[test]
fn a_record_says_who_took_the_lock_after_its_release() {
    // a lets go and wakes b; c takes it first, and says nothing: d finds it so. b sleeps again.
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         1 1 b begin w 4
         1 1 b owner w 4 a 0
         2 1 b switch b D c
         10 0 a waking b 1
         11 0 a wakeup b 1
         12 0 a switch a S d
         15 0 d begin w 4
         15 0 d owner w 4 c 0
         16 0 d switch d D idle
         20 1 c waking d 0
         21 1 c wakeup d 0
         22 1 c switch c S b
         23 1 b end w 0",
        expect![[r#"
            b rwsem-write 1..23 ret 0: 1..10 a (exact); 10..15 nobody (inferred); 15..20 c (exact); 20..23 nobody (inferred)
            d rwsem-write 15..23 open: 15..20 c (exact); 20..23 nobody (inferred)
            gap wait-cut-off x1
        "#]],
    );
}

#[test]
fn a_record_in_front_of_its_begin_and_one_behind_it_say_the_same() {
    let text = |first: &str, second: &str| {
        let line = |at: u32, what: &str| format!("{at} 0 high {what}\n");
        "0 1 x switch x R low\n0 0 y switch y R high\n".to_owned()
            + &line(10, first)
            + &line(11, second)
            + "12 0 high switch high D idle\n30 1 low waking high 0\n31 0 idle switch idle R high\n\
               32 0 high end w 0"
    };
    let begin = "begin w 4";
    let owner = "owner w 4 low 0";
    let trace = |text: &str| assemble(&recording(text), None);
    let (before, behind) = (trace(&text(owner, begin)), trace(&text(begin, owner)));
    let waits = |trace| listing::waits(trace) + &listing::notes(trace);
    expect![[r#"
        high rwsem-write 11..32 ret 0: 11..30 low (exact); 30..32 nobody (inferred)
        guess runqueue-guessed x1
    "#]]
    .assert_eq(&waits(&before));
    expect![[r#"
        high rwsem-write 10..32 ret 0: 10..30 low (exact); 30..32 nobody (inferred)
        guess runqueue-guessed x1
    "#]]
    .assert_eq(&waits(&behind));
}

#[test]
fn nobody_is_knowledge_and_a_hand_over_is_nobody() {
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         10 0 a begin m 33
         10 0 a owner m 33 nobody 1
         12 0 a end m 0
         20 0 a begin m 33
         20 0 a owner m 33 b 4
         22 0 a end m 0",
        expect![[r#"
            a mutex 10..12 ret 0: 10..10 nobody (exact); 10..12 nobody (inferred)
            a mutex 20..22 ret 0: 20..20 nobody (exact); 20..22 nobody (inferred)
        "#]],
    );
}

#[test]
fn of_readers_the_record_names_one_who_may_be_gone() {
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         10 0 a begin w 4
         10 0 a owner w 4 b 3
         12 0 a switch a D idle
         30 1 b | waking a 0
         31 0 idle switch idle R a
         32 0 a end w 0",
        expect![[r#"
            a rwsem-write 10..32 ret 0: 10..32 b (inferred)
            guess runqueue-guessed x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn a_mutex_found_again_has_passed_on_in_between() {
    // low runs until 20 and can let go only until then; thief comes to its CPU at 20.
    check(
        "0 1 x switch x R low
         0 0 y switch y R high
         10 0 high begin m 33
         10 0 high owner m 33 low 0
         20 1 low switch low S thief
         30 0 high begin m 32
         30 0 high owner m 32 thief 0
         31 0 high switch high D idle
         40 1 thief release m
         41 1 thief waking high 0
         42 0 idle switch idle R high
         43 0 high end m 0",
        expect![[r#"
            high mutex 10..43 ret 0: 10..10 low (exact); 10..20 low (inferred); 20..30 thief (inferred); 30..40 thief (exact); 40..43 nobody (exact)
            guess runqueue-guessed x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn begins_and_records_without_each_other_are_counted() {
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         10 0 a begin m 33
         11 0 a end m 0
         20 0 a owner m 33 b 0
         21 0 a switch a R c
         30 0 c begin m 33
         31 0 c owner m 33 b 0
         32 0 c end m 0
         40 0 c begin s 0
         41 0 c end s 0",
        expect![[r#"
            a mutex 10..11 ret 0: 10..11 nobody (inferred)
            c mutex 30..32 ret 0: 30..32 b (exact)
            c semaphore 40..41 ret 0: 40..41 ?
            gap owner-not-recorded x1
            gap owner-without-begin x1
        "#]],
    );
}

#[test]
fn lost_records_of_owners_leave_the_schedule_whole() {
    let text = "0 0 x switch x R a
         20 0 a switch a S idle";
    let mut recording = recording(text);
    recording.lost.push(Lost {
        cpu: Some(CpuId(0)),
        what: LostWhat::OwnRecords,
        events: Some(3),
        after: Timestamp(1000),
        before: Timestamp(2000),
    });
    let trace = assemble(&recording, None);
    expect![[r#"
        gap lost-owners x1
        x: 0..20 queued on 0, preempted
        a: 0..20 runs on 0
    "#]]
    .assert_eq(&(listing::notes(&trace) + &listing::tasks(&trace)));
}

/// A line of owners read in the kernel beside a recording: `ns cpu kind waiter prio lock flags
/// owner_raw owner_pid owner_prio owner_on_cpu owner_cpu`; lines of other kinds are none.
fn record(line: &str) -> Option<Event> {
    let cells: Vec<&str> = line.split_whitespace().collect();
    let number = |n: usize| cells.get(n).and_then(|cell| cell.parse::<i32>().ok());
    let hex = |n: usize| cells.get(n).and_then(|cell| u64::from_str_radix(cell, 16).ok());
    let cpu = |n: usize| cells.get(n).and_then(|cell| cell.parse().ok()).map(CpuId);
    if !matches!(*cells.get(2)?, "M" | "W") {
        return None;
    }
    let holder = LockHolder {
        tid: Tid(number(8)?),
        prio: number(9)?,
        is_on_cpu: number(10)? == 1,
        cpu: cpu(11)?,
    };
    let kind = SchedEvent::LockOwner {
        lock: LockId(hex(5)?),
        flags: LockFlags(number(6)?.cast_unsigned()),
        owner: Some(holder).filter(|holder| holder.tid != Tid::IDLE),
        bits: OwnerBits::of_word(hex(7)?),
    };
    let (at, context) = (Timestamp(cells.first()?.parse().ok()?), Context::Task);
    Some(Event { at, cpu: cpu(1)?, context, tid: Tid(number(3)?), kind })
}

/// Of the records: how many belong to a begin, how many of those the trace names rightly at that
/// moment, and how many it names exactly.
fn score(recording: &Recording, records: &[Event]) -> String {
    let trace = assemble(recording, None);
    let mut begins: BTreeMap<(Tid, LockId, LockFlags), Vec<Timestamp>> = BTreeMap::new();
    for event in &recording.events {
        if let SchedEvent::ContentionBegin { lock, flags } = event.kind {
            begins.entry((event.tid, lock, flags)).or_default().push(event.at);
        }
    }
    let mut scores: BTreeMap<&str, [u32; 4]> = BTreeMap::new();
    for record in records {
        let SchedEvent::LockOwner { lock, flags, owner, bits } = record.kind else { continue };
        let kind = LockKind::of_flags(flags);
        let is_hint = kind != LockKind::Mutex && bits.has(OwnerBits::READERS);
        let near = begins.get(&(record.tid, lock, flags)).into_iter().flatten();
        let at = near.min_by_key(|at| at.0.abs_diff(record.at.0));
        let at = at.filter(|at| at.0.abs_diff(record.at.0) < 50_000).copied();
        let mut waits = trace.waits.iter().filter(|w| {
            w.lock == lock && trace.task(w.waiter).info.tid == record.tid && Some(w.begin) <= at
        });
        let Some(at) = at else { continue };
        let Some(span) = waits.next_back().and_then(|w| w.owner_at(at)) else { continue };
        let said = match span.owner {
            Ownership::Held(task) => Some(Some(trace.task(task).info.tid)),
            Ownership::Free => Some(None),
            Ownership::Unknown => None,
        };
        let is_right = said == Some(owner.map(|o| o.tid));
        let name = if is_hint { "read by" } else { kind.name() };
        let score = scores.entry(name).or_default();
        score[0] += 1;
        score[1] += u32::from(is_right);
        score[2] += u32::from(is_right && span.basis == Basis::Exact);
        score[3] += u32::from(!is_right && span.basis == Basis::Exact);
    }
    let line = |(name, [all, right, exact, wrong]): (&str, [u32; 4])| {
        format!(
            "{name}: {all} begins, {right} right, {exact} of them exact; {wrong} exact and wrong\n"
        )
    };
    scores.into_iter().map(line).collect()
}

#[test]
fn a_begin_and_a_record_on_two_sides_of_a_switch_are_no_pair() {
    check(
        "0 0 x switch x R a
         10 0 a begin m 33
         11 0 a switch a R b
         20 0 b switch b R a
         21 0 a owner m 33 b 0
         30 0 a end m 0",
        expect![[r#"
            a mutex 10..30 ret 0: 10..20 b (inferred); 20..30 b (exact)
            gap owner-not-recorded x1
            gap owner-without-begin x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn off_its_cpu_a_task_neither_takes_a_lock_nor_lets_go() {
    // low is off its CPU from 5 to 20; what is read at 15 was so at 10. It lets go, and waits itself.
    check(
        "0 1 x switch x R low
         0 0 y switch y R a
         5 1 low switch low R b
         10 0 a begin w 4
         15 1 b begin w 4
         15 1 b owner w 4 low 0
         20 1 b switch b D low
         25 1 low begin w 4
         26 1 low switch low D idle
         40 0 a end w 0",
        expect![[r#"
            a rwsem-write 10..40 ret 0: 10..20 low (exact); 20..25 low (inferred); 25..40 a (inferred)
            b rwsem-write 15..40 open: 15..20 low (exact); 20..25 low (inferred); 25..40 a (inferred)
            low rwsem-write 25..40 open: 25..40 a (inferred)
            gap wait-cut-off x2
            gap owner-not-recorded x2
            guess owner-inferred x3
        "#]],
    );
}

#[test]
fn an_owner_may_say_that_it_won_between_the_begin_and_its_record() {
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         1 0 a begin m 33
         1 0 a owner m 33 nobody 0
         5 1 b begin m 33
         6 0 a end m 0
         7 1 b owner m 33 a 0
         20 1 b end m 0",
        expect![[r#"
            a mutex 1..6 ret 0: 1..1 nobody (exact); 1..5 a (inferred); 5..6 a (exact)
            b mutex 5..20 ret 0: 5..20 a (exact)
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn an_owner_that_only_records_name_is_a_task() {
    let trace =
        assemble(&recording("0 0 a begin m 33\n0 0 a owner m 33 ghost 0\n9 0 a end m 0"), None);
    let owner = trace.waits[0].owner_at_begin().expect("it is named");
    assert_eq!(trace.task(owner).info.prio, Some(120));
}

/// A record that says what the release says anyway changes nothing in what tasks ask for.
#[test]
fn a_record_of_what_is_known_leaves_the_demand_alone() {
    let text = "0 0 x switch x R a
         0 1 y switch y R b
         5 1 b begin m 33
         5 1 b owner m 33 a 0
         6 1 b begin m 32
         6 1 b owner m 32 a 1
         7 1 b switch b D idle
         20 0 a release m
         21 0 a waking b 1
         22 1 idle switch idle R b
         23 1 b end m 0
         30 1 b switch b S idle";
    let with = recording(text);
    let mut without = with.clone();
    without.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    let demand = |recording| format!("{:?}", model::demand::extract(recording, None));
    assert_eq!(demand(&with), demand(&without));
}

/// One run recorded beside the repository, with the owners read in the kernel: without them, and
/// with them as the recorder would write them.
#[test]
fn recorded_owners_are_said_at_every_begin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/host-traces");
    let Ok(truth) = std::fs::read_to_string(folder.join("owner-truth.txt")) else {
        return eprintln!("skipped: no host traces at {}", folder.display());
    };
    let bytes = std::fs::read(folder.join("inversion-owner.trace.dat")).expect("it is beside");
    let mut recording = trace_formats::read(&bytes).expect("readable");
    let records: Vec<Event> = truth.lines().filter_map(record).collect();
    expect![[r#"
        mutex: 557 begins, 480 right, 0 of them exact; 0 exact and wrong
        read by: 1 begins, 1 right, 0 of them exact; 0 exact and wrong
        rwsem-read: 4 begins, 4 right, 0 of them exact; 0 exact and wrong
        rwsem-write: 1005 begins, 783 right, 0 of them exact; 0 exact and wrong
    "#]]
    .assert_eq(&score(&recording, &records));
    recording.events.extend(&records);
    recording.events.sort_by_key(|e| (e.at, e.cpu));
    expect![[r#"
        mutex: 557 begins, 556 right, 556 of them exact; 0 exact and wrong
        read by: 1 begins, 1 right, 0 of them exact; 0 exact and wrong
        rwsem-read: 4 begins, 4 right, 4 of them exact; 0 exact and wrong
        rwsem-write: 1005 begins, 1005 right, 1005 of them exact; 0 exact and wrong
    "#]]
    .assert_eq(&score(&recording, &records));
    expect![[r#"
        contradiction switch-from-not-running x16
        contradiction event-from-not-running x29
        gap end-without-begin x1
        gap owner-without-begin x13
        guess owner-inferred x1041
        info woken-while-running x63
        info contention-in-interrupt x262
    "#]]
    .assert_eq(&listing::notes(&assemble(&recording, None)));
}

/// The same of a recording that `resched record` made, among the fixtures.
#[test]
fn owners_of_a_busy_pipe_are_concluded_without_their_records() {
    let bytes = fixtures::bytes("recorded/pipe-owner.dat");
    let mut recording = trace_formats::read(&bytes).expect("readable");
    let is_record = |e: &Event| matches!(e.kind, SchedEvent::LockOwner { .. });
    let records: Vec<Event> = recording.events.iter().copied().filter(is_record).collect();
    expect![[r#"
        mutex: 2033 begins, 2024 right, 2023 of them exact; 8 exact and wrong
        read by: 1 begins, 1 right, 0 of them exact; 0 exact and wrong
        rwsem-read: 4 begins, 4 right, 4 of them exact; 0 exact and wrong
    "#]]
    .assert_eq(&score(&recording, &records));
    recording.events.retain(|e| !is_record(e));
    expect![[r#"
        mutex: 2033 begins, 1972 right, 0 of them exact; 0 exact and wrong
        read by: 1 begins, 0 right, 0 of them exact; 0 exact and wrong
        rwsem-read: 4 begins, 3 right, 0 of them exact; 0 exact and wrong
    "#]]
    .assert_eq(&score(&recording, &records));
}
