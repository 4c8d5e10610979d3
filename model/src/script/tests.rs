//! Scenarios that become demands, and demands that come back from their text.

use crate::demand::{Arrival, Demand, LockIndex, Op};
use crate::{CpuId, CpuSet, Nanos, TaskId, Timestamp};
use trace_formats::script;

fn demand(text: &str) -> Demand {
    Demand::from_script(&script::parse(text).expect("valid"))
}

#[test]
fn a_program_ends_with_one_exit() {
    let demand = demand("A at 1 lock m run 2 unlock m\nB run 1 exit");
    let m = LockIndex(0);
    let ops = [Op::Lock(m), Op::Compute(Nanos(2_000_000)), Op::Unlock(m), Op::Exit];
    assert_eq!(demand.tasks[0].ops, ops);
    assert_eq!(demand.tasks[0].arrival, Arrival::At(Timestamp(1_000_000), CpuId(0)));
    assert_eq!(demand.tasks[1].ops, [Op::Compute(Nanos(1_000_000)), Op::Exit]);
    assert_eq!(demand.end, Timestamp(4_000_000));
    assert_eq!(demand.names.text(demand.tasks[1].info.comm), "B");
}

#[test]
fn classes_keep_their_numbers() {
    let demand = demand(
        "cpus 2\nA fifo 50 cpu 1 wait\nB dl 2 9 10 wake A\nC nice -5 slice 0.5 lag 1 asleep wait",
    );
    let prios: Vec<i32> = demand.tasks.iter().map(|t| t.sched.kernel_prio()).collect();
    assert_eq!(prios, [49, -1, 115]);
    assert_eq!(demand.tasks[0].affinity, Some(CpuSet::of(&[CpuId(1)])));
    assert_eq!(demand.tasks[1].ops[0], Op::Wake { target: TaskId(0) });
    let c = &demand.tasks[2];
    assert_eq!((c.sched.runtime, c.arrival), (Nanos(500_000), Arrival::Asleep(CpuId(0))));
    assert_eq!(c.initial_fair.map(|f| f.lag_ns), Some(1_000_000));
}
