//! Every form of a scenario once, and every message it can be refused with.

use super::*;
use crate::{Nanos, Timestamp};
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
            "at line 2: `lokc` is unknown; attributes are fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at, asleep, forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded; steps are run, lock, lock-interruptible, trylock, trylock-failed, unlock, sleep, sleep-until, sleep-every, wait, wake, signal, fork, set, yield, exit, round, round-once, may-end, rounds-over, ..."
        ],
    );
    check(
        "L run 1 4",
        expect![
            "at line 1: `4` is out of place; attributes are fair, batch, idle, nice, fifo, rr, dl, stop, params, slice, cpu, allowed, at, asleep, forked, in, holds, vruntime, deadline, lag, comm, tid, prio, parent, ended, until, as-recorded; steps are run, lock, lock-interruptible, trylock, trylock-failed, unlock, sleep, sleep-until, sleep-every, wait, wake, signal, fork, set, yield, exit, round, round-once, may-end, rounds-over, ..."
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
