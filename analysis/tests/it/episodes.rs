//! The worst episodes, drawn.

use crate::recorded::fixture;
use crate::shorthand;
use analysis::episode::{Lane, lanes};
use analysis::{Episode, same_response, same_wait, worst_episodes, worst_episodes_of};
use expect_test::{Expect, expect};
use model::{TaskId, Timestamp, Trace, assemble};

/// One character per 5 us: the mark at its middle.
fn draw(trace: &Trace, lane: &Lane) -> String {
    let (Some(first), Some(last)) = (lane.spans.first(), lane.spans.last()) else {
        return String::new();
    };
    let mut text = format!("{:>9} |", trace.name(lane.task));
    let mut at = first.from.0 + 2_500;
    while at < last.to.0 {
        let span = lane.spans.iter().find(|s| at < s.to.0).expect("lanes have no holes");
        text.push(span.mark.character());
        at += 5_000;
    }
    text + "|\n"
}

fn listing(trace: &Trace, e: &Episode) -> String {
    let name = |t: TaskId| trace.name(t).to_owned();
    let owners: Vec<String> =
        e.owners.iter().map(|o| format!("{} ({})", name(o.task), o.basis.name())).collect();
    let instead: Vec<String> =
        e.instead.iter().map(|(t, n)| format!("{} {}", name(*t), n.0 / 1000)).collect();
    let mut text = format!(
        "{} waits {} us for {}, inversion {}; owners {}; chain {:?}; instead {}\n",
        name(e.waiter),
        e.until.since(e.begin).0 / 1000,
        e.kind.name(),
        e.parts.inversion().0 / 1000,
        owners.join(", "),
        e.chain.iter().map(|t| name(*t)).collect::<Vec<_>>(),
        instead.join(", ")
    );
    for lane in &e.lanes {
        text += &draw(trace, lane);
    }
    text
}

fn check(text: &str, n: usize, expect: Expect) {
    let trace = assemble(&shorthand::recording(text), None);
    let episodes = worst_episodes(&trace, n);
    let text: String = episodes.iter().map(|e| listing(&trace, e)).collect();
    expect.assert_eq(&text);
}

const TWO_WAITS: &str = "
    0 0 low@139 lock m
    10 0 low@139 new high@100 0
    12 0 low@139 switch low@139 R high@100
    20 0 high@100 begin m 33
    25 0 high@100 begin m 32
    30 0 high@100 switch high@100 D med
    80 0 med switch med S low@139
    110 0 low@139 unlock m
    110 0 low@139 waking high@100 0
    111 0 low@139 wakeup high@100 0
    115 0 low@139 switch low@139 R high@100
    120 0 high@100 end m 0
    130 0 high@100 unlock m
    140 0 high@100 switch high@100 S low@139
    145 0 low@139 lock m
    150 0 low@139 waking high@100 0
    151 0 low@139 wakeup high@100 0
    155 0 low@139 switch low@139 R high@100
    160 0 high@100 begin m 33
    162 0 high@100 begin m 32
    165 0 high@100 switch high@100 D low@139
    300 0 low@139 unlock m
    300 0 low@139 waking high@100 0
    301 0 low@139 wakeup high@100 0
    302 0 low@139 switch low@139 R high@100
    305 0 high@100 end m 0
    310 0 high@100 unlock m
    340 0 high@100 switch high@100 S low@139";

#[test]
fn the_wait_with_the_most_inversion_comes_before_a_longer_one() {
    check(
        TWO_WAITS,
        2,
        expect![[r#"
        high@100 waits 100 us for mutex, inversion 50; owners low@139 (exact); chain []; instead med 50
         high@100 |  ##sswwwwwwwwwwwwwwww·s#### |
          low@139 |##··············#######·····#|
              med |······##########             |
        high@100 waits 145 us for mutex, inversion 0; owners low@139 (exact); chain []; instead 
         high@100 |###  ·#swwwwwwwwwwwwwwwwwwwwwwwwwww·#######|
          low@139 |···###··############################·······|
    "#]],
    );
}

#[test]
fn without_inversion_the_longest_wait_comes_first() {
    check(
        &TWO_WAITS.replace("med", "rt@10"),
        1,
        expect![[r#"
        high@100 waits 145 us for mutex, inversion 0; owners low@139 (exact); chain []; instead 
         high@100 |###  ·#swwwwwwwwwwwwwwwwwwwwwwwwwww·#######|
          low@139 |···###··############################·······|
    "#]],
    );
}

#[test]
fn donated_time_is_drawn_on_both_sides() {
    let text = "
        0 0 low@139 lock m
        10 0 low@139 new high@100 0
        12 0 low@139 switch low@139 R high@100
        20 0 high@100 begin m 33
        25 0 high@100 begin m 32
        30 0 high@100 switch high@100 D low@139
        30 0 low@139 donor high@100 low@139
        80 0 low@139 unlock m
        80 0 low@139 waking high@100 0
        80 0 low@139 donor low@139 low@139
        81 0 low@139 wakeup high@100 0
        82 0 low@139 switch low@139 R high@100
        85 0 high@100 end m 0
        90 0 high@100 unlock m
        99 0 high@100 switch high@100 S low@139";
    check(
        text,
        1,
        expect![[r#"
        high@100 waits 65 us for mutex, inversion 0; owners low@139 (exact); chain []; instead 
         high@100 | ·#ssdddddddddd·###|
          low@139 |##···DDDDDDDDDD#···|
    "#]],
    );
}

#[test]
fn lanes_cover_their_window() {
    let trace = fixture("recorded/classic3-full.dat");
    for e in worst_episodes(&trace, 20) {
        for lane in lanes(&trace, &[e.waiter], e.window).iter().chain(&e.lanes) {
            let mut at = e.window.0;
            for span in &lane.spans {
                assert_eq!(span.from, at);
                at = span.to;
            }
            assert_eq!(at, e.window.1);
        }
    }
}

#[test]
fn the_worst_waits_of_some_tasks_are_the_worst_of_all_without_the_others() {
    let trace = fixture("recorded/classic3-full.dat");
    let all = worst_episodes(&trace, trace.waits.len());
    for task in all.iter().take(6).map(|e| e.waiter) {
        let theirs: Vec<_> = all.iter().filter(|e| e.waiter == task).take(3).cloned().collect();
        assert_eq!(worst_episodes_of(&trace, 3, |waiter| waiter == task), theirs);
    }
}

#[test]
fn the_same_response_and_wait_of_another_trace() {
    let a = assemble(&shorthand::recording(TWO_WAITS), None);
    // The same work, everything 1 ms later.
    let later: String = TWO_WAITS
        .lines()
        .filter_map(|l| l.trim().split_once(' '))
        .map(|(at, rest)| format!("{} {rest}\n", at.parse::<u64>().expect("a time") + 1000))
        .collect();
    let b = assemble(&shorthand::recording(&later), None);
    assert_eq!((same_wait(&a, 0, &b), same_wait(&a, 1, &b)), (Some(0), Some(1)));
    let high = a.waits[1].waiter;
    let (mine, theirs) = same_response(&a, high, a.waits[1].begin, &b).expect("there");
    assert_eq!(theirs.begin, mine.begin + model::Nanos(1_000_000));
    assert_eq!(same_response(&a, high, Timestamp(1), &b), None);
}
