//! One CPU's pages on their way from the kernel to a file, or into a flight recorder's memory.

use crate::chunk::{PAGES, Packer};
use crate::folder::Folder;
use crate::page::{self, PAGE};
use crate::refusal::Refusal;
use crate::request::Compression;
use anyhow::Result;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pages wait no longer than this to be written: what a killed recorder loses.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// Records that one CPU lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The CPU.
    pub cpu: u32,
    /// How many; `None` when the buffer does not say.
    pub records: Option<u64>,
    /// Begin of the last page before the gap, nanoseconds of the monotonic clock.
    pub after: u64,
    /// First record behind the gap.
    pub before: u64,
}

/// Where packed pages go.
pub(crate) enum Sink {
    /// To a file.
    File(File, PathBuf),
    /// Into memory, as far back as wanted.
    Memory(Arc<Mutex<Memory>>),
}

impl Sink {
    pub(crate) fn file(folder: &Folder, name: &str) -> Result<Self> {
        Ok(Self::File(folder.begin(name)?, folder.path(name)))
    }
}

/// Packed chunks of one CPU, the newest last.
#[derive(Debug)]
pub(crate) struct Memory {
    last_ns: u64,
    chunks: VecDeque<Chunk>,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Begin of its last page.
    newest: u64,
    bytes: Arc<[u8]>,
}

impl Memory {
    pub(crate) fn new(last: Duration) -> Self {
        let last_ns = u64::try_from(last.as_nanos()).unwrap_or(u64::MAX);
        Self { last_ns, chunks: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, newest: u64, bytes: &[u8]) {
        self.chunks.push_back(Chunk { newest, bytes: bytes.into() });
        self.forget(newest);
    }

    /// Drops what is older than what is kept, seen from `now`.
    pub(crate) fn forget(&mut self, now: u64) {
        let oldest = now.saturating_sub(self.last_ns);
        while self.chunks.front().is_some_and(|chunk| chunk.newest < oldest) {
            self.chunks.pop_front();
        }
    }

    /// What is kept, oldest first.
    pub(crate) fn bytes(&self) -> Vec<Arc<[u8]>> {
        self.chunks.iter().map(|chunk| Arc::clone(&chunk.bytes)).collect()
    }
}

/// One CPU's stream of pages.
pub(crate) struct Stream {
    pub cpu: u32,
    sink: Sink,
    packer: Packer,
    pending: Vec<u8>,
    since: Instant,
    packed: Vec<u8>,
    newest: u64,
    pub lost: Vec<Lost>,
    /// Bytes of pages taken in and of chunks written.
    pub taken: u64,
    pub written: u64,
}

impl Stream {
    pub(crate) fn new(cpu: u32, sink: Sink, compression: Compression) -> Result<Self> {
        Ok(Self {
            cpu,
            sink,
            packer: Packer::new(compression)?,
            pending: Vec::with_capacity(PAGES * PAGE),
            since: Instant::now(),
            packed: Vec::new(),
            newest: 0,
            lost: Vec::new(),
            taken: 0,
            written: 0,
        })
    }

    /// Room for the next page: fill it, then call [`Stream::took`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        let at = self.pending.len();
        self.pending.resize(at + PAGE, 0);
        &mut self.pending[at..]
    }

    /// The room was not needed.
    pub(crate) fn untouched(&mut self) {
        self.pending.truncate(self.pending.len().saturating_sub(PAGE));
    }

    /// The room holds a page now; returns how full it is.
    pub(crate) fn took(&mut self) -> Result<usize> {
        let at = self.pending.len() - PAGE;
        let Some(head) = page::head(&self.pending[at..]) else { return Ok(0) };
        if let Some(records) = head.lost {
            let records = Some(records).filter(|records| *records > 0);
            let (after, before) = (self.newest.min(head.at), head.at);
            self.lost.push(Lost { cpu: self.cpu, records, after, before });
        }
        self.newest = head.at;
        self.taken += PAGE as u64;
        if self.pending.len() >= PAGES * PAGE {
            self.flush()?;
        }
        Ok(head.fill)
    }

    /// What the room holds, between filling it and [`Stream::took`].
    pub(crate) fn fresh(&self) -> &[u8] {
        let at = self.pending.len().saturating_sub(PAGE);
        self.pending.get(at..).unwrap_or_default()
    }

    /// Adds a page.
    pub(crate) fn push(&mut self, page: &[u8]) -> Result<()> {
        self.room().copy_from_slice(page);
        self.took().map(|_| ())
    }

    /// Whether pages have waited long enough to be written.
    pub(crate) fn is_old(&self) -> bool {
        self.since.elapsed() >= FLUSH_AFTER
    }

    /// Writes what is pending.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.packed.clear();
        self.packer.pack(&self.pending, &mut self.packed)?;
        self.pending.clear();
        self.written += self.packed.len() as u64;
        match &mut self.sink {
            Sink::File(file, path) => file
                .write_all(&self.packed)
                .map_err(|error| Refusal::new(path, "written", "keep what is recorded", error))?,
            Sink::Memory(memory) => memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.newest, &self.packed),
        }
        Ok(())
    }
}

/// Writes chunks as one file.
pub(crate) fn write_chunks(folder: &Folder, name: &str, chunks: &[Arc<[u8]>]) -> Result<()> {
    let mut file = folder.begin(name)?;
    for chunk in chunks {
        file.write_all(chunk).map_err(|error| {
            Refusal::new(&folder.path(name), "written", "keep what is recorded", error)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_last_stretch() {
        let mut memory = Memory::new(Duration::from_nanos(100));
        for newest in [10, 60, 110, 161] {
            memory.push(newest, &newest.to_le_bytes());
        }
        assert_eq!(memory.bytes().len(), 2);
        memory.forget(500);
        assert_eq!(memory.bytes().len(), 0);
    }

    #[test]
    fn losses_are_kept_with_their_place() {
        let memory = Arc::new(Mutex::new(Memory::new(Duration::from_secs(1))));
        let mut stream =
            Stream::new(3, Sink::Memory(Arc::clone(&memory)), Compression::None).expect("a stream");
        let page = |at: u64, commit: u64| {
            let mut page = vec![0; PAGE];
            page[..8].copy_from_slice(&at.to_le_bytes());
            page[8..16].copy_from_slice(&commit.to_le_bytes());
            page
        };
        stream.push(&page(10, 0)).expect("kept");
        stream.push(&page(20, 1 << 31)).expect("kept");
        let mut counted = page(30, 1 << 31 | 1 << 30 | 8);
        counted[24] = 5;
        stream.push(&counted).expect("kept");
        stream.flush().expect("kept");
        let lost = |records, after, before| Lost { cpu: 3, records, after, before };
        assert_eq!(stream.lost, [lost(None, 10, 20), lost(Some(5), 20, 30)]);
        assert_eq!(memory.lock().expect("whole").bytes()[0].len(), 3 * PAGE);
    }
}
