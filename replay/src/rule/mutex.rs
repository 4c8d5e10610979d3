//! The word of a `struct mutex`: who owns it, and who may take it.

/// Owner and flag bits of a mutex; `T` names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutexWord<T> {
    /// The owner, or the task it is reserved for when `pickup` is set.
    pub owner: Option<T>,
    /// The wait list is not empty.
    pub waiters: bool,
    /// Unlock must give the mutex to a chosen waiter.
    pub handoff: bool,
    /// Already given to `owner`, who has not noticed yet.
    pub pickup: bool,
}

impl<T> Default for MutexWord<T> {
    fn default() -> Self {
        Self { owner: None, waiters: false, handoff: false, pickup: false }
    }
}

/// Whether a failed attempt also asks for the hand-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Just try.
    Lock,
    /// Try, and ask the owner to hand over: the head waiter after it was woken in vain.
    Handoff,
}

impl<T: Copy + PartialEq> MutexWord<T> {
    /// One attempt of `task` to take the mutex; anyone may take a free one.
    ///
    /// # Source
    ///
    /// Kernel model 3.1; `__mutex_trylock_common` in `kernel/locking/mutex.c`.
    pub fn try_lock(&mut self, task: T, want: Want) -> bool {
        match self.owner {
            None => {
                self.owner = Some(task);
                true
            }
            Some(owner) if self.pickup => {
                if owner == task {
                    self.pickup = false;
                }
                owner == task
            }
            Some(_) => {
                if want == Want::Handoff {
                    self.handoff = true;
                }
                false
            }
        }
    }

    /// The fast path: succeeds only when the word is exactly zero.
    pub fn fast_lock(&mut self, task: T) -> bool {
        let zero = self.owner.is_none() && !self.waiters && !self.handoff && !self.pickup;
        if zero {
            self.owner = Some(task);
        }
        zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn try_lock_truth_table() {
        let word = |owner, handoff, pickup| MutexWord { owner, waiters: true, handoff, pickup };
        let try_as_7 = |mut w: MutexWord<u8>, want| {
            let taken = w.try_lock(7, want);
            (taken, w)
        };
        assert_eq!(
            try_as_7(word(None, true, false), Want::Lock),
            (true, word(Some(7), true, false)),
            "a free mutex is taken whatever its flags"
        );
        assert_eq!(
            try_as_7(word(Some(7), false, true), Want::Lock),
            (true, word(Some(7), false, false)),
            "the chosen task picks it up"
        );
        assert_eq!(
            try_as_7(word(Some(8), false, true), Want::Handoff),
            (false, word(Some(8), false, true)),
            "a reserved mutex takes no hand-off request"
        );
        assert_eq!(
            try_as_7(word(Some(8), false, false), Want::Handoff),
            (false, word(Some(8), true, false)),
            "the head waiter asks for the hand-off"
        );
        assert_eq!(
            try_as_7(word(Some(8), false, false), Want::Lock),
            (false, word(Some(8), false, false)),
        );
    }

    #[test]
    fn the_fast_path_needs_a_zero_word() {
        let mut word = MutexWord { owner: None, waiters: true, handoff: false, pickup: false };
        assert!(!word.fast_lock(1));
        word.waiters = false;
        assert!(word.fast_lock(1));
        assert_eq!(word.owner, Some(1));
    }
}
