//! ftrace text into a recording.

use super::header::{Header, Other};
use super::line::{Line, Style};
use super::payload;
use crate::merge::sort_by_time;
use crate::{
    CpuId, Error, ErrorKind, Event, FormatInfo, Lost, LostWhat, Oddity, Position, Recording, Tid,
    Timestamp,
};
use std::collections::BTreeMap;

/// Unreadable lines are told one by one up to this many.
const MOST_ODDITIES: u64 = 20;

/// True when no byte near the start rules text out.
pub(crate) fn looks_like_text(bytes: &[u8]) -> bool {
    let head = bytes.get(..4096).unwrap_or(bytes);
    !head.iter().any(|b| *b < 9)
}

/// Reads a whole text.
///
/// # Errors
///
/// When no line of it is a record and no header says that it is ftrace text.
pub(crate) fn read(bytes: &[u8]) -> Result<Recording, Error> {
    let mut reader = Reader::default();
    let mut number = 0;
    let mut lines = bytes.split(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        number += 1;
        let is_unfinished = lines.peek().is_none() && !line.is_empty();
        if is_unfinished && reader.expects_more_than(1) {
            reader.odd(number, "ends in the middle: the text was cut; it was left out");
        } else {
            reader.line(&String::from_utf8_lossy(line), number);
            if is_unfinished {
                reader.odd(number, "has no end: the text may be cut; it was read as it stands");
            }
        }
    }
    if reader.records == 0 && !bytes.starts_with(b"# tracer:") {
        return Err(Error { kind: ErrorKind::UnknownFormat, at: Position::Whole });
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    out: Recording,
    header: Header,
    records: u64,
    unreadable: u64,
    /// Time of the first and last record of each CPU.
    seen: BTreeMap<CpuId, (Timestamp, Timestamp)>,
    /// Losses whose end is not known yet.
    open: Vec<Lost>,
    has_perf_style: bool,
    counts: BTreeMap<String, u64>,
}

impl Reader {
    fn line(&mut self, text: &str, number: u64) {
        let text = text.trim_end_matches('\r');
        if !text.starts_with('#')
            && let Some(line) = Line::parse(text)
        {
            return self.record(&line, number);
        }
        match self.header.take(text) {
            Other::Known => {}
            Other::Lost(cpu, events) => {
                let start = self.out.span.map_or(Timestamp(0), |(first, _)| first);
                let after = self.seen.get(&cpu).map_or(start, |(_, last)| *last);
                self.open.push(Lost {
                    cpu: Some(cpu),
                    what: LostWhat::Events,
                    events,
                    after,
                    before: after,
                });
            }
            Other::Unknown => self.odd(number, "is no record; it was left out"),
        }
    }

    /// True when the header announces more records than are here and `n` further ones.
    fn expects_more_than(&self, n: u64) -> bool {
        self.header.entries.is_some_and(|(inside, _)| self.records + n < inside)
    }

    fn record(&mut self, line: &Line<'_>, number: u64) {
        self.records += 1;
        let cpu = CpuId(line.cpu);
        let at = line.at;
        self.has_perf_style |= line.style == Style::PerfScript;
        match self.counts.get_mut(line.event) {
            Some(count) => *count += 1,
            None => _ = self.counts.insert(line.event.to_owned(), 1),
        }
        let span = self.out.span.get_or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
        let seen = self.seen.entry(cpu).or_insert((at, at));
        *seen = (seen.0.min(at), seen.1.max(at));
        self.close_losses(cpu, at);
        match payload::parse(line.event, line.payload, &mut self.out.names) {
            Ok(Some(kind)) => {
                let context = line.context(self.header.context_column);
                self.out.events.push(Event { at, cpu, context, tid: Tid(line.tid), kind });
            }
            Ok(None) => {}
            Err(()) => {
                let text =
                    format!("the fields of this {} cannot be read; it is only counted", line.event);
                self.odd(number, &text);
            }
        }
    }

    fn close_losses(&mut self, cpu: CpuId, at: Timestamp) {
        if self.open.is_empty() {
            return;
        }
        let (closed, open) = self.open.drain(..).partition(|lost| lost.cpu == Some(cpu));
        self.open = open;
        let closed: Vec<Lost> = closed;
        self.out.lost.extend(closed.into_iter().map(|lost| Lost { before: at, ..lost }));
    }

    fn odd(&mut self, number: u64, text: &str) {
        self.unreadable += 1;
        if self.unreadable <= MOST_ODDITIES {
            let place = Position::Line(number).to_string();
            self.out.oddities.push(Oddity { place, text: text.to_owned() });
        }
    }

    fn finish(mut self) -> Recording {
        let end = self.out.span.map_or(Timestamp(0), |(_, last)| last);
        let open = std::mem::take(&mut self.open);
        self.out.lost.extend(open.into_iter().map(|lost| Lost { before: end, ..lost }));
        self.check_entries();
        if self.unreadable > MOST_ODDITIES {
            let text = format!(
                "{} lines cannot be read in all; the first {MOST_ODDITIES} are listed",
                self.unreadable
            );
            self.out.oddities.push(Oddity { place: Position::Whole.to_string(), text });
        }
        let backwards = sort_by_time(&mut self.out.events);
        if backwards > 0 {
            let text = format!("time runs backwards {backwards} times; events were reordered");
            self.out.oddities.push(Oddity { place: Position::Whole.to_string(), text });
        }
        self.out.counts = self.counts;
        self.out.cpus = self.seen.keys().copied().chain(self.header.cpus).collect();
        self.out.cpus.sort_unstable();
        self.out.cpus.dedup();
        let name = if self.has_perf_style { "perf script text" } else { "ftrace text" };
        let (clock, kernel) = (self.header.clock, self.header.kernel);
        self.out.format = Some(FormatInfo { name: name.to_owned(), clock, kernel });
        self.out
    }

    /// Compares the header's two counts with each other and with the lines that are here.
    fn check_entries(&mut self) {
        let (Some((inside, written)), Some((first, _))) = (self.header.entries, self.out.span)
        else {
            return;
        };
        let told: u64 = self.out.lost.iter().filter_map(|lost| lost.events).sum();
        let overwritten = written.saturating_sub(inside).saturating_sub(told);
        if overwritten > 0 {
            // Each CPU's buffer keeps its newest records: what is missing lies before its first.
            let before = self.seen.values().map(|(first, _)| *first).max().unwrap_or(first);
            self.out.lost.push(Lost {
                cpu: None,
                what: LostWhat::Events,
                events: Some(overwritten),
                after: first,
                before,
            });
        }
        if self.records < inside {
            let text = format!(
                "the header announces {inside} records and {} are here: the text was cut",
                self.records
            );
            self.out.oddities.push(Oddity { place: Position::Whole.to_string(), text });
        }
    }
}
