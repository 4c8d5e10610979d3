//! The recorded machine: `TRACE.host.json`, beside the trace.

use crate::{SchedPolicy, Tid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The sidecar. Every field is optional; fields we do not know are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Kernel release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Whether proxy execution was on while recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_execution: Option<bool>,
    /// Online CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Vec<u32>>,
    /// Timer ticks per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hz: Option<u32>,
    /// Preemption model: none, voluntary, lazy or full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption: Option<String>,
    /// Scheduler features by lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, bool>,
    /// EEVDF base slice, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_slice_ns: Option<u64>,
    /// The trace clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Whether SMT siblings exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smt: Option<bool>,
    /// Core of each CPU, in the order of `cpus`: SMT siblings share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_of_cpu: Option<Vec<u32>>,
    /// Last-level cache of each CPU, in the order of `cpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llc_of_cpu: Option<Vec<u32>>,
    /// NUMA node of each CPU, in the order of `cpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_of_cpu: Option<Vec<u32>>,
    /// Cgroups and their weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<HostGroup>,
    /// Tasks known by tid or, failing that, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<HostTask>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// One cgroup of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostGroup {
    /// Its path below the root, as in `/proc/PID/cgroup`.
    pub path: String,
    /// `cpu.weight`, 1..=10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// One task of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostTask {
    /// Thread id, when the writer knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<i32>,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// CPUs it may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Vec<u32>>,
    /// Path of its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Scheduling policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SchedPolicy>,
    /// Nice level, -20..=19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Realtime priority, 1..=99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rt_priority: Option<i32>,
    /// Deadline budget, nanoseconds; a fair task's own slice when it set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_ns: Option<u64>,
    /// Relative deadline, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<u64>,
    /// Deadline period, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ns: Option<u64>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Host {
    /// Reads a sidecar.
    ///
    /// # Errors
    ///
    /// When the text is not JSON of this shape; the message names line, column and field.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The entry for a task: by `tid` first, else by name.
    #[must_use]
    pub fn task(&self, tid: Tid, comm: &str) -> Option<&HostTask> {
        let by_tid = self.tasks.iter().find(|t| t.tid == Some(tid.0));
        by_tid.or_else(|| {
            self.tasks.iter().find(|t| t.tid.is_none() && t.comm.as_deref() == Some(comm))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let text = r#"{"kernel":"7.3","moon":1,"tasks":[{"comm":"low","nice":15,"mood":"good"}]}"#;
        let host = Host::from_json(text).expect("valid");
        assert_eq!(
            serde_json::to_string(&host).expect("serializes"),
            text.replace(
                r#""moon":1,"tasks":[{"comm":"low","nice":15,"mood":"good"}]"#,
                r#""tasks":[{"comm":"low","nice":15,"mood":"good"}],"moon":1"#
            )
        );
        assert_eq!(host.task(Tid(9), "low").and_then(|t| t.nice), Some(15));
        assert_eq!(host.task(Tid(9), "high"), None);
    }
}
