//! Every thread of the machine: class, affinity, cgroup.

use super::Roots;
use super::cgroup::{self, Groups};
use super::source::{Sources, not_understood};
use super::stat::{self, Stat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use trace_formats::{Host, HostGroup, HostTask, SchedPolicy};

/// The link of `/proc/self/ns/pid` in the namespace whose ids events carry.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// All threads at one time, or nearly: they are read one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReading {
    /// By tid.
    pub tasks: Vec<HostTask>,
    /// The cgroups the tasks are in and those above them, by path.
    pub cgroups: Vec<HostGroup>,
    /// Threads that ended while they were read.
    pub vanished: u32,
    /// The slice that most user tasks have, nanoseconds: the base slice, where debugfs is closed.
    pub common_slice_ns: Option<u64>,
    /// What could not be read, and why: (path, error).
    pub unreadable: Vec<(String, String)>,
}

/// Reads every thread.
///
/// `machine` tells what the tasks' values are measured against: CPUs and base slice.
#[must_use]
pub fn read_tasks(roots: &Roots, machine: &Host) -> TaskReading {
    let mut sources = Sources::new(roots);
    if is_nested(&sources) {
        let why = "this is a PID namespace: ids here are not those of events, so no task is listed";
        sources.list("/proc/self/ns/pid", why);
        return TaskReading { unreadable: sources.unreadable, ..TaskReading::default() };
    }
    let processes = sources.names("/proc").unwrap_or_default();
    let mut reader = Reader {
        sources,
        machine,
        groups: Groups::default(),
        slices: BTreeMap::new(),
        buffer: vec![0; 4096],
        reading: TaskReading::default(),
    };
    for pid in processes.iter().filter_map(|name| name.parse().ok()) {
        reader.process(pid);
    }
    reader.finish()
}

/// Whether events name tasks by other ids than `/proc` does.
fn is_nested(sources: &Sources<'_>) -> bool {
    let link = std::fs::read_link(sources.resolve("/proc/self/ns/pid"));
    link.is_ok_and(|to| to.as_os_str() != FIRST_NAMESPACE)
}

struct Reader<'a> {
    sources: Sources<'a>,
    machine: &'a Host,
    groups: Groups,
    /// User tasks of each slice.
    slices: BTreeMap<u64, u32>,
    /// Reused: there are thousands of files.
    buffer: Vec<u8>,
    reading: TaskReading,
}

impl Reader<'_> {
    fn process(&mut self, pid: i32) {
        let first = self.reading.tasks.len();
        let leader = self.thread(pid, pid);
        if leader.as_ref().is_some_and(|stat| stat.n_threads > 1) {
            let threads = std::fs::read_dir(self.sources.resolve(&format!("/proc/{pid}/task")));
            let threads = threads.into_iter().flatten().flatten();
            let tids = threads.filter_map(|e| e.file_name().to_str()?.parse().ok());
            for tid in tids.filter(|tid| *tid != pid).collect::<Vec<i32>>() {
                self.thread(pid, tid);
            }
        }
        let is_user = leader.is_some_and(|stat| !stat.is_kernel_thread);
        if is_user && self.machine.autogroup == Some(true) {
            self.autogroup(pid, first);
        }
    }

    /// Sessions are groups only in the root group of the scheduler.
    fn autogroup(&mut self, pid: i32, first: usize) {
        let tasks = self.reading.tasks.get_mut(first..).unwrap_or_default();
        let mut in_root = tasks.iter_mut().filter(|t| t.cgroup.as_deref() == Some("/")).peekable();
        if in_root.peek().is_none() {
            return;
        }
        let text = self.sources.probe(&format!("/proc/{pid}/autogroup"));
        let text = text.as_deref().map(str::trim).filter(|t| t.starts_with("/autogroup-"));
        in_root.for_each(|task| task.autogroup = text.map(str::to_owned));
    }

    /// Reads a thread and adds it, unless it is gone.
    fn thread(&mut self, pid: i32, tid: i32) -> Option<Stat> {
        let read = self.try_thread(pid, tid);
        match read {
            Ok((task, stat)) => {
                self.reading.tasks.push(task);
                Some(stat)
            }
            Err(error) if is_gone(&error) => {
                self.reading.vanished += 1;
                None
            }
            Err(error) => {
                self.sources.list("/proc/PID/task/TID/stat", &error.to_string());
                None
            }
        }
    }

    fn try_thread(&mut self, pid: i32, tid: i32) -> io::Result<(HostTask, Stat)> {
        let folder = format!("/proc/{pid}/task/{tid}");
        let line = self.short_file(&format!("{folder}/stat"))?;
        let Some(stat) = stat::parse(line) else {
            let shown = not_understood(&String::from_utf8_lossy(line));
            return Err(io::Error::other(shown));
        };
        let mut task = HostTask {
            tid: Some(tid),
            tgid: Some(pid),
            comm: Some(stat.comm.clone()),
            start_time_ticks: Some(stat.start_time),
            ..HostTask::default()
        };
        policy(&mut task, &stat);
        self.attributes(&mut task, &stat, tid)?;
        task.affinity = self.affinity(&folder, tid)?;
        self.cgroup(&mut task, &folder)?;
        Ok((task, stat))
    }

    /// A file that fits the buffer and is printed at once.
    fn short_file(&mut self, path: &str) -> io::Result<&[u8]> {
        let mut file = File::open(self.sources.resolve(path))?;
        let mut filled = 0;
        loop {
            let Some(free) = self.buffer.get_mut(filled..).filter(|free| !free.is_empty()) else {
                return Err(io::Error::other("longer than 4096 bytes"));
            };
            let capacity = free.len();
            let read = file.read(free)?;
            filled += read;
            // A file of one record that leaves room has no more: another read would cost as much.
            if read < capacity {
                return Ok(self.buffer.get(..filled).unwrap_or_default());
            }
        }
    }

    /// Deadline parameters, a fair task's slice, flags. Without the call the rest must do.
    fn attributes(&mut self, task: &mut HostTask, stat: &Stat, tid: i32) -> io::Result<()> {
        const RESET_ON_FORK: u64 = 1;
        let attributes = match (self.sources.roots.calls.attributes)(tid) {
            Ok(attributes) => attributes,
            Err(error) if is_gone(&error) => return Err(error),
            Err(error) => {
                self.sources.list("sched_getattr(2)", &error.to_string());
                return Ok(());
            }
        };
        // It changed in between: what it has now is the other reading's business.
        if attributes.policy != stat.policy {
            return Ok(());
        }
        let given = |ns: u64| (ns != 0).then_some(ns);
        task.reset_on_fork = (attributes.flags & RESET_ON_FORK != 0).then_some(true);
        match task.policy {
            Some(SchedPolicy::Deadline) => {
                task.runtime_ns = given(attributes.runtime_ns);
                task.deadline_ns = given(attributes.deadline_ns);
                task.period_ns = given(attributes.period_ns);
            }
            Some(SchedPolicy::Other | SchedPolicy::Batch | SchedPolicy::Idle) => {
                task.runtime_ns = given(attributes.runtime_ns);
                if let Some(slice) = task.runtime_ns.filter(|_| !stat.is_kernel_thread) {
                    *self.slices.entry(slice).or_default() += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `None` when the task may run everywhere: thousands can, on hundreds of CPUs.
    fn affinity(&mut self, folder: &str, tid: i32) -> io::Result<Option<Vec<u32>>> {
        let cpus = match (self.sources.roots.calls.affinity)(tid) {
            Ok(cpus) => cpus,
            Err(error) if is_gone(&error) => return Err(error),
            Err(_) => {
                let path = format!("{folder}/status");
                let status = self.sources.try_bytes(&path)?;
                let status = String::from_utf8_lossy(&status);
                let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
                let Some(mut cpus) = list.and_then(super::list::cpu_list) else {
                    self.sources.list("/proc/PID/task/TID/status", "has no Cpus_allowed_list");
                    return Ok(None);
                };
                // Unlike the call it names CPUs that are offline, or do not exist.
                if let Some(online) = &self.machine.cpus {
                    cpus.retain(|cpu| online.binary_search(cpu).is_ok());
                }
                cpus
            }
        };
        Ok(Some(cpus).filter(|c| Some(c) != self.machine.cpus.as_ref()))
    }

    fn cgroup(&mut self, task: &mut HostTask, folder: &str) -> io::Result<()> {
        let text = match self.short_file(&format!("{folder}/cgroup")) {
            Ok(text) => String::from_utf8_lossy(text).into_owned(),
            // A kernel without cgroups has no such file, nor has a task that is gone: its
            // other files, read just before, tell the two apart.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(error),
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound && !self.sources.resolve(folder).exists()
                {
                    return Err(error);
                }
                self.sources.list("/proc/PID/task/TID/cgroup", &error.to_string());
                return Ok(());
            }
        };
        let Some((version, path)) = cgroup::of_task(&text) else {
            self.sources.list("/proc/PID/task/TID/cgroup", &not_understood(&text));
            return Ok(());
        };
        let effective = self.groups.effective(&mut self.sources, version, path);
        task.cgroup_full = (path != effective).then(|| path.to_owned());
        task.cgroup = Some(effective);
        Ok(())
    }

    fn finish(mut self) -> TaskReading {
        let most = self.slices.iter().max_by_key(|(_, count)| **count);
        let common = most.map(|(slice, _)| *slice);
        let base = self.machine.base_slice_ns.or(common);
        let mut reading = self.reading;
        for task in &mut reading.tasks {
            let is_fair = task.policy != Some(SchedPolicy::Deadline);
            task.runtime_ns =
                task.runtime_ns.filter(|slice| !is_fair || is_custom_slice(*slice, base));
        }
        reading.tasks.sort_by_key(|t| t.tid);
        reading.cgroups = self.groups.into_groups();
        reading.common_slice_ns = common;
        reading.unreadable = std::mem::take(&mut self.sources.unreadable);
        reading
    }
}

/// Whether an error says that the thread has ended.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Policy, nice level and realtime priority.
fn policy(task: &mut HostTask, stat: &Stat) {
    let known = match stat.policy {
        0 => Some(SchedPolicy::Other),
        1 => Some(SchedPolicy::Fifo),
        2 => Some(SchedPolicy::Rr),
        3 => Some(SchedPolicy::Batch),
        5 => Some(SchedPolicy::Idle),
        6 => Some(SchedPolicy::Deadline),
        _ => None,
    };
    // To user space the stop class looks like the highest FIFO priority.
    let is_stop = stat.is_kernel_thread
        && known == Some(SchedPolicy::Fifo)
        && stat.rt_priority == 99
        && stat.comm.starts_with("migration/");
    task.policy = if is_stop { Some(SchedPolicy::Stop) } else { known };
    task.policy_number = known.is_none().then_some(stat.policy);
    task.nice = Some(stat.nice);
    let is_realtime = matches!(task.policy, Some(SchedPolicy::Fifo | SchedPolicy::Rr));
    task.rt_priority = is_realtime.then_some(stat.rt_priority);
}

/// Whether a fair task's slice is one that it asked for.
///
/// A task that sleeps since the base slice was last scaled still shows the older value, until it
/// runs: the kernel's default, times 1 to 4 for the CPUs then online, is nobody's wish.
///
/// # Source
///
/// `sysctl_sched_base_slice`, `get_update_sysctl_factor` and `update_deadline` in
/// `kernel/sched/fair.c`: 0.75 ms up to Linux 6.14, then 0.70 ms.
///
/// # Deviation
///
/// A task that asks for exactly such a multiple counts as one that did not ask.
fn is_custom_slice(slice: u64, base: Option<u64>) -> bool {
    let is_default =
        |unscaled: u64| slice.is_multiple_of(unscaled) && (1..=4).contains(&(slice / unscaled));
    Some(slice) != base && !is_default(700_000) && !is_default(750_000)
}

#[cfg(test)]
mod tests {
    use super::is_custom_slice;

    #[test]
    fn default_slices_of_earlier_boot_stages_are_not_custom() {
        for slice in [700_000, 1_400_000, 2_800_000, 3_000_000, 5_000_000] {
            assert!(!is_custom_slice(slice, Some(5_000_000)), "{slice}");
        }
        for slice in [100_000, 1_000_000, 3_500_000, 100_000_000] {
            assert!(is_custom_slice(slice, Some(2_800_000)), "{slice}");
        }
    }
}
