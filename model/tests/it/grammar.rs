//! The order of begins in a mutex wait (kernel model 7.3 and 9.4).

use crate::shorthand::recording;
use model::{NoteKind, assemble};

/// The listing of a wait that is given as `33 32 end`: is it one that the kernel can emit?
fn accepts(wait: &str) -> bool {
    let mut text = String::new();
    for (at, word) in wait.split_whitespace().enumerate() {
        let event = if word == "end" { "end m 0".to_owned() } else { format!("begin m {word}") };
        text += &format!("{at} 0 task {event}\n");
    }
    let odd = [NoteKind::BadWaitGrammar, NoteKind::EndWithoutBegin];
    !assemble(&recording(&text), None).notes.iter().any(|n| odd.contains(&n.kind))
}

#[test]
fn orders_that_the_kernel_emits() {
    for wait in ["33 end", "33 32 end", "33 32 33 end", "33 32 33 32 33 end", "33 32 33 32 end"] {
        assert!(accepts(wait), "{wait}");
    }
}

#[test]
fn orders_that_it_cannot_emit() {
    for wait in ["32 end", "33 32 32 end", "33 33 end", "end", "33 end end"] {
        assert!(!accepts(wait), "{wait}");
    }
}

#[test]
fn one_acquisition_is_one_wait_however_many_begins_it_has() {
    let text = "
        0 0 a begin m 33
        1 0 a begin m 32
        5 0 a begin m 33
        6 0 a begin m 32
        9 0 a end m 0
        20 0 a begin m 33
        22 0 a end m -4";
    let trace = assemble(&recording(text), None);
    let waits: Vec<_> = trace.waits.iter().map(|w| (w.begin.0, w.until.0, w.ret)).collect();
    assert_eq!(waits, [(0, 9_000, Some(0)), (20_000, 22_000, Some(-4))]);
    assert_eq!(trace.waits[0].phases.len(), 4);
}
