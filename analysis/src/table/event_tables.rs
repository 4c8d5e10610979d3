//! Tables of migrations, wakeups, donations, notes and losses.

use super::columns::Columns;
use arrow::array::RecordBatch;
use model::{Context, Donation, TaskId, Trace};

pub(super) fn migrations(trace: &Trace) -> RecordBatch {
    let rows = || trace.migrations.iter();
    Columns::default()
        .u64("at_ns", rows().map(|m| m.at.0))
        .text("task", rows().map(|m| trace.name(m.task)))
        .i32("tid", rows().map(|m| trace.task(m.task).info.tid.0))
        .u32("from_cpu", rows().map(|m| m.from.0))
        .u32("to_cpu", rows().map(|m| m.to.0))
        .text("kind", rows().map(|m| m.kind.name()))
        .text("basis", rows().map(|m| m.basis.name()))
        .finish()
}

fn context_name(context: Context) -> &'static str {
    match context {
        Context::Unknown => "unknown",
        Context::Task => "task",
        Context::SoftIrq => "softirq",
        Context::HardIrq => "hardirq",
    }
}

pub(super) fn wakeups(trace: &Trace) -> RecordBatch {
    let rows = || trace.wakeups.iter();
    let tid = |t: TaskId| trace.task(t).info.tid.0;
    Columns::default()
        .u64("waking_ns", rows().map(|w| w.waking.0))
        .text("task", rows().map(|w| trace.name(w.task)))
        .i32("tid", rows().map(|w| tid(w.task)))
        .maybe_i32("waker_tid", rows().map(|w| w.waker_task().map(tid)))
        .maybe_text("waker_comm", rows().map(|w| w.waker_task().map(|t| trace.name(t))))
        .text("context", rows().map(|w| context_name(w.context)))
        .maybe_u64("arrival_ns", rows().map(|w| w.arrival.map(|t| t.0)))
        .maybe_u32("cpu", rows().map(|w| w.cpu.map(|c| c.0)))
        .maybe_u64("first_run_ns", rows().map(|w| w.first_run.map(|t| t.0)))
        .maybe_u64("latency_ns", rows().map(|w| w.latency().map(|n| n.0)))
        .flag("is_first", rows().map(|w| w.is_first))
        .finish()
}

pub(super) fn donations(trace: &Trace) -> RecordBatch {
    let mut list: Vec<&Donation> = trace.cpus.iter().flat_map(|c| &c.donations).collect();
    list.sort_by_key(|d| (d.start, d.cpu));
    let rows = || list.iter();
    Columns::default()
        .u64("begin_ns", rows().map(|d| d.start.0))
        .u64("end_ns", rows().map(|d| d.end.0))
        .u32("cpu", rows().map(|d| d.cpu.0))
        .i32("donor_tid", rows().map(|d| trace.task(d.donor).info.tid.0))
        .text("donor_comm", rows().map(|d| trace.name(d.donor)))
        .i32("running_tid", rows().map(|d| trace.task(d.running).info.tid.0))
        .text("running_comm", rows().map(|d| trace.name(d.running)))
        .finish()
}

pub(super) fn notes(trace: &Trace) -> RecordBatch {
    let rows = || trace.notes.iter();
    Columns::default()
        .text("severity", rows().map(|n| n.severity().name()))
        .text("kind", rows().map(|n| n.kind.name()))
        .u64("count", rows().map(|n| n.count))
        .u64("first_ns", rows().map(|n| n.at.0))
        .text("text", rows().map(|n| n.kind.text()))
        .finish()
}

pub(super) fn losses(trace: &Trace) -> RecordBatch {
    let rows = || trace.lost.iter();
    Columns::default()
        .maybe_u32("cpu", rows().map(|l| l.cpu.map(|c| c.0)))
        .maybe_u64("events", rows().map(|l| l.events))
        .u64("after_ns", rows().map(|l| l.after.0))
        .u64("before_ns", rows().map(|l| l.before.0))
        .finish()
}
