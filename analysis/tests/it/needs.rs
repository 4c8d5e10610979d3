//! A question asked of a trace that lacks its events names them.

use crate::shorthand;
use analysis::{Question, TableName, table};
use expect_test::{Expect, expect};
use model::assemble;

fn check(text: &str, expect: Expect) {
    let trace = assemble(&shorthand::recording(text), None);
    let mut out = String::new();
    for question in Question::ALL {
        let answer = match question.ask(&trace) {
            Ok(()) => "yes".to_owned(),
            Err(missing) => missing.to_string(),
        };
        out += &format!("{}: {answer}\n", question.text());
    }
    expect.assert_eq(&out);
}

#[test]
fn switches_alone() {
    check(
        "0 0 a switch a S b\n5 1 c switch c S d",
        expect![[r#"
            the schedule: yes
            responses and delays: responses and delays: needs sched:sched_waking or sched:sched_wakeup, which this trace does not have; `resched record` records it
            lock waits: lock waits: needs lock:contention_begin or mutex_unlock, which this trace does not have; `resched record` records it, where the kernel has it
            owners and inversions: owners and inversions: needs lock:contention_begin or mutex_unlock, and lock:contended_release or mutex_unlock or sched:sched_waking or resched:lock_owner, which this trace does not have; `resched record` records it, where the kernel has it
            migrations: migrations: needs sched:sched_migrate_task or proxy_migrate, which this trace does not have; `resched record` records it
        "#]],
    );
}

#[test]
fn lock_events_alone() {
    check(
        "0 0 a begin m 33\n5 0 a end m 0",
        expect![[r#"
            the schedule: the schedule: needs sched:sched_switch, which this trace does not have; `resched record` records it
            responses and delays: responses and delays: needs sched:sched_switch, and sched:sched_waking or sched:sched_wakeup, which this trace does not have; `resched record` records it
            lock waits: lock waits: needs sched:sched_switch, which this trace does not have; `resched record` records it, where the kernel has it
            owners and inversions: owners and inversions: needs sched:sched_switch, and lock:contended_release or mutex_unlock or sched:sched_waking or resched:lock_owner, which this trace does not have; `resched record` records it, where the kernel has it
            migrations: migrations: needs sched:sched_switch, which this trace does not have; `resched record` records it
        "#]],
    );
}

#[test]
fn one_cpu_needs_no_migrations_and_calls_need_no_contention() {
    check(
        "0 0 a waking b 0\n1 0 a lock m\n2 0 a unlock m\n5 0 a switch a S b",
        expect![[r#"
            the schedule: yes
            responses and delays: yes
            lock waits: yes
            owners and inversions: yes
            migrations: yes
        "#]],
    );
}

#[test]
fn a_table_without_its_events_is_missing_and_not_empty() {
    let trace = assemble(&shorthand::recording("0 0 a switch a S b"), None);
    let missing = table(&trace, TableName::Inversions).expect_err("no lock events");
    assert_eq!(missing.question, Question::Owners);
    assert_eq!(missing.events(), ["lock:contention_begin", "lock:contended_release"]);
    let notes = table(&trace, TableName::Notes).expect("needs no events");
    assert_eq!(notes.num_rows(), trace.notes.len(), "one row per kind of oddity");
}
