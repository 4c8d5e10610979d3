//! Tables of lock waits, locks and inversions.

use super::columns::Columns;
use crate::decompose::{Decomposition, Piece, decompose_all};
use crate::frame::{to_frame, to_table};
use crate::part::Part;
use arrow::array::RecordBatch;
use model::{Lock, LockId, LockKind, LockWait, Nanos, OwnerSpan, Ownership, Trace};
use polars::frame::DataFrame;
use polars::prelude::{DataType, PolarsError, SortMultipleOptions};
use std::collections::BTreeMap;

pub(super) fn lock_waits(trace: &Trace) -> RecordBatch {
    let decomposed = decompose_all(trace);
    let waits = || trace.waits.iter();
    let owner = |w: &LockWait| w.owner_at_begin();
    let mut columns = Columns::default()
        .u64("begin_ns", waits().map(|w| w.begin.0))
        .maybe_u64("end_ns", waits().map(|w| w.end.map(|e| e.0)))
        .i32("waiter_tid", waits().map(|w| trace.task(w.waiter).info.tid.0))
        .text("waiter_comm", waits().map(|w| trace.name(w.waiter)))
        .text("lock", waits().map(|w| w.lock.to_string()))
        .text("lock_kind", waits().map(|w| w.kind.name()))
        .maybe_i32("ret", waits().map(|w| w.ret))
        .maybe_i32("owner_tid", waits().map(|w| owner(w).map(|t| trace.task(t).info.tid.0)))
        .maybe_text("owner_comm", waits().map(|w| owner(w).map(|t| trace.name(t))))
        .text("owner_basis", waits().map(|w| w.owner_basis().name()))
        .u32(
            "owner_permille",
            waits().map(|w| u32::from(w.ownership.first().map_or(0, |s| s.permille))),
        );
    for part in Part::ALL {
        let spans = decomposed.iter().map(|d| d.parts.get(part).0);
        columns = columns.u64(&format!("{}_ns", part.name()), spans);
    }
    columns
        .u64("wait_ns", waits().map(|w| w.until.since(w.begin).0))
        .u64("handoff_inversion_ns", decomposed.iter().map(|d| d.handoff_inversion().0))
        .u32("chain_depth", decomposed.iter().map(|d| d.chain_depth))
        .flag("lossy", waits().map(|w| trace.lossy(w.begin, w.until)))
        .finish()
}

pub(super) fn locks(trace: &Trace) -> RecordBatch {
    #[derive(Default)]
    struct Sum {
        waits: u64,
        total: Nanos,
        max: Nanos,
        inversion: Nanos,
    }
    let mut sums: BTreeMap<LockId, Sum> = BTreeMap::new();
    for (wait, d) in trace.waits.iter().zip(decompose_all(trace)) {
        let sum = sums.entry(wait.lock).or_default();
        let span = wait.until.since(wait.begin);
        sum.waits += 1;
        sum.total += span;
        sum.max = sum.max.max(span);
        sum.inversion += d.parts.inversion();
    }
    let kind = |lock: &LockId| trace.locks.get(lock).map_or("unknown", |l| l.kind.name());
    Columns::default()
        .text("lock", sums.keys().map(ToString::to_string))
        .text("lock_kind", sums.keys().map(kind))
        .u64("waits", sums.values().map(|s| s.waits))
        .u64("wait_total_ns", sums.values().map(|s| s.total.0))
        .u64("wait_max_ns", sums.values().map(|s| s.max.0))
        .u64("inversion_ns", sums.values().map(|s| s.inversion.0))
        .finish()
}

pub(super) fn owners(trace: &Trace) -> RecordBatch {
    let of = |(id, lock): (&'_ LockId, &'_ Lock)| {
        let (id, kind) = (*id, lock.kind);
        lock.ownership.clone().into_iter().map(move |span| (id, kind, span))
    };
    let rows: Vec<(LockId, LockKind, OwnerSpan)> = trace.locks.iter().flat_map(of).collect();
    let owner = |span: &OwnerSpan| match span.owner {
        Ownership::Held(task) => Some(task),
        Ownership::Free | Ownership::Unknown => None,
    };
    let state = |span: &OwnerSpan| match span.owner {
        Ownership::Held(_) => "held",
        Ownership::Free => "free",
        Ownership::Unknown => "unknown",
    };
    Columns::default()
        .text("lock", rows.iter().map(|(id, ..)| id.to_string()))
        .text("lock_kind", rows.iter().map(|(_, kind, _)| kind.name()))
        .u64("begin_ns", rows.iter().map(|(.., s)| s.from.0))
        .u64("end_ns", rows.iter().map(|(.., s)| s.to.0))
        .text("state", rows.iter().map(|(.., s)| state(s)))
        .maybe_i32(
            "owner_tid",
            rows.iter().map(|(.., s)| owner(s).map(|t| trace.task(t).info.tid.0)),
        )
        .maybe_text("owner_comm", rows.iter().map(|(.., s)| owner(s).map(|t| trace.name(t))))
        .text("basis", rows.iter().map(|(.., s)| s.basis.name()))
        .u32("permille", rows.iter().map(|(.., s)| u32::from(s.permille)))
        .finish()
}

pub(super) fn inversions(trace: &Trace) -> RecordBatch {
    let decomposed = decompose_all(trace);
    let of = |(wait, d): (usize, &Decomposition)| {
        let pieces: Vec<Piece> =
            d.pieces.iter().filter(|p| p.part == Part::BehindLessUrgent).copied().collect();
        pieces.into_iter().map(move |piece| (wait, piece))
    };
    let rows: Vec<(usize, Piece)> = decomposed.iter().enumerate().flat_map(of).collect();
    let wait = |row: &(usize, Piece)| &trace.waits[row.0];
    let name = |task: Option<model::TaskId>| task.map(|t| trace.name(t));
    let tid = |task: Option<model::TaskId>| task.map(|t| trace.task(t).info.tid.0);
    Columns::default()
        .u64("begin_ns", rows.iter().map(|r| r.1.from.0))
        .u64("end_ns", rows.iter().map(|r| r.1.to.0))
        .u64("inversion_ns", rows.iter().map(|r| r.1.to.since(r.1.from).0))
        .i32("waiter_tid", rows.iter().map(|r| trace.task(wait(r).waiter).info.tid.0))
        .text("waiter_comm", rows.iter().map(|r| trace.name(wait(r).waiter)))
        .text("lock", rows.iter().map(|r| wait(r).lock.to_string()))
        .text("lock_kind", rows.iter().map(|r| wait(r).kind.name()))
        .flag("curable", rows.iter().map(|r| wait(r).kind.is_proxied()))
        .maybe_i32("owner_tid", rows.iter().map(|r| tid(r.1.owner)))
        .maybe_text("owner_comm", rows.iter().map(|r| name(r.1.owner)))
        .maybe_i32("instead_tid", rows.iter().map(|r| tid(r.1.instead)))
        .maybe_text("instead_comm", rows.iter().map(|r| name(r.1.instead)))
        .u32("chain_depth", rows.iter().map(|r| r.1.depth))
        .u64("wait_begin_ns", rows.iter().map(|r| wait(r).begin.0))
        .finish()
}

/// Inversions summed up by waiter, owner and who ran instead, the longest first.
pub(super) fn inversion_summary(trace: &Trace) -> RecordBatch {
    let table = to_frame(&inversions(trace)).and_then(|frame| to_table(&summed_up(&frame)?));
    table.expect("columns of our own table have the names and types asked for")
}

#[expect(deprecated, reason = "the lazy form would bring a quarter more to compile")]
fn summed_up(inversions: &DataFrame) -> Result<DataFrame, PolarsError> {
    const KEYS: [&str; 4] = ["waiter_comm", "lock_kind", "owner_comm", "instead_comm"];
    let groups = inversions.group_by(KEYS)?.select(["inversion_ns"]);
    let mut summed = groups.count()?;
    summed.rename("inversion_ns_count", "stretches".into())?;
    summed.try_apply("stretches", |count| count.cast(&DataType::UInt64))?;
    for (aggregated, from, to) in [
        (groups.sum()?, "inversion_ns_sum", "inversion_ns"),
        (groups.max()?, "inversion_ns_max", "longest_ns"),
    ] {
        let mut column = aggregated.column(from)?.clone();
        column.rename(to.into());
        summed.with_column(column)?;
    }
    let by = ["inversion_ns"].into_iter().chain(KEYS);
    let longest_first = [true, false, false, false, false];
    let order = SortMultipleOptions::default().with_order_descending_multi(longest_first);
    summed.sort(by, order)
}
