//! Two traces side by side. No statistics: one run each.

use crate::identity::TaskKey;
use crate::summary::{Summary, TaskSummary, summary};
use model::Trace;
use serde::Serialize;
use std::collections::BTreeMap;

/// Two traces of the same work.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The first trace.
    pub before: Summary,
    /// The second one.
    pub after: Summary,
    /// Tasks of either, in order of name and position.
    pub tasks: Vec<TaskPair>,
}

/// One task in both traces.
#[derive(Clone, Debug, Serialize)]
pub struct TaskPair {
    /// Who.
    pub key: TaskKey,
    /// In the first trace, when it is there.
    pub before: Option<TaskSummary>,
    /// In the second one.
    pub after: Option<TaskSummary>,
}

impl TaskPair {
    /// Relative change of the mean response, -1 to infinity; `None` without responses in both.
    #[must_use]
    pub fn response_change(&self) -> Option<f64> {
        let mean = |t: &Option<TaskSummary>| {
            t.as_ref().map(|t| t.responses).filter(|r| r.count > 0).map(|r| r.mean_ns)
        };
        relative_change(mean(&self.before)?, mean(&self.after)?)
    }
}

/// (after - before) / before; `None` when there was nothing before.
#[must_use]
pub fn relative_change(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| (after - before) / before)
}

/// Compares two traces, tasks matched by name and position.
#[must_use]
pub fn compare(a: &Trace, b: &Trace) -> Comparison {
    let (before, after) = (summary(a), summary(b));
    let mut pairs: BTreeMap<TaskKey, (Option<TaskSummary>, Option<TaskSummary>)> = BTreeMap::new();
    for task in &before.tasks {
        pairs.entry(task.key.clone()).or_default().0 = Some(task.clone());
    }
    for task in &after.tasks {
        pairs.entry(task.key.clone()).or_default().1 = Some(task.clone());
    }
    let pair = |(key, (before, after))| TaskPair { key, before, after };
    Comparison { before, after, tasks: pairs.into_iter().map(pair).collect() }
}
