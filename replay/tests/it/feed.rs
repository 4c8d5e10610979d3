//! Where programs come from makes no difference.

use model::{Demand, Op, TaskId};
use replay::{Options, Policy, Programs, replay_stream};

/// A demand's programs, one op at a time.
struct OneByOne<'d>(&'d Demand);

impl Programs for OneByOne<'_> {
    fn read(&mut self, task: TaskId, from: usize, ops: &mut Vec<Op>) {
        ops.extend(self.0.tasks[task.index()].ops.get(from));
    }
}

#[test]
fn programs_that_come_one_op_at_a_time_give_the_same_schedule() {
    for file in fixtures::list("scenario") {
        let script = trace_formats::script::parse(&fixtures::text(&file)).expect("a script");
        let demand = Demand::from_script(&script);
        for policy in [Policy::None, Policy::Pe73, Policy::Pi] {
            let whole = replay::replay(&demand, policy, &Options::default());
            let mut events = Vec::new();
            let mut without = demand.clone();
            without.tasks.iter_mut().for_each(|task| task.ops.clear());
            let mut programs = OneByOne(&demand);
            let options = Options::default();
            let mut sink = |event| events.push(event);
            let totals = replay_stream(&without, &mut programs, policy, &options, &mut sink);
            assert_eq!(events, whole.recording.events, "{file} under {policy}");
            assert_eq!((totals.counts, totals.times), (whole.counts, whole.times), "{file}");
        }
    }
}
