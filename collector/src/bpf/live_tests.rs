//! The programs in the kernel of this machine, where that is permitted.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use super::{BpfError, Btf, KERNEL_BTF, MUTEX_CALL_EVENTS, OWNER_EVENTS, Programs};
use perf_event_open_sys::{bindings, perf_event_open};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const DATA: usize = 512 * PAGE;
const ID: u16 = 65000;

/// A perf event for BPF output and its ring buffer.
struct Ring {
    event: OwnedFd,
    memory: *mut u8,
}

impl Ring {
    #[expect(unsafe_code, reason = "perf_event_open and mmap have no safe wrapper here")]
    fn open(cpu: i32) -> std::io::Result<Self> {
        let mut attributes = bindings::perf_event_attr {
            type_: bindings::PERF_TYPE_SOFTWARE,
            size: u32::try_from(size_of::<bindings::perf_event_attr>()).unwrap(),
            config: u64::from(bindings::PERF_COUNT_SW_BPF_OUTPUT),
            sample_type: u64::from(bindings::PERF_SAMPLE_RAW),
            ..Default::default()
        };
        attributes.__bindgen_anon_1.sample_period = 1;
        attributes.__bindgen_anon_2.wakeup_events = 1 << 20;
        // SAFETY: the attributes are a valid value that lives during the call.
        let event = unsafe { perf_event_open(&raw mut attributes, -1, cpu, -1, 0) };
        if event < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a new descriptor nobody else owns.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(std::ptr::null_mut(), PAGE + DATA, protection, flags, event.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { event, memory: memory.cast() })
    }

    /// The raw data of every sample so far, without perf's length in front; each ends with the
    /// four bytes perf appends.
    #[expect(unsafe_code, reason = "the ring is memory shared with the kernel")]
    fn samples(&self) -> Vec<Vec<u8>> {
        let page: *mut bindings::perf_event_mmap_page = self.memory.cast();
        // SAFETY: the first page of the mapping is that struct for as long as `self` lives.
        let head = unsafe { std::ptr::read_volatile(&raw const (*page).data_head) };
        fence(Ordering::Acquire);
        let head = usize::try_from(head).unwrap();
        assert!(head < DATA, "the ring is large enough for the test");
        // SAFETY: the kernel wrote `head` bytes behind the first page and will not change them.
        let data = unsafe { std::slice::from_raw_parts(self.memory.add(PAGE), head) };
        let mut samples = Vec::new();
        let mut rest = data;
        while let Some(header) = rest.first_chunk::<8>() {
            let kind = u32::from_le_bytes(header[..4].try_into().unwrap());
            let size = usize::from(u16::from_le_bytes(header[6..].try_into().unwrap()));
            assert_ne!(size, 0);
            if kind == bindings::PERF_RECORD_SAMPLE {
                samples.push(rest[12..size].to_vec());
            }
            rest = &rest[size..];
        }
        samples
    }
}

impl Drop for Ring {
    #[expect(unsafe_code, reason = "undoes the mapping")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this length.
        unsafe { libc::munmap(self.memory.cast(), PAGE + DATA) };
    }
}

fn word(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(record[at..at + 4].try_into().unwrap())
}

fn address(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(record[at..at + 8].try_into().unwrap())
}

/// The types of this machine, or the reason to skip the test.
fn kernel_types() -> Option<Btf> {
    match Btf::read(KERNEL_BTF.as_ref()) {
        Ok(btf) => Some(btf),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// The programs at work, or the reason to skip the test. What the kernel may forbid is skipped;
/// a program its verifier rejects is a mistake of ours.
fn attached(programs: Result<Programs, BpfError>, rings: &[Ring]) -> Option<Programs> {
    let attached = programs.and_then(|mut programs| {
        for (cpu, ring) in (0..).zip(rings) {
            programs.set_output(cpu, ring.event.as_fd())?;
        }
        programs.attach()?;
        Ok(programs)
    });
    match attached {
        Ok(programs) => Some(programs),
        Err(error) if matches!(error.errno(), Some(libc::EPERM | libc::ENOSYS)) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A ring per CPU, or the reason to skip the test.
fn rings() -> Option<Vec<Ring>> {
    let cpus = i32::try_from(super::output::possible_cpus()).unwrap();
    match (0..cpus).map(Ring::open).collect() {
        Ok(rings) => Some(rings),
        Err(error) => {
            eprintln!("skipped: no perf event on every CPU: {error}");
            None
        }
    }
}

/// Four threads write into and read from one pipe without ever sleeping for room or data, so
/// that nothing but the pipe's mutex, held during each copy, is in their way.
/// Returns the thread ids.
#[expect(unsafe_code, reason = "gettid and fcntl have no safe wrapper")]
fn fight_over_a_pipe(how_long: Duration) -> Vec<u32> {
    let (reader, writer) = std::io::pipe().unwrap();
    for end in [reader.as_fd(), writer.as_fd()] {
        // SAFETY: an open descriptor and numbers.
        let result = unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        assert_eq!(result, 0);
    }
    let end = Instant::now() + how_long;
    std::thread::scope(|scope| {
        let (reader, writer) = (&reader, &writer);
        let fight = move || {
            let (mut reader, mut writer, mut buffer) = (reader, writer, vec![0; 1 << 16]);
            while Instant::now() < end {
                // A full or empty pipe is an error here, and no news.
                let _ = writer.write(&buffer);
                let _ = reader.read(&mut buffer);
            }
            // SAFETY: no arguments, no memory.
            unsafe { libc::gettid() }.cast_unsigned()
        };
        let threads = [(); 4].map(|()| scope.spawn(fight));
        threads.map(|thread| thread.join().unwrap()).to_vec()
    })
}

#[test]
fn waiting_for_a_pipe_names_the_thread_that_holds_it() {
    let Some(btf) = kernel_types() else { return };
    let Some(rings) = rings() else { return };
    let Some(mut programs) = attached(Programs::load_owner(&btf, ID), &rings) else { return };
    let mut threads = Vec::new();
    let mut records: Vec<Vec<u8>> = Vec::new();
    // On a busy machine a fight can pass without a wait.
    for _ in 0..7 {
        threads.extend(fight_over_a_pipe(Duration::from_millis(200)));
        records = rings.iter().flat_map(Ring::samples).collect();
        if records.len() > 100 {
            break;
        }
    }
    programs.detach();

    let size = usize::from(OWNER_EVENTS[0].record_size);
    let mut ours = 0;
    let mut held = 0;
    let mut owned = 0;
    for record in &records {
        assert_eq!(record.len(), size + 4, "perf appends four bytes");
        assert_eq!(word(record, 0), u32::from(ID));
        assert_eq!(word(record, 44), 0, "the end is padding");
        let flags = word(record, 24);
        assert!(flags & 32 != 0 || flags == 2 || flags == 4, "flags {flags}");
        assert_ne!(address(record, 8), 0);
        if threads.contains(&word(record, 4)) && flags & 32 != 0 {
            ours += 1;
            let (owner, prio, on_cpu, cpu) =
                (word(record, 28), word(record, 32), word(record, 36), word(record, 40));
            assert_eq!(owner == 0, address(record, 16) & !7 == 0);
            held += u32::from(owner != 0);
            if threads.contains(&owner) {
                owned += 1;
                // A waiter holds the mutex already if it was just handed over: bit 2 says so.
                let handed_over = address(record, 16) & 4 != 0;
                assert!(owner != word(record, 4) || handed_over, "waits for itself");
                assert!(on_cpu <= 1 && prio < 140, "{prio} {on_cpu}");
                assert!(usize::try_from(cpu).unwrap() < rings.len());
            }
        }
    }
    eprintln!(
        "{} records, {ours} of the test, {held} with an owner, {owned} with one of it",
        records.len()
    );
    assert_eq!(programs.dropped().unwrap(), vec![0; rings.len()]);
    assert_eq!(programs.skipped().unwrap(), 0);
    assert!(ours > 0, "nobody waited for the pipe");
    // Between the attempt and the reading the mutex may have been released: nobody holds it then.
    assert!(held * 20 > ours, "{held} owners in {ours} waits");
    assert!(owned * 10 > held * 9, "{owned} of {held} owners are threads of the test");
}

#[test]
fn records_without_an_output_are_counted() {
    let Some(btf) = kernel_types() else { return };
    let Some(mut programs) = attached(Programs::load_owner(&btf, ID), &[]) else { return };
    let mut dropped = Vec::new();
    for _ in 0..15 {
        fight_over_a_pipe(Duration::from_millis(100));
        dropped = programs.dropped().unwrap();
        if dropped.iter().any(|&count| count > 0) {
            break;
        }
    }
    programs.detach();
    assert_eq!(dropped.len(), usize::try_from(super::output::possible_cpus()).unwrap());
    assert!(dropped.iter().sum::<u64>() > 0, "{dropped:?}");
}

#[test]
fn every_call_for_the_pipes_mutex_is_seen() {
    let Some(btf) = kernel_types() else { return };
    let Some(rings) = rings() else { return };
    let loaded = Programs::load_mutex_calls(&btf, ID);
    let Some(mut programs) = attached(loaded, &rings) else { return };
    let threads = fight_over_a_pipe(Duration::from_millis(20));
    programs.detach();
    let mut counts = [0u32; MUTEX_CALL_EVENTS.len()];
    for record in rings.iter().flat_map(Ring::samples) {
        let event = usize::try_from(word(&record, 0)).unwrap() - usize::from(ID);
        let size = usize::from(MUTEX_CALL_EVENTS[event].record_size);
        assert_eq!(record.len(), size + 4);
        assert_ne!(address(&record, 8), 0);
        if threads.contains(&word(&record, 4)) {
            counts[event] += 1;
        }
    }
    let skipped = programs.skipped().unwrap();
    eprintln!("{counts:?}, {skipped} skipped, missing {:?}", programs.missing());
    let [locked, unlocked, ..] = counts;
    assert!(locked > 0 && locked.abs_diff(unlocked) <= locked / 10, "{counts:?}");
}
