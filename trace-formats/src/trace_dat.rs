//! trace-cmd's trace.dat, versions 6 and 7.

mod header;
mod inflate;

use crate::bytes::Endian;
use crate::layout::Layout;
use crate::merge::merge;
use crate::ring_buffer::{Missed, Page, PageLayout};
use crate::tracepoint::Tracepoints;
use crate::{CpuId, Error, Event, FormatInfo, Lost, Names, Oddity, Recording, Timestamp};
use header::{CpuData, Header};

/// The first bytes of every trace.dat.
pub(crate) const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Reads a whole file.
///
/// # Errors
///
/// When the headers cannot be read. Damage behind them becomes oddities.
pub(crate) fn read(bytes: &[u8]) -> Result<Recording, Error> {
    let mut tracepoints = Tracepoints::default();
    let header = header::read(bytes, &mut tracepoints)?;
    tracepoints.seal();
    let mut out = Recording {
        format: Some(FormatInfo {
            name: header.format_name(),
            clock: header.clock.clone(),
            kernel: header.kernel.clone(),
        }),
        oddities: header.oddities.clone(),
        ..Recording::default()
    };
    let page = PageLayout::parse(&header.header_page, header.long_size, header.endian);
    let mut streams = Vec::new();
    for cpu in &header.cpus {
        out.cpus.push(cpu.cpu);
        streams.push(read_cpu(bytes, &header, cpu, &page, &mut tracepoints, &mut out));
    }
    out.cpus.sort_unstable();
    out.cpus.dedup();
    let (events, backwards) = merge(streams);
    if backwards > 0 {
        out.oddities.push(Oddity {
            place: "in the CPU buffers".to_owned(),
            text: format!("the clock runs backwards {backwards} times; events were reordered"),
        });
    }
    out.events = events;
    out.counts = tracepoints.counts();
    Ok(out)
}

/// One CPU's pages.
fn read_cpu(
    bytes: &[u8],
    header: &Header,
    cpu: &CpuData,
    layout: &PageLayout,
    tracepoints: &mut Tracepoints,
    out: &mut Recording,
) -> Vec<Event> {
    let place = format!("in the data of CPU {}, from byte {}", cpu.cpu.0, cpu.offset);
    let (data, oddity) = inflate::cpu_data(bytes, header, cpu);
    out.oddities.extend(oddity.map(|text| Oddity { place: place.clone(), text }));
    let mut stream = Stream {
        cpu: cpu.cpu,
        endian: header.endian,
        last: None,
        unknown: 0,
        events: Vec::with_capacity(data.len() / 40),
    };
    let page_size = header.page_size.max(64);
    let mut cut_pages = 0;
    for page in data.chunks(page_size) {
        let Some(mut page) = Page::open(page, layout) else {
            cut_pages += 1;
            continue;
        };
        let missed = page.missed;
        stream.read_page(&mut page, missed, tracepoints, out);
        cut_pages += u64::from(page.is_cut);
    }
    if cut_pages > 0 {
        let text = format!("{cut_pages} pages end early; what they held before that was read");
        out.oddities.push(Oddity { place: place.clone(), text });
    }
    if stream.unknown > 0 {
        let text = format!("{} records of kinds that the file does not describe", stream.unknown);
        *out.counts.entry("unknown".to_owned()).or_insert(0) += stream.unknown;
        out.oddities.push(Oddity { place, text });
    }
    stream.events
}

struct Stream {
    cpu: CpuId,
    endian: Endian,
    last: Option<Timestamp>,
    unknown: u64,
    events: Vec<Event>,
}

impl Stream {
    fn read_page(
        &mut self,
        page: &mut Page<'_>,
        missed: Missed,
        tracepoints: &mut Tracepoints,
        out: &mut Recording,
    ) {
        let mut first = true;
        for record in page {
            let at = Timestamp(record.at);
            if std::mem::take(&mut first) && missed != Missed::Nothing {
                let events = match missed {
                    Missed::Counted(n) => Some(n),
                    _ => None,
                };
                let after = self.last.unwrap_or(at);
                out.lost.push(Lost { cpu: Some(self.cpu), events, after, before: at });
            }
            self.last = Some(at);
            let span = out.span.get_or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
            let names: &mut Names = &mut out.names;
            match tracepoints.event(record.data, self.endian, at, self.cpu, names) {
                Some(event) => self.events.push(event),
                None if tracepoints.kind(record.data, self.endian).is_none() => self.unknown += 1,
                None => {}
            }
        }
    }
}

/// Adds every event format of one system's files.
fn add_format(tracepoints: &mut Tracepoints, text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    tracepoints.add(&text);
    Layout::parse(&text).is_some()
}
