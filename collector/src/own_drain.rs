//! Turns what our programs write into pages beside those of the kernel: one thread for all CPUs.

use crate::control::Stop;
use crate::drain::Setting;
use crate::own_events::OwnEvents;
use crate::page::PageWriter;
use crate::perf_engine::{LOST, SAMPLE, loss, walk};
use crate::perf_event::{self, PerfEvent, Ring};
use crate::priority::Urgency;
use crate::stream::Stream;
use anyhow::Result;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// One CPU's records of ours, on their way to pages.
pub(crate) struct OwnCpu {
    event: PerfEvent,
    ring: Ring,
    writer: PageWriter,
    pub stream: Stream,
    /// Records written, and lost as far as the buffer has said so.
    pub records: u64,
    told_lost: u64,
    newest: u64,
}

impl OwnCpu {
    pub(crate) fn new(event: PerfEvent, kib: u64, stream: Stream) -> Result<Self> {
        let ring = Ring::map(&event, kib)?;
        let writer = PageWriter::new();
        Ok(Self { event, ring, writer, stream, records: 0, told_lost: 0, newest: 0 })
    }

    pub(crate) fn enable(&self) -> Result<()> {
        self.event.enable()
    }

    /// Records that the kernel lost and the buffer has not told.
    pub(crate) fn untold(&self) -> u64 {
        self.event.lost().unwrap_or(self.told_lost).saturating_sub(self.told_lost)
    }

    /// Records that the kernel lost.
    pub(crate) fn lost(&self) -> u64 {
        self.told_lost + self.untold()
    }

    fn empty(&mut self, own: &OwnEvents) -> Result<u64> {
        let Self { ring, writer, stream, newest, records, told_lost, .. } = self;
        let parts = ring.records();
        let length = parts.0.len() + parts.1.len();
        let mut result = Ok(());
        let mut full = |page: &[u8]| {
            if result.is_ok() {
                result = stream.push(page);
            }
        };
        walk(parts, |kind, record| match kind {
            SAMPLE => {
                let record = record();
                let Some((at, raw)) = perf_event::sample(&record) else { return };
                let Some((_, record)) = own.record(raw) else { return };
                writer.push(at, record, &mut full);
                (*newest, *records) = (at, *records + 1);
            }
            LOST => {
                let lost = loss(&record(), *newest).and_then(|lost| lost.records).unwrap_or(0);
                *told_lost += lost;
                writer.lose(lost, &mut full);
            }
            _ => {}
        });
        result?;
        ring.release(length);
        Ok(length as u64)
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
            if is_last || setting.flight || cpu.stream.is_old() {
                cpu.flush()?;
            }
        }
        if is_last {
            return Ok(());
        }
        let next = urgency.for_fill(most, setting.own_kib);
        if next != urgency {
            urgency = next;
            urgency.apply()?;
        }
        let pause = setting.next_pause(most, last.elapsed(), setting.own_kib);
        last = Instant::now();
        setting.control.pause(pause);
    }
}
