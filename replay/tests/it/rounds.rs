//! Closed loops go on as long as there is time, and stop when their date has come.

use model::demand::Op;
use model::{Demand, PrevState, SchedEvent};
use replay::{Options, Policy};

/// One task, four recorded rounds of 1 ms work and 1 ms sleep, in a recording of 20 ms.
fn looping(until: Option<u64>) -> Demand {
    let until = until.map_or(String::new(), |ms| format!("until {ms}"));
    let round = "round  run 1  sleep 1";
    let script = format!(
        "end 20\nA  fair  {until}  run 1  sleep 1  {round}  {round}  {round}  rounds-over\n\
         B  fair  at 20  run 1\n"
    );
    Demand::from_script(&trace_formats::script::parse(&script).expect("a script"))
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
