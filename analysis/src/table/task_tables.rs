//! Tables of tasks and of what they did.

use super::columns::Columns;
use crate::distribution::Distribution;
use crate::responses::by_name;
use crate::summary::summary;
use arrow::array::RecordBatch;
use model::{CpuId, Interval, Queued, TaskId, TaskState, Trace};

pub(super) fn responses(trace: &Trace) -> RecordBatch {
    let rows = || trace.responses.iter();
    Columns::default()
        .text("task", rows().map(|r| trace.name(r.task)))
        .i32("tid", rows().map(|r| r.tid.0))
        .u64("begin_ns", rows().map(|r| r.begin.0))
        .u64("end_ns", rows().map(|r| r.end.0))
        .u64("response_ns", rows().map(|r| r.end.since(r.begin).0))
        .finish()
}

pub(super) fn response_summary(trace: &Trace) -> RecordBatch {
    let rows = by_name(trace);
    let of = |of: fn(&Distribution) -> u64| rows.values().map(of);
    Columns::default()
        .text("task", rows.keys())
        .u64("count", of(|d| d.count))
        .f64("mean_ns", rows.values().map(|d| d.mean_ns))
        .u64("p50_ns", of(|d| d.p50_ns))
        .u64("p95_ns", of(|d| d.p95_ns))
        .u64("max_ns", of(|d| d.max_ns))
        .finish()
}

pub(super) fn tasks(trace: &Trace) -> RecordBatch {
    let summary = summary(trace);
    let rows = || summary.tasks.iter();
    let parent = |t: TaskId| trace.task(t).info.parent.map(|p| trace.task(p).info.tid.0);
    Columns::default()
        .text("task", rows().map(|t| t.key.to_string()))
        .text("comm", rows().map(|t| t.key.name.as_str()))
        .i32("tid", rows().map(|t| t.tid))
        .maybe_i32("parent_tid", rows().map(|t| parent(t.task)))
        .i32("prio", rows().map(|t| trace.task(t.task).sched.kernel_prio()))
        .u64("run_ns", rows().map(|t| t.run_ns))
        .u64("runnable_ns", rows().map(|t| t.runnable_ns))
        .u64("sleep_ns", rows().map(|t| t.sleep_ns))
        .u64("lock_waits", rows().map(|t| t.waits.length.count))
        .u64("lock_wait_ns", rows().map(|t| t.waits.length.total_ns))
        .u64("inversion_ns", rows().map(|t| t.waits.parts.inversion().0))
        .u64("switches", rows().map(|t| t.switches))
        .u64("migrations", rows().map(|t| t.migrations.ordinary))
        .u64("donor_migrations", rows().map(|t| t.migrations.donor))
        .u64("return_migrations", rows().map(|t| t.migrations.returned))
        .u64("ran_for_others_ns", rows().map(|t| t.ran_for_others_ns))
        .u64("donated_ns", rows().map(|t| t.donated_ns))
        .finish()
}

fn rows_of(trace: &Trace, which: fn(TaskState) -> bool) -> Vec<(TaskId, Interval)> {
    let mut rows: Vec<(TaskId, Interval)> = Vec::new();
    for (id, task) in trace.tasks() {
        rows.extend(task.intervals.iter().filter(|i| which(i.state)).map(|i| (id, *i)));
    }
    rows.sort_by_key(|(id, i)| (i.start, *id));
    rows
}

fn cpu(state: TaskState) -> Option<u32> {
    match state {
        TaskState::Running(CpuId(cpu)) | TaskState::Runnable(Some(CpuId(cpu)), _) => Some(cpu),
        _ => None,
    }
}

fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Unknown => "unknown",
        TaskState::Running(_) => "running",
        TaskState::Runnable(_, Queued::Woken) => "woken",
        TaskState::Runnable(_, Queued::Preempted) => "preempted",
        TaskState::Sleeping(_) => "sleeping",
        TaskState::Blocked(_) => "blocked",
        TaskState::Exited => "exited",
    }
}

pub(super) fn run_delays(trace: &Trace) -> RecordBatch {
    let rows = rows_of(trace, |s| matches!(s, TaskState::Runnable(..)));
    delays_and_states(trace, &rows).0.finish()
}

pub(super) fn intervals(trace: &Trace) -> RecordBatch {
    let rows = rows_of(trace, |_| true);
    let (columns, rows) = delays_and_states(trace, &rows);
    let lock = |s: TaskState| {
        if let TaskState::Blocked(lock) = s { Some(lock.to_string()) } else { None }
    };
    columns.maybe_text("lock", rows.iter().map(|(_, i)| lock(i.state))).finish()
}

fn delays_and_states<'r>(
    trace: &Trace,
    rows: &'r [(TaskId, Interval)],
) -> (Columns, &'r [(TaskId, Interval)]) {
    let columns = Columns::default()
        .u64("begin_ns", rows.iter().map(|(_, i)| i.start.0))
        .u64("end_ns", rows.iter().map(|(_, i)| i.end.0))
        .u64("span_ns", rows.iter().map(|(_, i)| i.end.since(i.start).0))
        .text("task", rows.iter().map(|(id, _)| trace.name(*id)))
        .i32("tid", rows.iter().map(|(id, _)| trace.task(*id).info.tid.0))
        .text("state", rows.iter().map(|(_, i)| state_name(i.state)))
        .maybe_u32("cpu", rows.iter().map(|(_, i)| cpu(i.state)));
    (columns, rows)
}
