//! Response times by task name, as the project's independent judge sums them up.

use crate::distribution::Distribution;
use model::{Nanos, Tid, Trace};
use std::collections::BTreeMap;

/// Distributions of responses by name; names without responses are left out.
///
/// Every thread id counts for the latest name it had in the trace, even when an earlier task
/// of that id had another one.
#[must_use]
pub fn by_name(trace: &Trace) -> BTreeMap<&str, Distribution> {
    let mut names: BTreeMap<Tid, &str> = BTreeMap::new();
    for (id, task) in trace.tasks() {
        names.insert(task.info.tid, trace.name(id));
    }
    let mut spans: BTreeMap<&str, Vec<Nanos>> = BTreeMap::new();
    for response in &trace.responses {
        let name = names.get(&response.tid).copied().unwrap_or_default();
        spans.entry(name).or_default().push(response.end.since(response.begin));
    }
    spans.into_iter().map(|(name, spans)| (name, Distribution::of(spans))).collect()
}
