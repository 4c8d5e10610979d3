//! A tracefs instance of our own: buffers and switches that nobody else uses, gone when we are.

use crate::offer::EventName;
use crate::plan::PlannedEvent;
use crate::refusal::Refusal;
use crate::request::Target;
use crate::tracefs::{Tracefs, read, write};
use std::fs;
use std::path::{Path, PathBuf};

/// One instance; dropping it switches it off and removes it.
#[derive(Debug)]
pub(crate) struct Instance {
    dir: PathBuf,
}

impl Instance {
    /// Makes one, switched off, with the monotonic clock and buffers of this size.
    pub(crate) fn create(tracefs: &Tracefs, name: &str, buffer_kib: u64) -> Result<Self, Refusal> {
        let dir = tracefs.root().join("instances").join(name);
        fs::create_dir(&dir)
            .map_err(|e| Refusal::new(&dir, "created", "have buffers of one's own", e))?;
        let instance = Self { dir };
        instance.set("tracing_on", "0", "begin with empty buffers")?;
        instance.set("trace_clock", "mono", "stamp events with the monotonic clock")?;
        let size = buffer_kib.to_string();
        instance.set("buffer_size_kb", &size, "give each CPU its buffer (`--buffer`)")?;
        // Overwriting is the mode in which the buffer itself says where events were lost.
        instance.set("options/overwrite", "1", "have losses marked in the buffers")?;
        Ok(instance)
    }

    fn set(&self, file: &str, text: &str, purpose: &str) -> Result<(), Refusal> {
        write(&self.dir.join(file), text, purpose)
    }

    /// Records only these threads and what they fork.
    pub(crate) fn follow(&self, target: &Target) -> Result<(), Refusal> {
        let Target::Pids(pids) = target else { return Ok(()) };
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        self.set("options/event-fork", "1", "follow what the threads fork")?;
        self.set("set_event_pid", &pids.join(" "), "record these threads only (`--pid`)")
    }

    /// Switches one of the kernel's events on.
    pub(crate) fn enable(&self, planned: &PlannedEvent) -> Result<(), Refusal> {
        let EventName { system, name } = planned.event;
        let event = Path::new("events").join(system).join(name);
        if let Some(filter) = &planned.filter {
            let path = self.dir.join(&event).join("filter");
            write(&path, filter, "leave out timers that wake no task")?;
        }
        self.enable_path(&event)
    }

    /// Switches a dynamic event on.
    pub(crate) fn enable_dynamic(&self, group: &str, name: &str) -> Result<(), Refusal> {
        self.enable_path(&Path::new("events").join(group).join(name))
    }

    fn enable_path(&self, event: &Path) -> Result<(), Refusal> {
        write(&self.dir.join(event).join("enable"), "1", "record the event")
    }

    /// Lets events in.
    pub(crate) fn start(&self) -> Result<(), Refusal> {
        self.set("tracing_on", "1", "begin recording")
    }

    /// Lets no more events in.
    pub(crate) fn stop(&self) -> Result<(), Refusal> {
        self.set("tracing_on", "0", "end the recording")
    }

    /// The file through which one CPU's pages leave the kernel.
    pub(crate) fn raw_pages(&self, cpu: u32) -> PathBuf {
        self.dir.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"))
    }

    /// What the kernel counted of one CPU's buffer.
    pub(crate) fn stats(&self, cpu: u32) -> Result<String, Refusal> {
        read(&self.dir.join(format!("per_cpu/cpu{cpu}/stats")), "count what was lost")
    }

    /// The text of `trace_clock`.
    pub(crate) fn clock(&self) -> Result<String, Refusal> {
        read(&self.dir.join("trace_clock"), "name the clock in the recording")
    }

    /// CPUs that have a buffer, in ascending order.
    pub(crate) fn cpus(&self) -> Result<Vec<u32>, Refusal> {
        let dir = self.dir.join("per_cpu");
        let entries =
            fs::read_dir(&dir).map_err(|e| Refusal::new(&dir, "read", "know the CPUs", e))?;
        let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("cpu")?.parse().ok();
        let mut cpus: Vec<u32> =
            entries.flatten().filter_map(|entry| number(entry.file_name())).collect();
        cpus.sort_unstable();
        Ok(cpus)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Whatever fails here, the next recording finds the instance and tries again.
        let _ = self.stop();
        let _ = self.set("events/enable", "0", "");
        let _ = fs::remove_dir(&self.dir);
    }
}

/// What the kernel counted of one CPU's buffer, from its `stats` text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCount {
    /// Records overwritten before they were read.
    pub overrun: u64,
    /// Records not written because an interrupted writer was in the way, or the buffer was full.
    pub dropped: u64,
    /// Records that were read.
    pub read: u64,
}

impl KernelCount {
    /// Adds another buffer's count.
    pub(crate) fn add(&mut self, other: Self) {
        self.overrun += other.overrun;
        self.dropped += other.dropped;
        self.read += other.read;
    }

    /// Records that are in no file.
    #[must_use]
    pub fn lost(self) -> u64 {
        self.overrun + self.dropped
    }

    /// Reads `name: number` lines; a line that is not there counts nothing.
    #[must_use]
    pub fn parse(stats: &str) -> Self {
        let mut count = Self::default();
        for (name, value) in stats.lines().filter_map(|line| line.split_once(':')) {
            let Ok(number) = value.trim().parse::<u64>() else { continue };
            match name.trim() {
                "overrun" => count.overrun = number,
                "commit overrun" | "dropped events" => count.dropped += number,
                "read events" => count.read = number,
                _ => {}
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_of_a_buffer() {
        let stats = "entries: 0\noverrun: 7\ncommit overrun: 1\nbytes: 0\noldest event ts:  9.1\n\
                     now ts:  9.2\ndropped events: 2\nread events: 63634\n";
        let expected = KernelCount { overrun: 7, dropped: 3, read: 63634 };
        assert_eq!(KernelCount::parse(stats), expected);
        assert_eq!(KernelCount::parse("overrun: many\n"), KernelCount::default());
    }
}
