//! Who gave up its CPU without sleeping.

/// Kernel priorities below this are realtime.
const FIRST_FAIR: i32 = 100;

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
    use super::has_yielded;

    #[test]
    fn only_an_equal_follows_a_yield() {
        assert!(has_yielded(49, 49));
        assert!(!has_yielded(49, 48), "a more urgent task preempts");
        assert!(!has_yielded(49, 120), "the fair server");
        assert!(!has_yielded(120, 120), "the end of a slice");
        assert!(!has_yielded(-1, -1), "an earlier deadline");
    }
}
