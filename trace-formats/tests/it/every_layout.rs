//! The same two CPUs, written in every form that trace.dat has.

use crate::build::{Shape, page, trace_dat, version_7};
use expect_test::expect;
use std::collections::BTreeSet;
use trace_formats::{read, write_ftrace_text};

fn shapes() -> Vec<Shape> {
    let mut all = Vec::new();
    for (version, compression) in [(b'6', "none"), (b'7', "none"), (b'7', "zlib"), (b'7', "zstd")] {
        for is_big in [false, true] {
            for long_size in [4, 8] {
                all.push(Shape { version, is_big, long_size, compression });
            }
        }
    }
    all
}

#[test]
fn all_forms_say_the_same() {
    let mut texts = BTreeSet::new();
    for shape in shapes() {
        let bytes = trace_dat(shape, &[page(shape, (10, 11)), page(shape, (20, 21))]);
        let recording = read(&bytes).unwrap_or_else(|e| panic!("{shape:?}: {e}"));
        assert_eq!(recording.oddities, [], "{shape:?}");
        assert_eq!(recording.total(), 4, "{shape:?}");
        let mut text = String::new();
        write_ftrace_text(&recording, &mut text).expect("a String takes everything");
        let records = text.lines().filter(|l| !l.starts_with('#')).map(str::trim_start);
        texts.insert(records.flat_map(|line| [line, "\n"]).collect::<String>());
    }
    let texts = texts.into_iter().collect::<Vec<_>>().join("or\n");
    expect![[r#"
        task-10-10      [000] .....     7.000000005: sched_switch: prev_comm=task-10 prev_pid=10 prev_prio=120 prev_state=R ==> next_comm=task-11 next_pid=11 next_prio=120
        task-20-20      [001] .....     7.000000005: sched_switch: prev_comm=task-20 prev_pid=20 prev_prio=120 prev_state=R ==> next_comm=task-21 next_pid=21 next_prio=120
        task-11-11      [000] .....     7.001000005: sched_switch: prev_comm=task-11 prev_pid=11 prev_prio=120 prev_state=S ==> next_comm=task-10 next_pid=10 next_prio=120
        task-21-21      [001] .....     7.001000005: sched_switch: prev_comm=task-21 prev_pid=21 prev_prio=120 prev_state=S ==> next_comm=task-20 next_pid=20 next_prio=120
    "#]].assert_eq(&texts);
}

/// In which order a file holds its CPUs changes nothing.
#[test]
fn the_order_of_the_cpus_is_no_matter() {
    let shape = Shape { version: b'7', is_big: false, long_size: 8, compression: "none" };
    let pages: Vec<_> = (1u64..5).map(|n| page(shape, (10 * n, 10 * n + 1))).collect();
    let one = read(&version_7(shape, &pages, &[0, 1, 2, 3])).expect("readable");
    let other = read(&version_7(shape, &pages, &[2, 0, 3, 1])).expect("readable");
    let text = |recording| {
        let mut text = String::new();
        write_ftrace_text(recording, &mut text).expect("a String takes everything");
        text
    };
    assert_eq!(text(&one), text(&other));
    assert_eq!(one.events.len(), 8);
}
