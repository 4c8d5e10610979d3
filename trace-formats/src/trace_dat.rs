//! trace-cmd's trace.dat, versions 6 and 7.

mod header;
mod inflate;
mod losses;
mod v6;
mod v7;

use crate::limits::Limits;
use crate::merge::merge;
use crate::ring_buffer::{Page, PageLayout};
use crate::tracepoint::{Decoded, Tracepoints};
use crate::{CpuId, Error, Event, FormatInfo, Oddity, Recording, SchedEvent, Tid, Timestamp};
use header::{Buffer, CpuData, Header};
use losses::Losses;

/// The first bytes of every trace.dat.
pub(crate) const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Reads a whole file.
///
/// # Errors
///
/// When the headers cannot be read. Damage behind them becomes oddities.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Recording, Error> {
    let mut tracepoints = Tracepoints::default();
    let mut header = header::read(bytes, &mut tracepoints, limits)?;
    tracepoints.seal();
    let mut out = Recording {
        format: Some(FormatInfo {
            name: header.format_name(),
            clock: header.clock.take(),
            kernel: header.kernel.take(),
        }),
        oddities: std::mem::take(&mut header.oddities),
        ..Recording::default()
    };
    let layout = PageLayout::parse(&header.header_page, header.long_size, header.endian);
    let mut streams = Vec::new();
    let mut losses = Losses::default();
    for cpu in &header.cpus {
        let reader = CpuReader { bytes, header: &header, layout: &layout, cpu };
        let stream = reader.read(&mut tracepoints, &mut out, &mut losses);
        out.cpus.push(stream.first().map_or(cpu.cpu, |event| event.cpu));
        streams.push(stream);
    }
    out.cpus.sort_unstable();
    out.cpus.dedup();
    out.lost = losses.finish(&header.stats, out.span);
    let (events, backwards) = merge(streams);
    if backwards > 0 {
        out.oddities.push(Oddity {
            place: "in the CPU buffers".to_owned(),
            text: format!("time runs backwards {backwards} times; events were reordered"),
        });
    }
    out.events = events;
    out.counts.extend(tracepoints.counts());
    Ok(out)
}

/// What is needed to read one CPU's pages.
struct CpuReader<'h> {
    bytes: &'h [u8],
    header: &'h Header,
    layout: &'h PageLayout,
    cpu: &'h CpuData,
}

/// Records of a CPU that are not events.
#[derive(Default)]
struct Tally {
    unknown: u64,
    damaged: u64,
    cut_pages: u64,
}

impl CpuReader<'_> {
    fn read(
        &self,
        tracepoints: &mut Tracepoints,
        out: &mut Recording,
        losses: &mut Losses,
    ) -> Vec<Event> {
        let (data, damage) = inflate::cpu_data(self.bytes, self.header, self.cpu);
        let mut tally = Tally::default();
        let mut events = Vec::with_capacity(data.len() / 48);
        for page in data.chunks(self.cpu.page_size) {
            let Some(mut page) = Page::open(page, self.layout) else {
                tally.cut_pages += 1;
                continue;
            };
            losses.page((self.cpu.buffer, self.cpu.cpu), page.missed);
            self.read_page(&mut page, tracepoints, out, losses, |decoded| match decoded {
                Decoded::Event(event) => events.push(event),
                Decoded::Counted => {}
                Decoded::Damaged => tally.damaged += 1,
                Decoded::Unknown => tally.unknown += 1,
            });
            tally.cut_pages += u64::from(page.is_cut);
        }
        if tally.unknown > 0 {
            *out.counts.entry("unknown".to_owned()).or_insert(0) += tally.unknown;
        }
        self.correct_cpu(&mut events, out);
        self.tell(damage, &tally, out);
        events
    }

    fn read_page(
        &self,
        page: &mut Page<'_>,
        tracepoints: &mut Tracepoints,
        out: &mut Recording,
        losses: &mut Losses,
        mut take: impl FnMut(Decoded),
    ) {
        let endian = self.header.endian;
        for record in page {
            let at = Timestamp(self.header.conversion.nanos(record.at));
            losses.record((self.cpu.buffer, self.cpu.cpu), at);
            let span = out.span.get_or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
            take(tracepoints.decode(record.data, endian, at, self.cpu.cpu, &mut out.names));
        }
    }

    /// In a cut file, a buffer's CPU is known by its place only; its idle task knows better.
    fn correct_cpu(&self, events: &mut [Event], out: &mut Recording) {
        let idle = events.iter().find_map(|event| match event.kind {
            SchedEvent::Switch { prev: Tid::IDLE, prev_comm, .. } => Some(prev_comm),
            SchedEvent::Switch { next: Tid::IDLE, next_comm, .. } => Some(next_comm),
            _ => None,
        });
        let own = idle.and_then(|comm| out.names.text(comm).strip_prefix("swapper/")?.parse().ok());
        let Some(own) = own.map(CpuId).filter(|own| *own != self.cpu.cpu) else { return };
        for event in events {
            event.cpu = own;
        }
        let (place, own) = (self.place(), own.0);
        let text = format!("these pages hold the idle task of CPU {own}: they were read as its");
        out.oddities.push(Oddity { place, text });
    }

    fn place(&self) -> String {
        let of = match self.cpu.buffer {
            Buffer::Top => "the buffer",
            Buffer::Owners => "the buffer `resched`",
        };
        format!("in {of} of CPU {}, from byte {}", self.cpu.cpu.0, self.cpu.offset)
    }

    fn tell(&self, damage: Option<String>, tally: &Tally, out: &mut Recording) {
        let mut odd = |text| out.oddities.push(Oddity { place: self.place(), text });
        if let Some(damage) = damage {
            odd(damage);
        }
        for (count, what) in [
            (tally.cut_pages, "pages end early; what they held before that was read"),
            (
                tally.unknown,
                "records of kinds that the file does not describe; they are only counted",
            ),
            (tally.damaged, "records hold less than their format says; they are only counted"),
        ] {
            if count > 0 {
                odd(format!("{count} {what}"));
            }
        }
    }
}
