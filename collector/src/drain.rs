//! Reads the pages of tracefs buffers, one thread a CPU, often enough that none is overwritten.

use crate::control::{Control, Stop};
use crate::page::PAGE;
use crate::priority::Urgency;
use crate::refusal::Refusal;
use crate::stream::Stream;
use crate::watch::{LocksSeen, WaitEvents, Watch};
use anyhow::{Result, ensure};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Buffers are emptied at least this often: what a killed recorder may lose.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Those of a flight recorder so often, for it is to see waits soon.
pub(crate) const LONGEST_FLIGHT_PAUSE: Duration = Duration::from_millis(200);
/// And no more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// After so many bytes at a time it is asked whether there is a hurry.
const MANY: u64 = 1 << 20;
/// A page less full than this is still being written: the reader has caught up.
const CAUGHT_UP: usize = PAGE * 3 / 4;

/// What a drain needs to know.
pub(crate) struct Setting {
    pub control: Arc<Control>,
    pub buffer_kib: u64,
    /// Of the buffers that our own programs write into.
    pub own_kib: u64,
    pub realtime: Option<i32>,
    pub watch: Option<Arc<Watch>>,
    /// Whether only the last stretch is kept.
    pub flight: bool,
    /// Which events tell of lock waits.
    pub waits: Option<WaitEvents>,
}

impl Setting {
    /// Longest time between two visits to a buffer.
    pub(crate) fn longest_pause(&self) -> Duration {
        if self.flight { LONGEST_FLIGHT_PAUSE } else { LONGEST_PAUSE }
    }

    /// So long that at the rate just seen an eighth of a buffer of `kib` fills.
    pub(crate) fn next_pause(&self, bytes: u64, elapsed: Duration, kib: u64) -> Duration {
        let eighth = u128::from(kib) * 1024 / 8;
        let nanos = elapsed.as_nanos() * eighth / u128::from(bytes.max(1));
        let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        pause.clamp(SHORTEST_PAUSE, self.longest_pause())
    }
}

/// Opens one CPU's raw pages.
pub(crate) fn open(path: &Path) -> Result<File, Refusal> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| Refusal::new(path, "read", "take the events of a CPU", error))
}

/// Starts a thread that drains `pages` into `stream` until the recording stops, then to the end.
///
/// # Errors
///
/// When no thread can be started. What fails in the thread stops the recording and is the
/// result of joining it.
pub(crate) fn spawn(
    pages: File,
    stream: Stream,
    setting: Arc<Setting>,
) -> std::io::Result<JoinHandle<Drained>> {
    std::thread::Builder::new().name(format!("drain/{}", stream.cpu)).spawn(move || {
        let locks = LocksSeen::new(setting.waits);
        let urgency = Urgency::at_start(setting.realtime);
        let mut drain = Drain { pages, stream, locks, urgency, setting };
        let result = drain.run();
        if result.is_err() {
            drain.setting.control.stop(Stop::Failed);
        }
        Drained { stream: drain.stream, locks: drain.locks, result }
    })
}

struct Drain {
    pages: File,
    stream: Stream,
    locks: LocksSeen,
    urgency: Urgency,
    setting: Arc<Setting>,
}

/// What a thread leaves.
pub(crate) struct Drained {
    pub stream: Stream,
    pub locks: LocksSeen,
    pub result: Result<()>,
}

/// How far one round of reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The page that is still being written.
    CaughtUp,
    /// The last record.
    Empty,
}

impl Drain {
    fn run(&mut self) -> Result<()> {
        self.urgency.apply()?;
        let mut pause = SHORTEST_PAUSE;
        let mut last = Instant::now();
        while !self.setting.control.is_closed() {
            self.setting.control.pause(pause);
            let bytes = self.read(Until::CaughtUp)?;
            self.hurry(bytes)?;
            pause = self.setting.next_pause(bytes, last.elapsed(), self.setting.buffer_kib);
            // The next visit may be as late as that; and a flight recorder writes out what is in
            // memory, so there everything must be.
            if pause == self.setting.longest_pause() || self.setting.flight || self.stream.is_old()
            {
                self.stream.flush()?;
            }
            self.report();
            last = Instant::now();
        }
        self.read(Until::Empty)?;
        self.stream.flush()
    }

    /// Goes first when so many bytes came at a time, and waits its turn when not.
    fn hurry(&mut self, bytes: u64) -> Result<()> {
        let urgency = self.urgency.for_fill(bytes, self.setting.buffer_kib);
        if urgency != self.urgency {
            self.urgency = urgency;
            urgency.apply()?;
        }
        Ok(())
    }

    /// More bytes than can be in the buffer at one time, partly filled pages included.
    fn at_most(&self) -> u64 {
        (self.setting.buffer_kib * 1024).saturating_mul(2).saturating_add(MANY)
    }

    fn report(&self) {
        if let Some(watch) = &self.setting.watch {
            watch.report(&self.setting.control);
        }
    }

    fn read(&mut self, until: Until) -> Result<u64> {
        let mut bytes = 0;
        loop {
            match self.pages.read(self.stream.room()) {
                Ok(0) => break self.stream.untouched(),
                Ok(_) => {}
                // A CPU that has never been on has no buffer yet.
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENODEV) =>
                {
                    break self.stream.untouched();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.stream.untouched();
                    continue;
                }
                Err(error) => return Err(anyhow::Error::new(error).context("reading a buffer")),
            }
            self.locks.page(self.stream.fresh());
            if let Some(watch) = &self.setting.watch {
                watch.page(self.stream.fresh());
            }
            bytes += PAGE as u64;
            if bytes.is_multiple_of(MANY) && self.urgency == Urgency::Patient {
                self.hurry(bytes)?;
            }
            let fill = self.stream.took()?;
            match until {
                // The first page may be the rest of the one that was read last.
                Until::CaughtUp if fill < CAUGHT_UP && bytes > PAGE as u64 => break,
                Until::CaughtUp => {}
                // Switching events off was refused, and the reading itself makes some.
                Until::Empty => ensure!(bytes < self.at_most(), "the buffer does not become empty"),
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Compression;
    use crate::stream::{Memory, Sink};
    use std::io::{Seek, Write};
    use std::sync::Mutex;

    fn setting() -> Setting {
        Setting {
            control: Arc::default(),
            buffer_kib: 16 * 1024,
            own_kib: 0,
            realtime: None,
            watch: None,
            flight: false,
            waits: None,
        }
    }

    #[test]
    fn the_rest_of_a_page_does_not_end_a_visit() {
        let path = std::env::temp_dir().join(format!("resched-drain-{}", std::process::id()));
        let options = || std::fs::OpenOptions::new();
        let mut pages = options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .expect("a file");
        // The rest of the page read last, two full ones, one being written, and what comes then.
        for fill in [8, 4000, 4000, 8, 4000u64] {
            let mut page = vec![0; PAGE];
            page[8..16].copy_from_slice(&fill.to_le_bytes());
            pages.write_all(&page).expect("written");
        }
        pages.rewind().expect("at the start");
        let memory = Arc::new(Mutex::new(Memory::new(Duration::from_secs(1))));
        let stream = Stream::new(0, Sink::Memory(memory), Compression::None).expect("a stream");
        let setting = Arc::new(setting());
        let (locks, urgency) = (LocksSeen::new(None), Urgency::Patient);
        let mut drain = Drain { pages, stream, locks, urgency, setting };
        assert_eq!(drain.read(Until::CaughtUp).expect("pages"), 4 * PAGE as u64);
        assert_eq!(drain.read(Until::Empty).expect("pages"), PAGE as u64);
        std::fs::remove_file(&path).expect("there");
    }

    #[test]
    fn a_fast_buffer_is_visited_more_often() {
        let setting = setting();
        let ms = Duration::from_millis;
        // 64 MiB a second fill an eighth of 16 MiB in 31 ms.
        let pause = setting.next_pause(64 << 20, ms(1000), 16 * 1024);
        assert_eq!(pause, Duration::from_nanos(31_250_000));
        assert_eq!(setting.next_pause(0, ms(10), 16 * 1024), LONGEST_PAUSE);
        assert_eq!(setting.next_pause(64 << 20, ms(1), 64), SHORTEST_PAUSE);
        let flight = Setting { flight: true, ..setting };
        assert_eq!(flight.next_pause(0, ms(10), 16 * 1024), LONGEST_FLIGHT_PAUSE);
    }
}
