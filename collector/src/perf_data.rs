//! Writes perf.data: what `perf script` reads.
//!
//! A file is a header, the events' attributes, descriptions ("features"), the records, and
//! behind them a table of where the descriptions are. perf puts the descriptions behind the
//! records; here they stand in front, so that only the table is missing from an unfinished file.

use crate::folder::{Access, Folder};
use crate::perf_event::ATTR_SIZE;
use crate::refusal::Refusal;
use crate::request::Compression;
use crate::spool::content;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

const HEADER_SIZE: u64 = 104;
/// Where the header keeps the size of the records.
const DATA_SIZE_AT: u64 = 48;

/// Kinds of records that are written here and not by the kernel.
mod kind {
    pub(super) const COMM: u32 = 3;
    pub(super) const LOST_SAMPLES: u32 = 13;
    pub(super) const FINISHED_ROUND: u32 = 68;
    pub(super) const ID_INDEX: u32 = 69;
    pub(super) const COMPRESSED: u32 = 81;
}

/// Bits of the descriptions that are written.
mod feature {
    pub(super) const TRACING_DATA: u32 = 1;
    pub(super) const HOSTNAME: u32 = 3;
    pub(super) const RELEASE: u32 = 4;
    pub(super) const VERSION: u32 = 5;
    pub(super) const ARCH: u32 = 6;
    pub(super) const CPUS: u32 = 7;
    pub(super) const COMMAND: u32 = 11;
    pub(super) const EVENTS: u32 = 12;
    pub(super) const CLOCK: u32 = 23;
    pub(super) const COMPRESSED: u32 = 27;
}

/// An event as the file describes it.
#[derive(Clone, Debug)]
pub(crate) struct FileEvent {
    /// `system:name`.
    pub name: String,
    /// Its attribute's bytes.
    pub attribute: Vec<u8>,
    /// The number of its samples on each CPU.
    pub ids: Vec<CpuEventId>,
}

/// The number of an event's samples on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuEventId {
    pub cpu: u32,
    pub id: u64,
}

/// What a file says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub events: Vec<FileEvent>,
    pub tracing_data: Vec<u8>,
    pub host: String,
    pub release: String,
    pub arch: String,
    pub n_cpus: u32,
    pub command: Vec<String>,
    pub buffer_bytes: u32,
}

/// A text as perf keeps it: its padded length, the text, padding.
fn text(text: &str) -> Result<Vec<u8>> {
    let padded = (text.len() + 1).next_multiple_of(64);
    let mut out = u32::try_from(padded)?.to_ne_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out.resize(4 + padded, 0);
    Ok(out)
}

fn event_descriptions(events: &[FileEvent]) -> Result<Vec<u8>> {
    let mut out = u32::try_from(events.len())?.to_ne_bytes().to_vec();
    out.extend_from_slice(&ATTR_SIZE.to_ne_bytes());
    for event in events {
        out.extend_from_slice(&event.attribute);
        out.extend_from_slice(&u32::try_from(event.ids.len())?.to_ne_bytes());
        out.extend_from_slice(&text(&event.name)?);
        event.ids.iter().for_each(|id| out.extend_from_slice(&id.id.to_ne_bytes()));
    }
    Ok(out)
}

fn features(d: &Description, compression: Compression) -> Result<Vec<(u32, Vec<u8>)>> {
    let mut command = u32::try_from(d.command.len())?.to_ne_bytes().to_vec();
    for word in &d.command {
        command.extend_from_slice(&text(word)?);
    }
    let mut features = vec![
        (feature::TRACING_DATA, d.tracing_data.clone()),
        (feature::HOSTNAME, text(&d.host)?),
        (feature::RELEASE, text(&d.release)?),
        (feature::VERSION, text(concat!("resched ", env!("CARGO_PKG_VERSION")))?),
        (feature::ARCH, text(&d.arch)?),
        (feature::CPUS, [d.n_cpus.to_ne_bytes(), d.n_cpus.to_ne_bytes()].concat()),
        (feature::COMMAND, command),
        (feature::EVENTS, event_descriptions(&d.events)?),
        (feature::CLOCK, 1u64.to_ne_bytes().to_vec()),
    ];
    if let Compression::Zstd(level) = compression {
        let level = u32::try_from(level.max(0))?;
        // Version, zstd, level, ratio, size of a buffer.
        let words = [1, 1, level, 1, d.buffer_bytes];
        features.push((feature::COMPRESSED, words.map(u32::to_ne_bytes).concat()));
    }
    Ok(features)
}

/// Where the records of the file begin, and the table that goes behind them.
struct Plan {
    front: Vec<u8>,
    table: Vec<u8>,
}

fn front(d: &Description, compression: Compression) -> Result<Plan> {
    let entry = u64::from(ATTR_SIZE) + 16;
    let attrs_size = entry * d.events.len() as u64;
    let mut ids = Vec::new();
    let mut attrs = Vec::new();
    for event in &d.events {
        let at = HEADER_SIZE + attrs_size + ids.len() as u64;
        attrs.extend_from_slice(&event.attribute);
        attrs.extend_from_slice(&at.to_ne_bytes());
        attrs.extend_from_slice(&(event.ids.len() as u64 * 8).to_ne_bytes());
        event.ids.iter().for_each(|id| ids.extend_from_slice(&id.id.to_ne_bytes()));
    }
    let mut rest = [attrs, ids].concat();
    let mut table = Vec::new();
    let mut bits = [0u64; 4];
    for (bit, content) in features(d, compression)? {
        let at = HEADER_SIZE + rest.len() as u64;
        table.extend_from_slice(&at.to_ne_bytes());
        table.extend_from_slice(&(content.len() as u64).to_ne_bytes());
        rest.extend_from_slice(&content);
        rest.resize(rest.len().next_multiple_of(8), 0);
        bits[bit as usize / 64] |= 1 << (bit % 64);
    }
    let data_at = HEADER_SIZE + rest.len() as u64;
    let mut front = b"PERFILE2".to_vec();
    for word in [HEADER_SIZE, entry, HEADER_SIZE, attrs_size, data_at, 0, 0, 0] {
        front.extend_from_slice(&word.to_ne_bytes());
    }
    bits.iter().for_each(|word| front.extend_from_slice(&word.to_ne_bytes()));
    front.extend_from_slice(&rest);
    Ok(Plan { front, table })
}

/// A file that grows.
pub(crate) struct Writer {
    file: File,
    packer: Option<Encoder<'static>>,
    packed: Vec<u8>,
    pub written: u64,
}

impl Writer {
    /// Begins a file, and beside it the table that [`close`] puts behind the records.
    pub(crate) fn create(
        folder: &Folder,
        name: &str,
        d: &Description,
        compression: Compression,
    ) -> Result<Self> {
        let Plan { front, table } = front(d, compression)?;
        let create = |name: &str, bytes: &[u8]| {
            let mut file = folder.begin(name)?;
            match file.write_all(bytes) {
                Ok(()) => Ok(file),
                Err(e) => Err(Refusal::new(&folder.path(name), "written", "record into it", e)),
            }
        };
        create(&table_of(name), &table)?;
        let file = create(name, &front)?;
        let packer = match compression {
            Compression::None => None,
            Compression::Zstd(level) => Some(Encoder::new(level).context("zstd")?),
        };
        let mut writer = Self { file, packer, packed: Vec::new(), written: 0 };
        writer.plain(&id_index(&d.events)?)?;
        Ok(writer)
    }

    /// Appends records that are not packed.
    pub(crate) fn plain(&mut self, records: &[u8]) -> Result<()> {
        self.file
            .write_all(records)
            .context("the recording cannot be written (is the disk full?)")?;
        self.written += records.len() as u64;
        Ok(())
    }

    /// Appends records as the kernel wrote them; a record may continue in the next call.
    pub(crate) fn records(&mut self, records: &[u8]) -> Result<()> {
        let Some(packer) = &mut self.packer else { return self.plain(records) };
        self.packed.clear();
        let mut input = InBuffer::around(records);
        let mut is_flushed = false;
        while !is_flushed {
            let head = self.packed.len();
            // A record's size has 16 bits.
            self.packed.resize(head + 65_528, 0);
            let mut room = OutBuffer::around(&mut self.packed[head + 8..]);
            if input.pos() < records.len() {
                packer.run(&mut input, &mut room).context("zstd")?;
            }
            if input.pos() == records.len() {
                is_flushed = packer.flush(&mut room).context("zstd")? == 0;
            }
            let size = room.pos();
            self.packed.truncate(if size == 0 { head } else { head + 8 + size });
            if size > 0 {
                let header = record_header(kind::COMPRESSED, size)?;
                self.packed[head..head + 8].copy_from_slice(&header);
            }
        }
        let packed = std::mem::take(&mut self.packed);
        let result = self.plain(&packed);
        self.packed = packed;
        result
    }

    /// Says that all buffers were visited: what comes later is not older than the visit before.
    pub(crate) fn round(&mut self) -> Result<()> {
        self.plain(&record_header(kind::FINISHED_ROUND, 0)?)
    }

    /// Says how many samples of an event were lost on a CPU.
    pub(crate) fn lost(&mut self, lost: u64, event: CpuEventId) -> Result<()> {
        let mut record = record_header(kind::LOST_SAMPLES, 8 + SAMPLE_ID)?.to_vec();
        record.extend_from_slice(&lost.to_ne_bytes());
        record.extend_from_slice(&sample_id(event));
        self.plain(&record)
    }

    /// Names a task, as if it had taken its name before all events.
    pub(crate) fn task(&mut self, tid: u32, tgid: u32, name: &str) -> Result<()> {
        // Names that are longer than the kernel's belong to its own workers.
        let name = name.as_bytes().get(..15).unwrap_or(name.as_bytes());
        let padded = (name.len() + 1).next_multiple_of(8);
        let mut record = record_header(kind::COMM, 8 + padded + SAMPLE_ID)?.to_vec();
        record.extend_from_slice(&tgid.to_ne_bytes());
        record.extend_from_slice(&tid.to_ne_bytes());
        record.extend_from_slice(name);
        record.resize(16 + padded, 0);
        record.extend_from_slice(&sample_id(CpuEventId { cpu: 0, id: 0 }));
        self.plain(&record)
    }
}

/// Task, time, CPU, id: what stands behind every record that is no sample.
const SAMPLE_ID: usize = 32;

fn sample_id(event: CpuEventId) -> [u8; SAMPLE_ID] {
    let mut out = [0; SAMPLE_ID];
    out[16..20].copy_from_slice(&event.cpu.to_ne_bytes());
    out[24..].copy_from_slice(&event.id.to_ne_bytes());
    out
}

fn record_header(kind: u32, body: usize) -> Result<[u8; 8]> {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&kind.to_ne_bytes());
    header[6..].copy_from_slice(&u16::try_from(body + 8)?.to_ne_bytes());
    Ok(header)
}

/// Which CPU each id counts on.
fn id_index(events: &[FileEvent]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let ids: Vec<CpuEventId> = events.iter().flat_map(|event| event.ids.iter().copied()).collect();
    for part in ids.chunks(2000) {
        out.extend_from_slice(&record_header(kind::ID_INDEX, 8 + part.len() * 32)?);
        out.extend_from_slice(&(part.len() as u64).to_ne_bytes());
        for id in part {
            let cpu = u64::from(id.cpu);
            for word in [id.id, cpu, cpu, u64::MAX] {
                out.extend_from_slice(&word.to_ne_bytes());
            }
        }
    }
    Ok(out)
}

/// Finishes a file: cuts half a record off its end, states its size, and adds the table.
///
/// # Errors
///
/// When it cannot be read or written. Returns how many bytes were cut off.
pub(crate) fn close(folder: &Folder, name: &str) -> Result<u64> {
    let named = || folder.path(name).display().to_string();
    let table = content(folder.open(&table_of(name), Access::Read)?)
        .with_context(|| folder.path(&table_of(name)).display().to_string())?;
    let mut file = folder.open(name, Access::Change)?;
    let mut word = [0; 8];
    file.seek(SeekFrom::Start(DATA_SIZE_AT - 8))?;
    file.read_exact(&mut word).with_context(named)?;
    let start = u64::from_ne_bytes(word);
    let end = file.seek(SeekFrom::End(0))?;
    let whole = whole_records(&file, start, end).with_context(named)?;
    let mut complete = || {
        file.set_len(start + whole)?;
        file.seek(SeekFrom::Start(start + whole))?;
        file.write_all(&table)?;
        file.seek(SeekFrom::Start(DATA_SIZE_AT))?;
        file.write_all(&whole.to_ne_bytes())
    };
    complete().map_err(|error| {
        Refusal::new(&folder.path(name), "written", "put the recording together", error)
    })?;
    Ok(end - start - whole)
}

/// The file beside the records that holds their table.
fn table_of(name: &str) -> String {
    format!("{name}.table")
}

/// Bytes of whole records from `start`.
fn whole_records(file: &File, start: u64, end: u64) -> Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    reader.seek(SeekFrom::Start(start))?;
    let mut at = start;
    while at + 8 <= end {
        let mut header = [0; 8];
        reader.read_exact(&mut header)?;
        let size = u64::from(u16::from_ne_bytes([header[6], header[7]]));
        if size < 8 || at + size > end {
            break;
        }
        reader.seek_relative(i64::try_from(size)? - 8)?;
        at += size;
    }
    Ok(at - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_event::{Tasks, attribute, attribute_bytes};

    fn sample(time: u64, cpu: u32, id: u64) -> Vec<u8> {
        let mut record = vec![9, 0, 0, 0, 0, 0, 72, 0];
        for word in [id, 5 << 32 | 5, time, u64::from(cpu)] {
            record.extend_from_slice(&word.to_ne_bytes());
        }
        record.extend_from_slice(&28u32.to_ne_bytes());
        record.extend_from_slice(&[7, 0, 0, 0, 5, 0, 0, 0, 9]);
        record.resize(72, 0);
        record
    }

    fn description() -> Description {
        let event = |name: &str, id: u16, ids: &[u64]| FileEvent {
            name: name.to_owned(),
            attribute: attribute_bytes(&attribute(id, Tasks::Untold)),
            ids: (0..).zip(ids).map(|(cpu, id)| CpuEventId { cpu, id: *id }).collect(),
        };
        Description {
            events: vec![event("sched:sched_switch", 7, &[40, 41]), event("a:b", 8, &[50, 51])],
            tracing_data: Vec::new(),
            host: "box".to_owned(),
            release: "6.18.0".to_owned(),
            arch: "x86_64".to_owned(),
            n_cpus: 2,
            command: vec!["resched".to_owned(), "record".to_owned()],
            buffer_bytes: 4096,
        }
    }

    /// Writes 700 samples and a loss, cuts so many bytes off, and closes the file.
    fn write(compression: Compression, cut: u64) -> (Vec<u8>, u64) {
        let name = format!("resched-perf-{}-{compression:?}-{cut}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (around, name) = Folder::around(&path).expect("a folder");
        let folder = around.make(&name, &path).expect("a writable folder");
        let mut writer =
            Writer::create(&folder, "data", &description(), compression).expect("a file");
        writer.task(5, 5, "a name that is longer than the kernel's").expect("written");
        for n in 0..7 {
            let samples: Vec<u8> =
                (0..100).flat_map(|m| sample(n * 1000 + m, 1, 41 + 10 * (m % 2))).collect();
            // The kernel's buffer ends in the middle of a record.
            let (first, second) = samples.split_at(1000);
            writer.records(first).expect("written");
            writer.records(second).expect("written");
            writer.round().expect("written");
        }
        writer.lost(3, CpuEventId { cpu: 1, id: 41 }).expect("written");
        drop(writer);
        let file = folder.open("data", Access::Change).expect("the file");
        let size = file.metadata().expect("a size").len();
        file.set_len(size - cut).expect("cut");
        let lost = close(&folder, "data").expect("closed");
        let bytes = std::fs::read(folder.path("data")).expect("the file");
        around.remove(&name, &folder).expect("removable");
        (bytes, lost)
    }

    #[test]
    fn what_is_written_is_read_back_packed_or_not() {
        for compression in [Compression::None, Compression::Zstd(1)] {
            let (bytes, cut) = write(compression, 0);
            assert_eq!(cut, 0);
            let recording = trace_formats::read(&bytes).expect("a perf.data");
            let counts: Vec<_> = recording.counts.iter().map(|(k, n)| (k.as_str(), *n)).collect();
            assert_eq!(counts, [("b", 350), ("sched_switch", 350)], "{compression:?}");
            assert_eq!(recording.span.map(|(_, end)| end.0), Some(6099));
            let lost: u64 = recording.lost.iter().filter_map(|lost| lost.events).sum();
            assert_eq!(lost, 3);
        }
    }

    #[test]
    fn half_a_record_at_the_end_is_cut_off() {
        // The record of the loss has 48 bytes.
        let (bytes, cut) = write(Compression::None, 20);
        assert_eq!(cut, 28);
        let recording = trace_formats::read(&bytes).expect("a perf.data");
        assert_eq!(recording.counts.values().sum::<u64>(), 700);
        assert!(recording.lost.is_empty());
    }
}
