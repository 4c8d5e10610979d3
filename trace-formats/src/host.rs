//! The recorded machine: `TRACE.host.json`, beside the trace.

use crate::{Error, ErrorKind, Limits, Position, Tid, wrapper};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of kernel configuration that are read: real ones have 100 to 300 KiB.
const CONFIG_LIMIT: u64 = 16 << 20;

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
    /// Whether the kernel is PREEMPT_RT; `preemption` is then the model below realtime's own rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempt_rt: Option<bool>,
    /// How long a task counts as cache-hot, nanoseconds (`migration_cost_ns`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_cost_ns: Option<u64>,
    /// Tasks that one balancing pass may move (`nr_migrate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nr_migrate: Option<u32>,
    /// Period of the realtime budget, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rt_period_us: Option<u64>,
    /// Realtime budget of each period, microseconds; -1 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rt_runtime_us: Option<i64>,
    /// Slice of `SCHED_RR`, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rr_timeslice_ms: Option<u64>,
    /// Whether sessions in the root cgroup are scheduled as groups (`sched_autogroup_enabled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autogroup: Option<bool>,
    /// Kernel options that bear on scheduling, by their `CONFIG_` name; `n` when said to be unset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Boot parameters that bear on scheduling, as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot_parameters: Vec<String>,
    /// Capacity of each CPU, in the order of `cpus`; the largest of a machine has 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_of_cpu: Option<Vec<u32>>,
    /// Highest frequency of each CPU, kHz, in the order of `cpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_khz_of_cpu: Option<Vec<u64>>,
    /// Frequency governor of each CPU, in the order of `cpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor_of_cpu: Option<Vec<String>>,
    /// Caches, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<HostCache>,
    /// The recorder was killed: the recording ends where it was, and what the end would have told
    /// is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Only the events of some tasks were recorded: the schedule has gaps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub some_tasks_only: bool,
    /// Kernel functions that wait for each lock, by address as in `locks`: a mutex that
    /// `pipe_write` waits for is a pipe's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lock_users: BTreeMap<String, Vec<String>>,
    /// Names of static locks, by address as `0x` and lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub locks: BTreeMap<String, String>,
    /// How a field was found that its own source did not tell, by field name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub derived: BTreeMap<String, String>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// Tasks that ended while they were being read; they are not in `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_vanished: Option<u32>,
    /// What differed when the recording ended, by field name; null for what was gone by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_end: BTreeMap<String, serde_json::Value>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// One cache of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostCache {
    /// Level, 1 nearest to the core.
    pub level: u32,
    /// `data`, `instruction` or `unified`.
    pub kind: String,
    /// Size, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_kib: Option<u64>,
    /// CPUs that share it.
    pub cpus: Vec<u32>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// A source that the recorder could not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its path.
    pub path: String,
    /// Why not.
    pub error: String,
}

/// One cgroup of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostGroup {
    /// Its path below the root, as in `/proc/PID/cgroup`.
    pub path: String,
    /// `cpu.weight`, 1..=10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// `cpu.shares` of cgroup v1, from which `weight` was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Whether the group only gets what others leave (`cpu.idle`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
    /// CPU time allowed in each period, microseconds; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_us: Option<u64>,
    /// Period of the quota, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_us: Option<u64>,
    /// `cpu.uclamp.min`, per cent, as the kernel prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uclamp_min: Option<String>,
    /// `cpu.uclamp.max`, per cent or `max`, as the kernel prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uclamp_max: Option<String>,
    /// What differed when the recording ended, by field name; null for what was gone by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_end: BTreeMap<String, serde_json::Value>,
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
    /// CPUs it may run on; absent when that is all of them, or not known.
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
    /// Id of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tgid: Option<i32>,
    /// When it started, clock ticks after boot: tells tasks apart that had the same tid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time_ticks: Option<u64>,
    /// Number of a policy that `policy` has no name for, such as 7 of `SCHED_EXT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_number: Option<u32>,
    /// Whether its children start with the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_on_fork: Option<bool>,
    /// Its cgroup where that is below `cgroup`, which is the nearest that the scheduler knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_full: Option<String>,
    /// Its autogroup, as `/proc/PID/autogroup` prints it: a session of the root cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autogroup: Option<String>,
    /// True when it was first read at the end of the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_at_end: Option<bool>,
    /// What differed when the recording ended, by field name; null for what was gone by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_end: BTreeMap<String, serde_json::Value>,
    /// Other tasks that got its tid before the recording ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successors: Vec<HostTask>,
    /// Fields of newer writers.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Scheduling policy, as `sched_getattr` names it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SchedPolicy {
    /// `SCHED_OTHER`.
    #[default]
    Other,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_FIFO`.
    Fifo,
    /// `SCHED_RR`.
    Rr,
    /// `SCHED_DEADLINE`.
    Deadline,
    /// The stop class of the kernel's own `migration/N`; no user can have it.
    Stop,
}

impl Host {
    /// Reads a sidecar.
    ///
    /// # Errors
    ///
    /// When the text is not JSON of this shape; the message names line, column and field.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        /// What a replay keeps of a machine grows with the square of this.
        const MOST_CPUS: usize = 4096;
        let host: Self = serde_json::from_str(text)?;
        let n = host.cpus.as_ref().map_or(0, Vec::len);
        if n > MOST_CPUS {
            let what = format!("`cpus` names {n} CPUs; {MOST_CPUS} are the most that are taken");
            return Err(serde::de::Error::custom(what));
        }
        Ok(host)
    }

    /// The text of a kernel configuration: `/boot/config-*`, or the gzip file `/proc/config.gz`.
    ///
    /// # Errors
    ///
    /// When it is compressed and damaged, or unpacks to more than 16 MiB.
    pub fn config_text(bytes: &[u8]) -> Result<String, Error> {
        let unpacked = wrapper::unpack(bytes, &Limits { unpacked: CONFIG_LIMIT })?;
        let Some(unpacked) = unpacked else {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        };
        // Options that are missing would be taken for unset.
        if let Some(what) = unpacked.damage {
            return Err(Error { kind: ErrorKind::Invalid { what }, at: Position::Whole });
        }
        Ok(String::from_utf8_lossy(&unpacked.bytes).into_owned())
    }

    /// Adds a cache: its level, kind, size in KiB and the CPUs that share it.
    pub fn add_cache(&mut self, level: u32, kind: &str, size_kib: Option<u64>, cpus: Vec<u32>) {
        let other = BTreeMap::new();
        self.caches.push(HostCache { level, kind: kind.to_owned(), size_kib, cpus, other });
    }

    /// Lists a source that could not be read, once.
    pub fn add_unreadable(&mut self, path: &str, error: &str) {
        if self.unreadable.iter().all(|u| u.path != path) {
            self.unreadable.push(Unreadable { path: path.to_owned(), error: error.to_owned() });
        }
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

    #[test]
    fn a_kernel_configuration_is_read_packed_and_plain() {
        use std::io::Write;
        let text = "CONFIG_HZ=250\n";
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).expect("memory");
        let packed = packer.finish().expect("memory");
        assert_eq!(Host::config_text(text.as_bytes()).expect("plain"), text);
        assert_eq!(Host::config_text(&packed).expect("packed"), text);
        for end in [12, packed.len() - 9] {
            let error = Host::config_text(&packed[..end]).expect_err("cut").to_string();
            assert!(error.contains("damaged"), "{error}");
        }
    }

    #[test]
    fn an_unreadable_source_is_listed_once() {
        let mut host = Host::default();
        host.add_unreadable("/a", "refused");
        host.add_unreadable("/a", "refused again");
        host.add_unreadable("/b", "gone");
        let listed: Vec<_> = host.unreadable.iter().map(|u| (&*u.path, &*u.error)).collect();
        assert_eq!(listed, [("/a", "refused"), ("/b", "gone")]);
    }
}
