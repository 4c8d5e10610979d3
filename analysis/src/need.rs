//! What each question needs from a trace, and what to record when it is not there.

use model::Trace;

/// A question that a trace may or may not be able to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Who ran when.
    Schedule,
    /// Wakeups, latencies, run delays and responses.
    Wakeups,
    /// How long tasks wait for locks.
    LockWaits,
    /// Who has the lock meanwhile, and so what the wait is spent on.
    Owners,
    /// Changes of runqueue.
    Migrations,
}

/// Any one of these events will do.
type OneOf = &'static [&'static str];

impl Question {
    /// All questions.
    pub const ALL: [Self; 5] =
        [Self::Schedule, Self::Wakeups, Self::LockWaits, Self::Owners, Self::Migrations];

    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Schedule => "the schedule",
            Self::Wakeups => "responses and delays",
            Self::LockWaits => "lock waits",
            Self::Owners => "owners and inversions",
            Self::Migrations => "migrations",
        }
    }

    /// The events it needs: of every group at least one.
    ///
    /// A machine of one CPU has no migrations to record, and a trace with mutex calls but no
    /// contention has no waits; both are answers, not gaps.
    #[must_use]
    pub fn needs(self) -> &'static [OneOf] {
        match self {
            Self::Schedule => &[&["sched_switch"]],
            Self::Wakeups => &[&["sched_switch"], &["sched_waking", "sched_wakeup"]],
            Self::LockWaits => &[&["sched_switch"], &["contention_begin", "mutex_unlock"]],
            Self::Owners => &[
                &["sched_switch"],
                &["contention_begin", "mutex_unlock"],
                &["contended_release", "mutex_unlock", "sched_waking", "lock_owner"],
            ],
            Self::Migrations => &[&["sched_switch"], &["sched_migrate_task", "proxy_migrate"]],
        }
    }

    /// How well `trace` can answer, where that is more than usual; in parentheses, else empty.
    #[must_use]
    pub fn precision(self, trace: &Trace) -> &'static str {
        let is_read = trace.has("lock_owner") && !trace.has("mutex_unlock");
        if self == Self::Owners && is_read { " (owners exact where waits begin)" } else { "" }
    }

    /// Whether `trace` can answer.
    ///
    /// # Errors
    ///
    /// Names the missing events and how to record them.
    pub fn ask(self, trace: &Trace) -> Result<(), Missing> {
        let lacks = |group: &OneOf| !group.iter().any(|event| trace.has(event));
        let one_cpu = trace.cpus.len() <= 1;
        let groups = self.needs().iter().copied();
        let missing: Vec<OneOf> = groups
            .filter(lacks)
            .filter(|group| !(one_cpu && group.contains(&"sched_migrate_task")))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Missing { question: self, missing }) }
    }
}

/// A question that a trace cannot answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What was asked.
    pub question: Question,
    /// Groups of events of which one each is needed and none is there.
    pub missing: Vec<OneOf>,
}

impl Missing {
    /// The missing events with their subsystem, as `lock:contention_begin`; of a group the first.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.missing.iter().filter_map(|group| group.first()).map(|e| qualified(e)).collect()
    }

    /// What to record next time.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        let locks = matches!(self.question, Question::LockWaits | Question::Owners);
        if locks {
            "`resched record` records it, where the kernel has it"
        } else {
            "`resched record` records it"
        }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<String> = self
            .missing
            .iter()
            .map(|group| group.iter().map(|e| qualified(e)).collect::<Vec<_>>().join(" or "))
            .collect();
        let (what, needs) = (self.question.text(), groups.join(", and "));
        write!(f, "{what}: needs {needs}, which this trace does not have; {}", self.advice())
    }
}

impl std::error::Error for Missing {}

fn qualified(event: &str) -> String {
    let system = match event {
        e if e.starts_with("sched_") => "sched:",
        e if e.starts_with("conten") => "lock:",
        "lock_owner" => "resched:",
        _ => "",
    };
    format!("{system}{event}")
}
