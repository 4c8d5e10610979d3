//! Who had the lock during a wait, and how well that is known.

use crate::listing;
use crate::shorthand::recording;
use expect_test::{Expect, expect};
use model::assemble;

fn check(text: &str, expect: Expect) {
    let trace = assemble(&recording(text), None);
    expect.assert_eq(&(listing::waits(&trace) + &listing::notes(&trace)));
}

#[test]
fn calls_show_every_owner() {
    check(
        "0 0 low lock m
         10 0 low switch low R high
         11 0 high lock m
         12 0 high begin m 33
         13 0 high begin m 32
         14 0 high switch high D low
         30 0 low unlock m
         31 0 low release m
         32 0 low waking high 0
         32 0 low wakeup high 0
         40 0 low switch low S high
         41 0 high end m 0
         50 0 high unlock m",
        expect![[r#"
            high mutex 12..41 ret 0: 12..31 low (exact); 31..41 nobody (exact)
        "#]],
    );
}

#[test]
fn a_failed_trylock_is_no_acquisition() {
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         0 0 a try m 1
         1 1 b try m 0
         2 1 b lock m
         3 1 b begin m 33
         8 0 a unlock m
         9 1 b end m 0",
        expect![[r#"
            b mutex 3..9 ret 0: 3..8 a (exact); 8..9 nobody (exact)
        "#]],
    );
}

#[test]
fn a_lock_taken_faster_than_the_stamp_of_its_release() {
    // b enters before a's release is stamped and finds the mutex free: no contention.
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         0 0 a lock m
         10 1 b lock m
         11 0 a unlock m
         15 0 a lock m
         16 0 a begin m 33
         20 1 b unlock m
         21 0 a end m 0",
        expect![[r#"
            a mutex 16..21 ret 0: 16..20 b (exact); 20..21 nobody (exact)
        "#]],
    );
}

#[test]
fn an_entry_preempted_before_the_mutex_is_no_acquisition() {
    // a enters and is preempted; b takes the mutex and lets go; then a has it.
    check(
        "0 1 y switch y R c
         0 0 a lock m
         1 0 a switch a R b
         2 0 b lock m
         3 1 c lock m
         4 1 c begin m 33
         6 0 b unlock m
         7 0 b switch b S a
         9 0 a unlock m
         10 1 c end m 0",
        expect![[r#"
            c mutex 4..10 ret 0: 4..6 b (exact); 6..9 a (exact); 9..10 nobody (exact)
        "#]],
    );
}

#[test]
fn a_contended_release_names_the_owner_up_to_then() {
    // low is off its CPU from before the wait on, so it had the lock all the time.
    check(
        "0 0 low switch low R high
         10 0 high begin m 33
         12 0 high begin m 32
         14 0 high switch high D low
         30 0 low release m
         31 0 low waking high 0
         32 0 low wakeup high 0
         40 0 low switch low S high
         41 0 high end m 0",
        expect![[r#"
            high mutex 10..41 ret 0: 10..30 low (exact); 30..41 nobody (exact)
        "#]],
    );
}

#[test]
fn while_the_waiter_spins_owners_may_change_unseen() {
    check(
        "0 1 x switch x R low
         10 0 high begin m 33
         30 0 high begin m 32
         31 0 high switch high D idle
         50 1 low release m
         51 1 low waking high 0
         60 0 idle switch idle R high
         61 0 high end m 0",
        expect![[r#"
            high mutex 10..61 ret 0: 10..30 low (inferred); 30..50 low (exact); 50..61 nobody (exact)
            guess runqueue-guessed x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn a_release_stamped_after_the_thiefs_acquisition_is_late() {
    // w is queued; thief spins, and has the mutex before low's release is stamped.
    check(
        "0 1 x switch x R low
         0 2 y switch y R thief
         10 0 w begin m 33
         12 0 w begin m 32
         13 0 w switch w D idle
         20 2 thief begin m 33
         30 2 thief end m 0
         31 1 low release m
         32 1 low waking w 0
         33 0 idle switch idle R w
         34 0 w begin m 33
         50 2 thief release m
         51 0 w end m 0",
        expect![[r#"
            w mutex 10..51 ret 0: 10..12 low (inferred); 12..30 low (exact); 30..50 thief (exact); 50..51 nobody (exact)
            thief mutex 20..30 ret 0: 20..30 low (exact)
            guess runqueue-guessed x1
            guess owner-inferred x1
            info late-release x1
        "#]],
    );
}

#[test]
fn a_winner_who_releases_is_exact_from_its_own_end() {
    check(
        "0 1 x switch x R b
         1 1 b begin m 33
         5 1 b end m 0
         10 0 a begin m 33
         12 0 a begin m 32
         13 0 a switch a D idle
         30 1 b release m
         31 1 b waking a 0
         40 0 idle switch idle R a
         41 0 a end m 0",
        expect![[r#"
            b mutex 1..5 ret 0: 1..5 nobody (inferred)
            a mutex 10..41 ret 0: 10..30 b (exact); 30..41 nobody (exact)
            guess runqueue-guessed x1
        "#]],
    );
}

#[test]
fn without_releases_the_waker_is_taken_for_the_owner() {
    check(
        "0 1 x switch x R low
         10 0 a begin m 33
         12 0 a begin m 32
         13 0 a switch a D idle
         31 1 low waking a 0
         40 0 idle switch idle R a
         41 0 a end m 0",
        expect![[r#"
            a mutex 10..41 ret 0: 10..31 low (inferred); 31..41 nobody (inferred)
            guess runqueue-guessed x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn an_interrupt_releases_no_lock() {
    check(
        "0 1 x switch x R low
         10 0 a begin m 33
         12 0 a begin m 32
         13 0 a switch a D idle
         31 1 low | waking a 0
         40 0 idle switch idle R a
         41 0 a end m -4",
        expect![[r#"
            a mutex 10..41 ret -4: 10..41 ?
            guess runqueue-guessed x1
        "#]],
    );
}

#[test]
fn owners_of_an_rwsem_are_never_exact_and_those_of_a_semaphore_unknown() {
    check(
        "0 1 x switch x R low
         10 0 a begin r 4
         13 0 a switch a D idle
         30 1 low release r
         31 1 low waking a 0
         40 0 idle switch idle R a
         41 0 a end r 0
         50 0 a begin s 0
         51 0 a switch a D idle
         60 1 low release s
         61 1 low waking a 0
         70 0 idle switch idle R a
         71 0 a end s 0",
        expect![[r#"
            a rwsem-write 10..41 ret 0: 10..30 low (inferred); 30..41 nobody (inferred)
            a semaphore 50..71 ret 0: 50..71 ?
            guess runqueue-guessed x2
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn an_owner_preempted_inside_unlock_is_still_the_owner() {
    check(
        "0 0 low lock m
         10 0 low switch low R high
         12 0 high begin m 33
         13 0 high begin m 32
         14 0 high switch high D low
         30 0 low unlock m
         31 0 low switch low R med
         80 0 med switch med S low
         81 0 low release m
         82 0 low waking high 0
         82 0 low wakeup high 0
         90 0 low switch low S high
         91 0 high end m 0",
        expect![[r#"
            high mutex 12..91 ret 0: 12..81 low (exact); 81..91 nobody (exact)
        "#]],
    );
}

#[test]
fn who_spins_in_vain_waits_for_the_one_that_runs() {
    // y runs on another CPU from before to after; x does not.
    check(
        "0 1 x switch x R y
         0 0 z switch z R a
         10 0 a begin m 33
         20 0 a end m 0
         30 0 a begin m 33
         35 1 y switch y S idle
         40 0 a end m 0
         50 1 idle switch idle R y",
        expect![[r#"
            a mutex 10..20 ret 0: 10..20 y (inferred)
            a mutex 30..40 ret 0: 30..40 ?
            gap ran-without-wakeup x1
            guess owner-inferred x1
        "#]],
    );
}

#[test]
fn who_releases_and_is_waited_for_soon_has_taken_it_again() {
    // a wakes b, which does not run; c finds the lock taken, and nobody else was there to take it.
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         1 1 b begin w 4
         2 1 b switch b D c
         10 0 a waking b 1
         11 0 a wakeup b 1
         15 1 c begin w 4
         16 1 c switch c D b
         20 1 b end w 0",
        expect![[r#"
            b rwsem-write 1..20 ret 0: 1..10 a (inferred); 10..15 nobody (inferred); 15..20 a (inferred)
            c rwsem-write 15..20 open: 15..20 a (inferred)
            gap wait-cut-off x1
            guess owner-inferred x2
        "#]],
    );
}

#[test]
fn who_runs_when_another_begins_to_wait_may_have_it_already() {
    // b runs again, and has the lock before its contention_end says so.
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         1 1 b begin w 4
         2 1 b switch b D idle
         10 0 a waking b 1
         11 0 a wakeup b 1
         12 1 idle switch idle R b
         15 0 a begin w 4
         16 0 a switch a D c
         17 1 b end w 0",
        expect![[r#"
            b rwsem-write 1..17 ret 0: 1..10 a (inferred); 10..15 nobody (inferred); 15..17 b (inferred)
            a rwsem-write 15..17 open: 15..17 b (inferred)
            gap wait-cut-off x1
            guess owner-inferred x2
        "#]],
    );
}

#[test]
fn who_waits_for_a_lock_does_not_have_it() {
    // b acquires, lets go unseen and waits again: c had it, which then releases it.
    check(
        "0 0 x switch x R a
         0 1 y switch y R b
         1 1 b begin w 4
         2 1 b switch b D c
         10 0 a waking b 1
         11 0 a wakeup b 1
         12 1 c switch c R b
         13 1 b end w 0
         30 1 b begin w 4
         31 1 b switch b D c
         40 1 c waking b 1
         41 1 c wakeup b 1
         42 1 c switch c S b
         43 1 b end w 0",
        expect![[r#"
            b rwsem-write 1..13 ret 0: 1..10 a (inferred); 10..13 nobody (inferred)
            b rwsem-write 30..43 ret 0: 30..40 c (inferred); 40..43 nobody (inferred)
            guess owner-inferred x2
        "#]],
    );
}
