//! Trees of files that stand for a machine.

use crate::host::Roots;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A tree below the folder for temporary files, removed at the end.
pub(super) struct Tree {
    pub(super) folder: PathBuf,
}

impl Tree {
    /// Files by path, as on the machine: `("/proc/cmdline", "quiet\n")`.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("resched-host-{}-{number}", std::process::id());
        let tree = Self { folder: std::env::temp_dir().join(name) };
        for (path, content) in files {
            tree.write(path, content.as_bytes());
        }
        tree
    }

    pub(super) fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("folder");
        std::fs::write(path, content).expect("file");
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    pub(super) fn roots(&self) -> Roots {
        Roots::below(&self.folder)
    }

    /// Adds a thread, the only one of its process: its line `stat`, its cgroups, its CPUs.
    pub(super) fn thread(&self, thread: &Thread<'_>) {
        let Thread { pid, tid, comm, flags, nice, n_threads, start, rt_priority, policy, .. } =
            thread;
        let folder = format!("/proc/{pid}/task/{tid}");
        let zeros = "0 ".repeat(17);
        let stat = format!(
            "{tid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 {nice} {n_threads} 0 {start} \
             {zeros}{rt_priority} {policy} 0 0 0\n"
        );
        self.write(&format!("{folder}/stat"), stat.as_bytes());
        self.write(&format!("{folder}/cgroup"), thread.cgroup.as_bytes());
        let status = format!("Name:\tx\nCpus_allowed_list:\t{}\n", thread.cpus);
        self.write(&format!("{folder}/status"), status.as_bytes());
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What is left over is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A thread of a tree.
#[derive(Clone, Copy)]
pub(super) struct Thread<'a> {
    pub(super) pid: i32,
    pub(super) tid: i32,
    pub(super) comm: &'a str,
    pub(super) flags: u32,
    pub(super) nice: i32,
    pub(super) n_threads: u32,
    pub(super) start: u64,
    pub(super) rt_priority: i32,
    pub(super) policy: u32,
    pub(super) cgroup: &'a str,
    pub(super) cpus: &'a str,
}

impl<'a> Thread<'a> {
    /// A user's task of the default class that may run on four CPUs.
    pub(super) fn new(tid: i32, comm: &'a str) -> Self {
        Self {
            pid: tid,
            tid,
            comm,
            flags: 0,
            nice: 0,
            n_threads: 1,
            start: 100,
            rt_priority: 0,
            policy: 0,
            cgroup: "0::/\n",
            cpus: "0-3",
        }
    }
}

/// A machine with two cores of two siblings each, cgroups v2, and open debugfs.
pub(super) const SMT: &[(&str, &str)] = &[
    ("/proc/sys/kernel/osrelease", "6.18.2-test\n"),
    ("/proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC Thu Jan 1\n"),
    ("/proc/sys/kernel/sched_rt_period_us", "1000000\n"),
    ("/proc/sys/kernel/sched_rt_runtime_us", "-1\n"),
    ("/proc/sys/kernel/sched_rr_timeslice_ms", "90\n"),
    ("/proc/sys/kernel/sched_autogroup_enabled", "0\n"),
    ("/proc/cmdline", "root=/dev/sda quiet isolcpus=3 preempt=full\n"),
    (
        "/boot/config-6.18.2-test",
        "CONFIG_HZ=1000\nCONFIG_PREEMPT_DYNAMIC=y\nCONFIG_PREEMPT_LAZY=y\n# CONFIG_SCHED_PROXY_EXEC is not set\n",
    ),
    ("/sys/kernel/debug/sched/preempt", "none voluntary full (lazy)\n"),
    ("/sys/kernel/debug/sched/features", "PLACE_LAG NO_HRTICK RUN_TO_PARITY \n"),
    ("/sys/kernel/debug/sched/base_slice_ns", "2100000\n"),
    ("/sys/kernel/debug/sched/migration_cost_ns", "500000\n"),
    ("/sys/kernel/debug/sched/nr_migrate", "32\n"),
    ("/sys/devices/system/cpu/online", "0-3\n"),
    ("/sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0,2\n"),
    ("/sys/devices/system/cpu/cpu1/topology/core_cpus_list", "1,3\n"),
    ("/sys/devices/system/cpu/cpu2/topology/core_cpus_list", "0,2\n"),
    ("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
    ("/sys/devices/system/cpu/cpu0/cpu_capacity", "1024\n"),
    ("/sys/devices/system/cpu/cpu1/cpu_capacity", "446\n"),
    ("/sys/devices/system/cpu/cpu2/cpu_capacity", "1024\n"),
    ("/sys/devices/system/cpu/cpu3/cpu_capacity", "446\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3000000\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "2000000\n"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "3000000\n"),
    ("/sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq", "2000000\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil\n"),
    ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/node/node0/cpulist", "0,2\n"),
    ("/sys/devices/system/node/node1/cpulist", "1,3\n"),
    ("/sys/fs/cgroup/cgroup.controllers", "cpu io memory\n"),
    ("/sys/fs/cgroup/busy.slice/cpu.weight", "250\n"),
    ("/sys/fs/cgroup/busy.slice/cpu.max", "50000 100000\n"),
    ("/sys/fs/cgroup/busy.slice/cpu.idle", "0\n"),
    ("/sys/fs/cgroup/busy.slice/cpu.uclamp.min", "20.00\n"),
    ("/sys/fs/cgroup/busy.slice/cpu.uclamp.max", "max\n"),
    ("/sys/fs/cgroup/busy.slice/a.service/cpu.weight", "0\n"),
    ("/sys/fs/cgroup/busy.slice/a.service/cpu.max", "max 100000\n"),
    ("/sys/fs/cgroup/busy.slice/a.service/cpu.idle", "1\n"),
    ("/sys/fs/cgroup/busy.slice/a.service/deep/cgroup.procs", "\n"),
];

/// Adds caches: per CPU a first level of two kinds, per core a second level.
pub(super) fn add_caches(tree: &Tree) {
    for (cpu, core) in [(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")] {
        let caches = [
            ("index0", "1", "Data", "32K", core),
            ("index1", "1", "Instruction", "64K", core),
            ("index2", "2", "Unified", "2M", core),
        ];
        for (index, level, kind, size, shared) in caches {
            let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cache/{index}");
            for (name, value) in
                [("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)]
            {
                tree.write(&format!("{folder}/{name}"), format!("{value}\n").as_bytes());
            }
        }
    }
}
