//! Every form of a scenario once, and every message it can be refused with.

use super::*;
use crate::{LockFlags, LockId, Nanos, PrevState, SchedPolicy, Tid, Timestamp};
use expect_test::{Expect, expect};

const CLASSIC: &str = "\
# Classic inversion.
cpus 1
L  fair     at 0  lock m  run 4  unlock m
M  fifo 30  at 1  run 10
H  fifo 50  at 2  run 1  lock m
   run 1  unlock m   # continued

-- expect none
CPU0 L[0-1] M[1-2] H[2-3] M[3-12] L[12-15] H[15-16]
acq H m 15

-- expect pi, pe-7.3
CPU0 L[0-1] M[1-2] H[2-3] L(H)[3-6] H[6-7] M[7-16]
charged L 1 H 5 M 10
moves H
";

#[test]
fn a_scenario_is_machine_tasks_and_expectations() {
    let script = parse(CLASSIC).expect("valid");
    assert_eq!(script.machine.base_slice, Nanos(700_000));
    let names: Vec<&str> = script.locks.iter().map(|lock| lock.name.as_str()).collect();
    assert_eq!(names, ["m"]);
    let h = &script.tasks[2];
    assert_eq!((h.name.as_str(), h.class), ("H", Class::Fifo(50)));
    assert_eq!(h.start, Start::At(Timestamp(2_000_000)));
    let ms = |n: u64| Nanos(n * 1_000_000);
    let steps = [Step::Run(ms(1)), Step::Lock(0), Step::Run(ms(1)), Step::Unlock(0)];
    assert_eq!(h.steps, steps);
    let [none, rest] = &script.expectations[..] else { panic!("two blocks") };
    assert_eq!(none.policies, ["none"]);
    assert_eq!(none.first_line, 8);
    assert_eq!(none.lines[1], (Ask::Acquired(2, 0), "acq H m 15".to_owned()));
    assert_eq!(rest.policies, ["pi", "pe-7.3"]);
    let asks: Vec<&Ask> = rest.lines.iter().map(|(ask, _)| ask).collect();
    let charged = Ask::Charged(vec![0, 2, 1]);
    assert_eq!(asks, [&Ask::Timeline(CpuId(0)), &charged, &Ask::Moves(2)]);
}

#[test]
fn every_setting_and_attribute_is_read() {
    let script = parse(
        "cpus 2\nhz 250\ntick-phase 0.5\nhrtick off\nslice 3\npreemption lazy\nend 20\n\
         not yet: no deadline class\n\
         A idle nice 3 slice 0.5 cpu 1 allowed 0,1 asleep lag -0.5 wait yield wake B exit\n\
         B dl 2 10 20 at 1.5 holds n vruntime 1 deadline 3 trylock m unlock n unlock m \
         sleep 1 sleep-until 9",
    )
    .expect("valid");
    let ms = |n: u64| Nanos(n * 1_000_000);
    let machine = Machine {
        cpus: CpuList::first(2),
        hz: 250,
        tick_phase: Nanos(500_000),
        hrtick: false,
        base_slice: ms(3),
        preemption: Preemption::Lazy,
        end: Some(Timestamp(20_000_000)),
        ..Machine::default()
    };
    assert_eq!(script.machine, machine);
    assert_eq!(script.not_yet.as_deref(), Some("no deadline class"));
    let [a, b] = &script.tasks[..] else { panic!("two tasks") };
    assert_eq!((a.class, a.slice), (Class::Idle(3), Some(Nanos(500_000))));
    assert_eq!((a.cpu, a.allowed.clone()), (CpuId(1), Allowed::Listed(CpuList::first(2))));
    assert_eq!((a.start, a.fair.map(|f| f.lag_ns)), (Start::Asleep, Some(-500_000)));
    assert_eq!(a.steps, [Step::Wait(Asleep::default()), Step::Yield, Step::Wake(1), Step::Exit]);
    assert_eq!(b.class, Class::Deadline { budget: ms(2), deadline: ms(10), period: ms(20) });
    let place = FairPlace { vruntime_ns: 1_000_000, deadline_ns: 3_000_000, lag_ns: 0 };
    assert_eq!((b.fair, b.holds.clone()), (Some(place), vec![0]));
    let asleep = Asleep::default();
    let sleeps = [Step::Sleep(ms(1), asleep), Step::SleepUntil(Timestamp(9_000_000), asleep)];
    assert_eq!(b.steps[3..], sleeps);
}

#[test]
fn the_base_slice_follows_the_number_of_cpus() {
    for (cpus, us) in [(1, 700), (2, 1400), (3, 1400), (4, 2100), (7, 2100), (8, 2800), (16, 2800)]
    {
        let script = parse(&format!("cpus {cpus}")).expect("valid");
        assert_eq!(script.machine.base_slice, Nanos(us * 1000), "{cpus} CPUs");
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&parse(text).expect_err("invalid").to_string());
}

#[test]
fn unknown_words_are_named_with_their_line() {
    check(
        "cpus 1\nL fair lokc m",
        expect![
            "at line 2: `lokc` is unknown; attributes are fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at-first, at, asleep, forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded; steps are run, busy-wait, lock, lock-interruptible, trylock, trylock-failed, unlock, put, take, contend, contended, keep-affinity, sleep, sleep-until, sleep-ticks, sleep-every, wait, wake, signal, fork, set, yield, exit, round, round-once, may-end, rounds-over, ..."
        ],
    );
    check(
        "L run 1 4",
        expect![
            "at line 1: `4` is out of place; attributes are fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at-first, at, asleep, forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded; steps are run, busy-wait, lock, lock-interruptible, trylock, trylock-failed, unlock, put, take, contend, contended, keep-affinity, sleep, sleep-until, sleep-ticks, sleep-every, wait, wake, signal, fork, set, yield, exit, round, round-once, may-end, rounds-over, ..."
        ],
    );
    check("hrtick maybe", expect!["at line 1: `hrtick` is on or off, not `maybe`"]);
    check(
        "preemption some",
        expect!["at line 1: `some` is no preemption model; there are full, lazy, voluntary, none"],
    );
    check("not now", expect!["at line 1: `not` begins `not yet: REASON`, and nothing else"]);
    check("cpus 1 2", expect!["at line 1: `2` is one word too many"]);
    check(
        "L@1 run 1",
        expect!["at line 1: `L@1`: a name is of letters, digits and _.-/: or stands in quotes"],
    );
    check("A wake B", expect!["at line 1: no task is `B`"]);
    check("A put p 1", expect!["at line 1: there is no buffer `p`: `pipe p` or `socket p`"]);
    check("pipe p\nsocket p", expect!["at line 2: there is a buffer `p` already"]);
    check(
        "pipe p 16 bytes",
        expect!["at line 1: a pipe has `pages`, `packets` or `messages`, not `bytes`"],
    );
    check("socket s 4 pages", expect!["at line 1: a socket has `bytes`, not `pages`"]);
}

#[test]
fn numbers_must_be_numbers_of_the_right_kind() {
    check("L run", expect!["at line 1: `run` needs a number of milliseconds"]);
    check(
        "L run 1s",
        expect![
            "at line 1: `1s` after `run` is no number of milliseconds with at most six decimals"
        ],
    );
    check("L run -1", expect!["at line 1: `run -1` is negative"]);
    check(
        "L fifo 100 run 1",
        expect!["at line 1: `100` after `fifo` is no whole number from 1 to 99"],
    );
    check("L cpu 1 run 1", expect!["at line 1: `1` is no CPU; there are 1"]);
}

#[test]
fn a_task_must_make_sense() {
    check(
        "L run 1\nL run 2",
        expect!["at line 2: there is a task `L` already; give it another name and `comm L`"],
    );
    check(
        "L run 1 fifo 3",
        expect!["at line 1: `fifo` stands after a step; attributes come first"],
    );
    check("L fifo 3 nice 1", expect!["at line 1: `nice` belongs to fair, batch and idle tasks"]);
    check(
        "L asleep run 1",
        expect![
            "at line 1: task `L` begins asleep; its first step must be sleep, sleep-until, sleep-every or wait; the attribute `as-recorded` takes it as it is"
        ],
    );
    check(
        "L lock m lock m",
        expect![
            "at line 1: task `L` locks `m`, which it holds; the attribute `as-recorded` takes it as it is"
        ],
    );
    check(
        "L unlock m",
        expect![
            "at line 1: task `L` unlocks `m`, which it does not hold; the attribute `as-recorded` takes it as it is"
        ],
    );
    check(
        "cpus 2\nL cpu 0 allowed 1 run 1",
        expect![
            "at line 2: task `L` starts on CPU 0, where it is not allowed; the attribute `as-recorded` takes it as it is"
        ],
    );
    check("  run 1", expect!["at line 1: this line continues a task, but none is above it"]);
}

#[test]
fn an_expectation_must_ask_for_what_there_is() {
    check(
        "L run 1\n-- expected none",
        expect!["at line 2: `--` begins `-- expect POLICY, POLICY`, and nothing else"],
    );
    check("L run 1\n-- expect", expect!["at line 2: `-- expect` names no policy"]);
    check("L run 1\n-- expect none\nacq L m 1", expect!["at line 3: no lock is `m`"]);
    check(
        "L run 1\n-- expect none\nCPU0 L[0-1]\ncharged X 1",
        expect!["at line 4: no task is `X`"],
    );
    check(
        "L run 1\n-- expect none\nCPU1 L[0-1]",
        expect![
            "at line 3: `CPU1` is no line of an expectation; there are CPU0 to CPU0, acq, charged, moves"
        ],
    );
    check(
        "L run 1\n-- expect none\ncharged L 1",
        expect!["at line 2: this expectation has no line `CPU0`"],
    );
    check(
        "L run 1\n-- expect none\nCPU0 L[0-1]\n\nM run 1",
        expect![
            "at line 5: `M run 1` stands after an expectation; tasks and settings come before the first one"
        ],
    );
}

/// Every word of the language that a program writes, as it writes it.
const WRITTEN: &str = r#"cpus 0-2,8
cores 0 1 0 1
per-cache 2
per-node 2
hz 250
tick-phase 0.5
hrtick off
slice 3
preemption voluntary
newidle 1024 ? 0 7
latency wake-busy 0.012 slice-end 0.000001
assumed "HZ=250 # \"so\""
start 39623617.123456
end 18446744073709.551615
group "/a b"
group /a/c in "/a b" weight 50
mutex m0 0xffff888004e39b40
mutex m1 flags spin+mutex+0x40
rwsem rw2 flags read
rwsem s3 flags none
rt-mutex rt4

low  tid 77  cpu 8  allowed all  in /a/c  holds m0  vruntime -1.5  deadline 2  run 4  unlock m0
"kworker/u9:1 \u{1b}"  comm kworker  parent low  ended  idle  nice 3  slice 0.5  prio 99
    allowed 0-1,8  forked  lag 0  until 39623620
    run 1
    round  lock m1  run 1  unlock m1
    round-once  may-end  wake low
    rounds-over  ...
odd  params fifo -30 5 0 0.1 0  prio unknown  allowed none  at 0  as-recorded
    sleep-every 10 39623617.5 D on rw2 as write  sleep 5 I  sleep-until 7 on s3  unlock m0
    trylock-failed m0  fork "kworker/u9:1 \u{1b}"  set fair nice -5 slice 0.1  set fifo 50
    set dl 1 2 3  set params stop 0 1 0 0 0  wait X on rt4  signal odd  yield  exit  exit  ...
"#;

#[test]
fn what_is_written_is_read_as_the_same() {
    let script = parse(WRITTEN).expect("valid");
    assert_eq!(script.to_string(), WRITTEN);
    let [low, worker, odd] = &script.tasks[..] else { panic!("three tasks") };
    assert_eq!((low.tid, low.start), (Some(Tid(77)), Start::At(Timestamp(39_623_617_123_456))));
    assert_eq!((worker.name.as_str(), worker.parent), ("kworker/u9:1 \u{1b}", Some(0)));
    assert_eq!((worker.start, worker.until), (Start::Forked, Some(Timestamp(39_623_620_000_000))));
    let write =
        Asleep { state: PrevState::Uninterruptible, on: Some((2, LockFlags(LockFlags::WRITE))) };
    let (period, phase) = (Nanos(10_000_000), Timestamp(39_623_617_500_000));
    assert_eq!(odd.steps[0], Step::SleepEvery { period, phase, asleep: write });
    let flags: Vec<u32> = script.locks.iter().map(|lock| lock.flags.0).collect();
    assert_eq!(flags, [32, 97, 2, 0, 8]);
    assert_eq!(script.locks[0].address, Some(LockId(0xffff_8880_04e3_9b40)));
    assert_eq!(script.machine.end, Some(Timestamp(u64::MAX)));
    assert_eq!(script.machine.newidle, [Some(1024), None, Some(0), Some(7)]);
    assert_eq!(script.machine.assumed, ["HZ=250 # \"so\""]);
    assert!(matches!(odd.class, Class::Exact(p) if p.policy == SchedPolicy::Fifo && p.nice == -30));
}

#[test]
fn what_a_program_writes_can_be_wrong_too() {
    check("\"a b run 1", expect!["at line 1: a quote is not closed on this line"]);
    check(
        "\"a\\n\" run 1",
        expect![[
            r#"at line 1: `"a\n"` is no name; in quotes, `\"`, `\\` and `\u{HEX}` are the only escapes"#
        ]],
    );
    check("cpus 3-1", expect!["at line 1: `3-1` is no list of CPUs, as in `0-3,8`"]);
    check("cpus 2\ncores 0", expect!["at line 2: `cores` needs 2 numbers, one for each CPU"]);
    check("newidle x", expect!["at line 1: `x` is neither a number nor `?`"]);
    check("start 3\nend 2", expect!["at line 2: the end is before the start"]);
    check("group a in a", expect!["at line 1: a group is in no group of its own"]);
    check("mutex m\nmutex m", expect!["at line 2: lock `m` has a line already"]);
    check("mutex m 0xg", expect!["at line 1: `0xg` is no address of 64 bits"]);
    check("A forked fork B", expect!["at line 1: no task is `B`"]);
    check(
        "mutex m flags big",
        expect![
            "at line 1: `big` is no flag of a lock; there are spin, read, write, rt, percpu, mutex, user and numbers, as in `0x40`"
        ],
    );
    check("A run 1 ... run 2", expect!["at line 1: `run` is one word too many"]);
    check("A sleep-every 0 1", expect!["at line 1: `sleep-every 0` has no next release"]);
}

#[test]
fn a_loop_must_get_on() {
    let way_out = "; the attribute `as-recorded` takes it as it is";
    let fault = |text: &str| {
        let error = parse(text).expect_err("invalid").to_string();
        assert!(parse(&text.replacen("A ", "A as-recorded ", 1)).is_ok(), "{text}");
        error.strip_suffix(way_out).map(str::to_owned)
    };
    for (text, what) in [
        ("A round run 1", "has a loop without an end: `rounds-over`"),
        ("A until 5 run 1", "has a loop without an end: `rounds-over`"),
        ("A run 1 rounds-over", "has a loop without a `round`"),
        ("A round run 1 rounds-over round", "has a place in its loop behind `rounds-over`"),
        ("A round yield rounds-over", "has a `round` without `run` or `sleep`: it would never end"),
        (
            "A round run 1 round yield round-once run 1 rounds-over",
            "has a `round` without `run` or `sleep`: it would never end",
        ),
    ] {
        assert_eq!(fault(text), Some(format!("at line 1: task `A` {what}")), "{text}");
    }
    assert!(parse("A until 9 round run 1 round-once yield rounds-over").is_ok());
}

/// Short text must not fill the memory, and long text is read in one go.
#[test]
fn hostile_text_stays_within_bounds() {
    check("cpus 0-4294967295", expect!["at line 1: 4294967296 CPUs are more than 4096"]);
    check(
        "A allowed 0-1048576 run 1",
        expect!["at line 1: CPU 1048576 is none; numbers end at 1048575"],
    );
    let sets: String = (0..2000).map(|n| format!("T{n} allowed 0-1048575 run 1\n")).collect();
    check(
        &sets,
        expect!["at line 1025: the tasks of this file may run on too many CPUs: `allowed all`"],
    );
    // Quadratic time would be minutes.
    let names = (0..60_000).map(|n| format!("T{n} wake T{n} lock m{n} unlock m{n}\n"));
    assert_eq!(parse(&names.collect::<String>()).map(|s| s.tasks.len()), Ok(60_000));
    let locks: String = (0..60_000).map(|n| format!(" lock m{n}")).collect();
    assert_eq!(parse(&format!("A{locks}")).map(|s| s.locks.len()), Ok(60_000));
    let rounds = "A".to_owned() + &" round run 1".repeat(60_000) + " rounds-over";
    assert_eq!(parse(&rounds).map(|s| s.tasks[0].steps.len()), Ok(120_001));
}
