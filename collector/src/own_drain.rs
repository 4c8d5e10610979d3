//! Turns what our programs write into pages beside those of the kernel: one thread for all CPUs.

use crate::bpf::RecordRing;
use crate::control::Stop;
use crate::drain::Setting;
use crate::own_events::OwnEvents;
use crate::page::PageWriter;
use crate::perf_event;
use crate::priority::Urgency;
use crate::stream::{Lost, Stream};
use anyhow::Result;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// One CPU's records of ours, on their way to pages.
pub(crate) struct OwnCpu {
    ring: RecordRing,
    writer: PageWriter,
    pub stream: Stream,
    /// Records written.
    pub records: u64,
    /// Records lost, as far as a later record has said so.
    told_lost: u64,
    /// All that were lost, known at the end.
    dropped: u64,
    newest: u64,
}

impl OwnCpu {
    pub(crate) fn new(ring: RecordRing, stream: Stream) -> Self {
        let writer = PageWriter::new();
        Self { ring, writer, stream, records: 0, told_lost: 0, dropped: 0, newest: 0 }
    }

    fn empty(&mut self, own: &OwnEvents) -> Result<u64> {
        let Self { ring, writer, stream, newest, records, told_lost, .. } = self;
        let mut result = Ok(());
        let mut full = |page: &[u8]| {
            if result.is_ok() {
                result = stream.push(page);
            }
        };
        let bytes = ring.read(|record| {
            let Some((_, bytes)) = own.record(&record) else { return };
            if record.lost > *told_lost {
                writer.lose(record.lost - *told_lost, &mut full);
                *told_lost = record.lost;
            }
            writer.push(record.at, bytes, &mut full);
            (*newest, *records) = (record.at, *records + 1);
        });
        result.map(|()| bytes)
    }

    /// What tracefs would say of the ring, for the file.
    pub(crate) fn stats(&self) -> String {
        format!(
            "CPU: {}\nentries: 0\noverrun: 0\ncommit overrun: 0\n\
             dropped events: {}\nread events: {}\n",
            self.stream.cpu, self.dropped, self.records
        )
    }

    /// What was lost after the last record that fitted, no record tells.
    fn tell_rest(&mut self, dropped: &[u64]) {
        let cpu = self.stream.cpu;
        self.dropped = dropped.get(cpu as usize).copied().unwrap_or(0);
        let untold = self.dropped.checked_sub(self.told_lost).filter(|untold| *untold > 0);
        let (after, before) = (self.newest, perf_event::now().max(self.newest));
        self.stream.lost.extend(untold.map(|records| Lost {
            cpu,
            records: Some(records),
            after,
            before,
        }));
    }

    fn flush(&mut self) -> Result<()> {
        let Self { writer, stream, .. } = self;
        let mut result = Ok(());
        writer.close(|page| result = stream.push(page));
        result?;
        stream.flush()
    }
}

/// Starts the thread; it ends when no more events come in.
///
/// # Errors
///
/// When no thread can be started.
pub(crate) fn spawn(
    mut cpus: Vec<OwnCpu>,
    own: Arc<OwnEvents>,
    setting: Arc<Setting>,
) -> std::io::Result<JoinHandle<(Vec<OwnCpu>, Result<()>)>> {
    std::thread::Builder::new().name("drain/own".to_owned()).spawn(move || {
        let result = run(&mut cpus, &own, &setting);
        if result.is_err() {
            setting.control.stop(Stop::Failed);
        }
        (cpus, result)
    })
}

fn run(cpus: &mut [OwnCpu], own: &OwnEvents, setting: &Setting) -> Result<()> {
    let mut urgency = Urgency::at_start(setting.realtime);
    urgency.apply()?;
    let mut last = Instant::now();
    loop {
        let is_last = setting.control.is_closed();
        let mut most = 0;
        for cpu in cpus.iter_mut() {
            most = most.max(cpu.empty(own)?);
        }
        let pause = setting.next_pause(most, last.elapsed(), setting.own_kib);
        // As in the drains of the kernel's buffers.
        let is_late = is_last || setting.flight || pause == setting.longest_pause();
        for cpu in cpus.iter_mut().filter(|cpu| is_late || cpu.stream.is_old()) {
            cpu.flush()?;
        }
        if is_last {
            let dropped = own.dropped()?;
            cpus.iter_mut().for_each(|cpu| cpu.tell_rest(&dropped));
            return Ok(());
        }
        let next = urgency.for_fill(most, setting.own_kib);
        if next != urgency {
            urgency = next;
            urgency.apply()?;
        }
        last = Instant::now();
        setting.control.pause(pause);
    }
}
