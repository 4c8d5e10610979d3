//! Who gave up its CPU without sleeping.

use super::program::Build;

/// Kernel priorities below this are realtime.
const FIRST_FAIR: i32 = 100;

/// A fair task that leaves its CPU within this may have yielded, ns: slices are longer.
const SHORT_NS: u64 = 300_000;
/// Fewest such leaves that make a task one that yields.
const FEWEST: usize = 20;

/// Whether a fair task that left its CPU runnable to another fair one may have yielded: nobody was
/// woken onto this CPU since it came, and its slice cannot be over.
pub(super) fn may_have_yielded(
    (prev_prio, next_prio): (i32, i32),
    (came, left): (u64, u64),
    last_wakeup_here: Option<u64>,
) -> bool {
    prev_prio >= FIRST_FAIR
        && next_prio >= FIRST_FAIR
        && left.saturating_sub(came) < SHORT_NS
        && last_wakeup_here.is_none_or(|at| at < came)
}

/// How many yields a task has that yields as a habit, else 0: most of its leaves while runnable may be yields.
///
/// # Source
///
/// Our own rule. What is left of a slice after a preemption ends early, too; but rarely, and a
/// program that calls `sched_yield` does so in a loop.
pub(super) fn habitual(build: &Build) -> u64 {
    let n = build.steps.iter().filter(|s| s.is_doubtful).count();
    if n >= FEWEST && n * 2 > build.n_left_runnable { n as u64 } else { 0 }
}

/// Whether a task that left its CPU runnable, and was not preempted inside the kernel, has yielded:
/// it is realtime and the next task is exactly as urgent.
///
/// # Source
///
/// `pick_next_task_rt` takes the head of the most urgent list, and only a yield (or the end of an
/// RR slice, which is a yield in effect) moves the running task behind its equals. A more urgent
/// task preempts; a fair one is run by the fair server, which ends by itself.
///
/// # Deviation
///
/// A yield while nobody of the same priority is queued changes nothing and leaves no event, so it
/// is not found.
pub(super) fn has_yielded(prev_prio: i32, next_prio: i32) -> bool {
    (0..FIRST_FAIR).contains(&prev_prio) && next_prio == prev_prio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_task_yields_where_nothing_else_took_its_cpu() {
        let fair = (120, 120);
        assert!(may_have_yielded(fair, (1000, 2000), None));
        assert!(may_have_yielded(fair, (1000, 2000), Some(900)));
        assert!(!may_have_yielded(fair, (1000, 2000), Some(1500)), "a wakeup took it");
        assert!(!may_have_yielded(fair, (0, 1_000_000), None), "the end of a slice");
        assert!(!may_have_yielded((120, 50), (1000, 2000), None), "a realtime task took it");
    }

    #[test]
    fn few_such_leaves_are_no_habit() {
        let mut build = Build::default();
        build.n_left_runnable += 30;
        let add = |build: &mut Build| {
            let n = build.push(0, crate::Op::Yield);
            build.steps[n].is_doubtful = true;
        };
        (0..15).for_each(|_| add(&mut build));
        assert_eq!(habitual(&build), 0);
        (0..10).for_each(|_| add(&mut build));
        assert_eq!(habitual(&build), 25);
        build.n_left_runnable += 30;
        assert_eq!(habitual(&build), 0, "most of its leaves have another cause");
    }

    #[test]
    fn only_an_equal_follows_a_yield() {
        assert!(has_yielded(49, 49));
        assert!(!has_yielded(49, 48), "a more urgent task preempts");
        assert!(!has_yielded(49, 120), "the fair server");
        assert!(!has_yielded(120, 120), "the end of a slice");
        assert!(!has_yielded(-1, -1), "an earlier deadline");
    }
}
