//! Tables of one small listing, as CSV, JSON and Parquet.

use crate::shorthand;
use analysis::{TableName, rows, table, to_frame, to_table, write_csv, write_parquet};
use expect_test::{Expect, expect};
use model::{Trace, assemble};

/// high waits twice for low's mutex, first behind med; the second wait is cut off.
const LISTING: &str = "
    0 0 high@100 switch high@100 S low@139
    2 0 low@139 lock m
    10 0 low@139 | waking high@100 0
    11 0 low@139 | wakeup high@100 0
    12 0 low@139 switch low@139 R high@100
    20 0 high@100 begin m 33
    25 0 high@100 begin m 32
    30 0 high@100 switch high@100 D med
    80 0 med switch med S low@139
    90 0 low@139 unlock m
    90 0 low@139 release m
    90 0 low@139 waking high@100 0
    91 0 low@139 wakeup high@100 0
    92 0 low@139 switch low@139 R high@100
    95 0 high@100 end m 0
    98 0 high@100 unlock m
    99 0 high@100 switch high@100 S low@139
    110 0 low@139 lock m
    112 0 low@139 waking high@100 0
    113 0 low@139 wakeup high@100 0
    114 0 low@139 switch low@139 R high@100
    115 0 high@100 begin m 33
    116 0 high@100 begin m 32
    lost 0 119 120
    120 0 high@100 switch high@100 D low@139
    130 0 low@139 migrate med 0 1";

fn trace() -> Trace {
    assemble(&shorthand::recording(LISTING), None)
}

fn check(name: TableName, expect: Expect) {
    let mut csv = Vec::new();
    write_csv(&table(&trace(), name).expect("the events are there"), &mut csv).expect("written");
    expect.assert_eq(&String::from_utf8(csv).expect("text"));
}

#[test]
fn lock_waits() {
    check(
        TableName::LockWaits,
        expect![[r#"
            begin_ns,end_ns,waiter_tid,waiter_comm,lock,lock_kind,ret,owner_tid,owner_comm,owner_basis,owner_permille,owner_running_ns,owner_runnable_behind_less_urgent_ns,owner_runnable_behind_equal_or_more_urgent_ns,owner_blocked_ns,owner_asleep_ns,owner_throttled_ns,released_not_running_ns,spinning_ns,unknown_ns,wait_ns,handoff_inversion_ns,chain_depth,lossy
            20000,95000,1,high@100,0x1,mutex,0,2,low@139,exact,1000,10000,50000,0,0,0,0,2000,13000,0,75000,2000,1,false
            115000,,1,high@100,0x1,mutex,,2,low@139,exact,1000,10000,0,0,0,0,0,0,4000,1000,15000,0,1,true
        "#]],
    );
}

#[test]
fn locks() {
    check(
        TableName::Locks,
        expect![[r#"
        lock,lock_kind,waits,wait_total_ns,wait_max_ns,inversion_ns
        0x1,mutex,2,90000,75000,50000
    "#]],
    );
}

#[test]
fn inversions() {
    check(
        TableName::Inversions,
        expect![[r#"
            begin_ns,end_ns,inversion_ns,waiter_tid,waiter_comm,lock,lock_kind,curable,owner_tid,owner_comm,instead_tid,instead_comm,chain_depth,wait_begin_ns
            30000,80000,50000,1,high@100,0x1,mutex,true,2,low@139,3,med,1,20000
        "#]],
    );
}

#[test]
fn inversions_by_who_waits_and_who_runs() {
    check(
        TableName::InversionSummary,
        expect![[r#"
        waiter_comm,lock_kind,owner_comm,instead_comm,stretches,inversion_ns,longest_ns
        high@100,mutex,low@139,med,1,50000,50000
    "#]],
    );
    // Twice med, once hog: med's two stretches are one row, and come first.
    let twice = LISTING.replace(
        "80 0 med switch med S low@139",
        "50 0 med switch med R hog\n60 0 hog switch hog R med\n80 0 med switch med S low@139",
    );
    let trace = assemble(&shorthand::recording(&twice), None);
    let rows = rows(&table(&trace, TableName::InversionSummary).expect("the events are there"));
    let short: Vec<_> = rows
        .iter()
        .map(|r| (&r["instead_comm"], &r["stretches"], &r["inversion_ns"], &r["longest_ns"]))
        .map(|(who, n, sum, max)| format!("{who} {n} {sum} {max}"))
        .collect();
    assert_eq!(short, ["\"med\" 2 40000 20000", "\"hog\" 1 10000 10000"]);
}

#[test]
fn a_table_comes_back_from_its_frame() {
    for name in TableName::ALL {
        let batch = table(&trace(), name).expect("the events are there");
        let back = to_table(&to_frame(&batch).expect("converted")).expect("converted back");
        assert_eq!(rows(&back), rows(&batch), "{name}");
    }
}

#[test]
fn tasks() {
    check(
        TableName::Tasks,
        expect![[r#"
            task,comm,tid,parent_tid,prio,run_ns,runnable_ns,sleep_ns,lock_waits,lock_wait_ns,inversion_ns,switches,migrations,donor_migrations,return_migrations,ran_for_others_ns,donated_ns
            high@100,high@100,1,,100,30000,6000,23000,2,90000,50000,4,0,0,0,0,0
            low@139,low@139,2,,139,49000,81000,0,0,0,0,3,0,0,0,0,0
            med,med,3,,120,50000,30000,50000,0,0,0,1,1,0,0,0,0
        "#]],
    );
}

#[test]
fn responses() {
    check(
        TableName::Responses,
        expect![[r#"
            task,tid,begin_ns,end_ns,response_ns
            high@100,1,10000,99000,89000
        "#]],
    );
    check(
        TableName::ResponseSummary,
        expect![[r#"
            task,count,mean_ns,p50_ns,p95_ns,max_ns
            high@100,1,89000.0,89000,89000,89000
        "#]],
    );
}

#[test]
fn wakeups_and_delays() {
    check(
        TableName::Wakeups,
        expect![[r#"
            waking_ns,task,tid,waker_tid,waker_comm,context,arrival_ns,cpu,first_run_ns,latency_ns,is_first
            10000,high@100,1,,,hardirq,11000,0,12000,2000,false
            90000,high@100,1,2,low@139,task,91000,0,92000,2000,false
            112000,high@100,1,2,low@139,task,113000,0,114000,2000,false
        "#]],
    );
    check(
        TableName::RunDelays,
        expect![[r#"
            begin_ns,end_ns,span_ns,task,tid,state,cpu
            0,30000,30000,med,3,preempted,0
            10000,12000,2000,high@100,1,woken,0
            12000,80000,68000,low@139,2,preempted,0
            90000,92000,2000,high@100,1,woken,0
            92000,99000,7000,low@139,2,preempted,0
            112000,114000,2000,high@100,1,woken,0
            114000,120000,6000,low@139,2,preempted,0
        "#]],
    );
}

#[test]
fn migrations_notes_and_losses() {
    check(
        TableName::Migrations,
        expect![[r#"
        at_ns,task,tid,from_cpu,to_cpu,kind,basis
        130000,med,3,0,1,ordinary,exact
    "#]],
    );
    check(
        TableName::Notes,
        expect![[r#"
        severity,kind,count,first_ns,text
        gap,lost-events,1,119000,events were lost while recording
        gap,wait-cut-off,1,115000,a lock wait was still going on at the end of the trace
    "#]],
    );
    check(
        TableName::Losses,
        expect![[r#"
        cpu,events,after_ns,before_ns
        0,,119000,120000
    "#]],
    );
}

#[test]
fn an_absent_value_is_null_in_rows() {
    let batch = table(&trace(), TableName::LockWaits).expect("the events are there");
    let rows = rows(&batch);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["end_ns"], 95_000);
    assert!(rows[1]["end_ns"].is_null() && rows[1]["lossy"] == true);
}

#[test]
fn every_table_survives_parquet() {
    use polars_io::SerReader;
    for name in TableName::ALL {
        let batch = table(&trace(), name).expect("the events are there");
        let mut bytes = Vec::new();
        write_parquet(&batch, &mut bytes).expect("written");
        let reader = polars_io::prelude::ParquetReader::new(std::io::Cursor::new(bytes));
        let back = reader.finish().expect("readable");
        assert!(back.equals_missing(&to_frame(&batch).expect("converted")), "{name}");
        assert_eq!(back.height(), batch.num_rows(), "{name}");
    }
}

#[test]
fn names_of_tables_are_read_back() {
    for name in TableName::ALL {
        assert_eq!(name.name().parse(), Ok(name));
    }
    let unknown = "lockwaits".parse::<TableName>().expect_err("no such table");
    expect!["there is no table lockwaits; there are lock_waits, responses, response_summary, tasks, locks, owners, inversions, inversion_summary, migrations, wakeups, run_delays, intervals, donations, notes, losses"].assert_eq(&unknown.to_string());
}
