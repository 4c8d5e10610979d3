//! What is known while the records are read, and what they add.

use super::attr::{Attr, TRACEPOINT};
use super::bits::{record, record_name};
use super::feature;
use super::losses::Losses;
use super::records::Record;
use crate::bytes::{Cursor, Endian};
use crate::tracepoint::{Decoded, Tracepoints};
use crate::{CpuId, Event, Names, Oddity, Position, Timestamp};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Session {
    pub endian: Endian,
    pub attrs: Vec<Attr>,
    /// Event ids and the index of their attribute, sorted once reading begins.
    ids: Vec<(u64, usize)>,
    ids_are_sorted: bool,
    pub tracepoints: Tracepoints,
    pub kernel: Option<String>,
    pub compression: Option<&'static str>,
    pub names: Names,
    pub streams: BTreeMap<CpuId, Vec<Event>>,
    pub span: Option<(Timestamp, Timestamp)>,
    pub records: BTreeMap<String, u64>,
    record_counts: Vec<u64>,
    pub losses: Losses,
    pub oddities: Vec<Oddity>,
    /// Oddities that can occur with every sample, counted.
    pub tally: BTreeMap<&'static str, u64>,
}

impl Session {
    pub(super) fn new(endian: Endian) -> Self {
        Self {
            endian,
            attrs: Vec::new(),
            ids: Vec::new(),
            ids_are_sorted: true,
            tracepoints: Tracepoints::default(),
            kernel: None,
            compression: None,
            names: Names::default(),
            streams: BTreeMap::new(),
            span: None,
            records: BTreeMap::new(),
            record_counts: vec![0; 96],
            losses: Losses::default(),
            oddities: Vec::new(),
            tally: BTreeMap::new(),
        }
    }

    pub(super) fn odd(&mut self, at: Position, text: String) {
        self.oddities.push(Oddity { place: at.to_string(), text });
    }

    pub(super) fn add_attr(&mut self, attr: Attr, ids: impl Iterator<Item = u64>) {
        let index = self.attrs.len();
        self.ids.extend(ids.map(|id| (id, index)));
        self.ids_are_sorted = false;
        self.attrs.push(attr);
    }

    pub(super) fn attr_of_id(&mut self, id: u64) -> Option<usize> {
        if !self.ids_are_sorted {
            self.ids.sort_unstable();
            self.ids_are_sorted = true;
        }
        let place = self.ids.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.ids.get(place).map(|(_, index)| *index)
    }

    /// The attribute that a sample belongs to.
    fn attr_of_sample(&mut self, body: &[u8]) -> Option<usize> {
        if self.attrs.len() < 2 {
            return (!self.attrs.is_empty()).then_some(0);
        }
        // perf sees to it that all events of a session have their ids at one place.
        let position = usize::try_from(self.attrs.first()?.id_position()?).ok()? * 8;
        let id = self.endian.number(body.get(position..position + 8)?);
        // Without an id of its own, a sample is the first event's.
        self.attr_of_id(id).or((id == 0).then_some(0))
    }

    /// Takes in one record.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        let body = record.body;
        match self.record_counts.get_mut(record.kind as usize) {
            Some(count) => *count += 1,
            None => *self.records.entry(record_name(record.kind)).or_insert(0) += 1,
        }
        match record.kind {
            record::SAMPLE => self.sample(body),
            record::LOST => self.lost(body, 8),
            record::LOST_SAMPLES => self.lost(body, 0),
            record::ID_INDEX => self.id_index(body),
            record::ATTR => self.attr_record(body),
            record::EVENT_UPDATE => self.event_update(body),
            record::FEATURE => feature::from_record(body, record.at, self),
            record::TRACING_DATA => {
                if let Err(error) = feature::tracing_data(record.extra, record.at, self) {
                    let text = format!("{}; tracepoint samples may be only counted", error.kind);
                    self.odd(error.at, text);
                }
            }
            _ => {}
        }
    }

    fn tally(&mut self, what: &'static str) {
        *self.tally.entry(what).or_insert(0) += 1;
    }

    fn sample(&mut self, body: &[u8]) {
        let Some(index) = self.attr_of_sample(body) else {
            return self.tally("samples belong to no event of the file; they are left out");
        };
        let endian = self.endian;
        let Some(attr) = self.attrs.get_mut(index) else { return };
        attr.count += 1;
        let is_tracepoint = attr.kind == TRACEPOINT;
        let Some(sample) = attr.sample(body, endian) else {
            return self.tally("samples are shorter than their fields; they are only counted");
        };
        let Some(at) = sample.time.map(Timestamp) else {
            if is_tracepoint {
                self.tally("samples carry no time; they are only counted");
            }
            return;
        };
        let span = self.span.get_or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
        let Some(cpu) = sample.cpu.map(CpuId) else {
            if is_tracepoint {
                self.tally("samples carry no CPU; they are only counted (record with `-a`)");
            }
            return;
        };
        self.losses.sample(cpu, at);
        let stream = self.streams.entry(cpu).or_default();
        let Some(raw) = sample.raw.filter(|_| is_tracepoint) else { return };
        match self.tracepoints.decode(raw, endian, at, cpu, &mut self.names) {
            Decoded::Event(event) => stream.push(event),
            Decoded::Counted => {}
            Decoded::Unknown => {
                self.tally("samples are of tracepoints without a format; they are only counted");
            }
            Decoded::Damaged => {
                self.tally("samples hold less than their format says; they are only counted");
            }
        }
    }

    /// `LOST` has the event's id before the count, `LOST_SAMPLES` has not.
    fn lost(&mut self, body: &[u8], count_at: usize) {
        let Some(count) = body.get(count_at..count_at + 8) else { return };
        let count = self.endian.number(count);
        let id = self.attrs.first().map(|attr| attr.sample_id(body, self.endian));
        self.losses.record(count, &id.unwrap_or_default());
    }

    /// A count, then for each id: the id, its buffer, its CPU, its thread.
    fn id_index(&mut self, body: &[u8]) {
        let count = body.get(..8).map_or(0, |count| self.endian.number(count));
        let entries = body.get(8..).unwrap_or_default().chunks_exact(32);
        for entry in entries.take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let id = self.endian.number(&entry[..8]);
            // All ones stand for "any CPU".
            if let Ok(cpu) = u32::try_from(self.endian.number(&entry[16..24])) {
                self.losses.id_is_of(id, CpuId(cpu));
            }
        }
    }

    /// An attribute and its ids, in a pipe.
    fn attr_record(&mut self, body: &[u8]) {
        let size = body.get(4..8).map_or(0, |size| self.endian.number(size));
        let size = usize::try_from(size).ok().filter(|s| *s >= 64).unwrap_or(64);
        let Some((attr, ids)) = body.split_at_checked(size) else { return };
        let endian = self.endian;
        if let Some(attr) = Attr::parse(attr, endian) {
            self.add_attr(attr, ids.chunks_exact(8).map(|id| endian.number(id)));
        }
    }

    /// A better name for an event: `type`, `id`, then the text.
    fn event_update(&mut self, body: &[u8]) {
        const NAME: u64 = 2;
        let mut c = Cursor::new(body, 0, self.endian);
        if let (Ok(NAME), Ok(id)) = (c.u64("an update"), c.u64("an update")) {
            let name =
                crate::bytes::c_text(body.get(c.offset()..).unwrap_or_default()).into_owned();
            let index = self.attr_of_id(id);
            if let Some(attr) = index.and_then(|i| self.attrs.get_mut(i)) {
                attr.name = Some(name).filter(|name| !name.is_empty());
            }
        }
    }

    /// Samples by event name, and the kinds of all other records into `records`.
    pub(super) fn counts(&mut self) -> BTreeMap<String, u64> {
        for (kind, count) in self.record_counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            let name = record_name(u32::try_from(kind).unwrap_or(u32::MAX));
            *self.records.entry(name).or_insert(0) += count;
        }
        let mut counts = BTreeMap::new();
        for attr in self.attrs.iter().filter(|attr| attr.count > 0) {
            let format = Some(attr.config).filter(|_| attr.kind == TRACEPOINT);
            let name = format.and_then(|id| self.tracepoints.name(id));
            let name = name.map_or_else(|| attr.name(), str::to_owned);
            *counts.entry(name).or_insert(0) += attr.count;
        }
        counts
    }
}
