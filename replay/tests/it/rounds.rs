//! Closed loops go on as long as there is time, and stop when their date has come.

use model::demand::{Op, Rounds, SleepEnd};
use model::{Demand, Nanos, PrevState, SchedEvent, Timestamp};
use replay::{Options, Policy};

const MS: u64 = 1_000_000;

/// One task, four recorded rounds of 1 ms work and 1 ms sleep, in a recording of 20 ms.
fn looping(until: Option<u64>) -> Demand {
    let script = "cpus 1\nA  fair  at 0  run 1\nB  fair  at 20  run 1\n";
    let script = trace_formats::script::parse(script).expect("a script");
    let mut demand = Demand::from_script(&script);
    let until = until.map(|ms| Timestamp(demand.start.0 + ms * MS));
    demand.end = Timestamp(demand.start.0 + 20 * MS);
    let sleep =
        Op::Sleep { until: SleepEnd::After(Nanos(MS)), state: PrevState::Interruptible, on: None };
    let task = &mut demand.tasks[0];
    task.ops = std::iter::repeat_n([Op::Compute(Nanos(MS)), sleep], 4).flatten().collect();
    task.ops.push(Op::Exit);
    task.rounds = Some(Rounds {
        seams: vec![2, 4, 6, 8],
        repeatable: vec![2..4, 4..6, 6..8],
        own_from: 0,
        until,
    });
    demand
}

/// How often A goes to sleep, and whether it exits, when each of its rounds takes 2 ms.
fn rounds_of(demand: &Demand) -> (usize, bool) {
    let events = replay::replay(demand, Policy::None, &Options::default()).recording.events;
    let tid = demand.tasks[0].info.tid;
    let left = |state: PrevState| {
        let is_one = |kind: &SchedEvent| {
            matches!(kind, SchedEvent::Switch { prev, prev_state, .. }
                if *prev == tid && *prev_state == state)
        };
        events.iter().filter(|e| is_one(&e.kind)).count()
    };
    (left(PrevState::Interruptible), left(PrevState::Dead) == 1)
}

#[test]
fn without_a_date_a_loop_fills_the_recording() {
    assert_eq!(rounds_of(&looping(None)), (10, false));
}

#[test]
fn a_date_ends_a_loop_early_and_late() {
    assert_eq!(rounds_of(&looping(Some(13))), (7, true));
    assert_eq!(rounds_of(&looping(Some(3))), (2, true));
}

/// What others wait for is not left out, however late it is.
#[test]
fn a_date_does_not_cut_off_what_involves_others() {
    let mut demand = looping(Some(3));
    let b = model::TaskId(1);
    let task = &mut demand.tasks[0];
    task.ops[6] = Op::Wake { target: b };
    let rounds = task.rounds.as_mut().expect("it loops");
    rounds.repeatable.pop();
    rounds.own_from = 7;
    // The fourth recorded round wakes B; it is run before the loop ends.
    assert_eq!(rounds_of(&demand), (4, true));
}

/// What is noted of a demand, whatever the policy; it ends, that is.
fn notes_of(demand: &Demand) -> Vec<String> {
    let schedule = replay::replay(demand, Policy::Pe73, &Options::default());
    let again = replay::replay(demand, Policy::Pe73, &Options::default());
    assert_eq!(schedule.recording.events, again.recording.events);
    schedule.notes.into_iter().map(|note| note.text).collect()
}

#[test]
fn rounds_without_time_end_the_loop() {
    let mut demand = looping(None);
    let task = &mut demand.tasks[0];
    for op in &mut task.ops {
        match op {
            Op::Compute(span) | Op::Sleep { until: SleepEnd::After(span), .. } => *span = Nanos(0),
            _ => {}
        }
    }
    assert_eq!(notes_of(&demand), ["the loop of task 1 ends: its rounds take no time"]);
    task_of(&mut demand).repeatable.clear();
    assert_eq!(notes_of(&demand), ["the loop of task 1 ends: none of its rounds can be repeated"]);
}

fn task_of(demand: &mut Demand) -> &mut Rounds {
    demand.tasks[0].rounds.as_mut().expect("a loop")
}

#[test]
fn rounds_of_a_nanosecond_are_not_repeated_for_hours() {
    let mut demand = looping(None);
    demand.tasks[0].ops[2..6].fill(Op::Yield);
    demand.tasks[0].ops[4] = Op::Compute(Nanos(1));
    demand.end = Timestamp(demand.start.0 + 3_600_000 * MS);
    let why = "it has gone round a thousand times as often as in the recording";
    assert_eq!(notes_of(&demand), [format!("the loop of task 1 ends: {why}")]);
}

/// A source of programs that never comes to an end, nor to anything that takes time.
#[derive(Debug)]
struct Endless(Vec<Op>);

impl replay::Programs for Endless {
    fn read(&mut self, _: model::TaskId, _: usize, ops: &mut Vec<Op>) {
        ops.extend(&self.0);
    }
}

#[test]
fn programs_without_time_are_given_up() {
    let mut demand = looping(None);
    demand.tasks[0].rounds = None;
    let [a, b] = [0, 1].map(model::TaskId);
    let wait = Op::Wait { state: PrevState::Interruptible, on: None };
    for ops in [vec![Op::Yield], vec![Op::Wake { target: a }, Op::Wake { target: b }, wait]] {
        let mut programs = Endless(ops);
        let options = Options::default();
        let mut events = 0usize;
        let sink = &mut |_| events += 1;
        let totals = replay::replay_stream(&demand, &mut programs, Policy::None, &options, sink);
        let notes: Vec<String> = totals.notes.into_iter().map(|n| n.text).collect();
        let given_up = |n: i32| format!("the program of task {n} ends: its steps take no time");
        assert_eq!(notes, [given_up(1), given_up(2)]);
        assert!(events > 2);
    }
}
