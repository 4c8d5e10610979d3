//! The programs in the kernel of this machine, where that is permitted.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use super::{
    BpfError, Btf, KERNEL_BTF, MUTEX_CALL_EVENTS, OWNER_EVENTS, OpenCalls, Output, Programs,
    RecordRing,
};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

const ID: u16 = 65000;

/// A ring per CPU.
fn rings(output: &Output) -> Vec<RecordRing> {
    (0..super::output::possible_cpus()).map(|cpu| output.open(cpu, 2048).unwrap()).collect()
}

/// Every record so far, with its thread.
fn records(rings: &mut [RecordRing]) -> Vec<(u32, Vec<u8>)> {
    let mut records = Vec::new();
    for ring in rings {
        let mut newest = 0;
        ring.read(|record| {
            assert!(record.at >= newest, "in order of time");
            newest = record.at;
            assert_eq!(record.lost, 0);
            records.push((record.thread, record.bytes.to_vec()));
        });
    }
    records
}

/// The same of some threads alone, where others may leave more than a ring holds.
fn records_of(rings: &mut [RecordRing], process: u32) -> Vec<(u32, Vec<u8>)> {
    let mut records = Vec::new();
    for ring in rings {
        ring.read(|record| {
            if record.process == process {
                records.push((record.thread, record.bytes.to_vec()));
            }
        });
    }
    records
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

/// What the kernel permits, or the reason to skip the test. A program that its verifier rejects
/// is a mistake of ours.
fn permitted<T>(result: Result<T, BpfError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if matches!(error.errno(), Some(libc::EPERM | libc::ENOSYS)) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
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
    let Some(output) = permitted(Output::new()) else { return };
    let mut rings = rings(&output);
    let Some(programs) = permitted(Programs::load_owner(&btf, ID, &output)) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    let mut threads = Vec::new();
    let mut seen: Vec<(u32, Vec<u8>)> = Vec::new();
    // On a busy machine a fight can pass without a wait.
    for _ in 0..7 {
        threads.extend(fight_over_a_pipe(Duration::from_millis(200)));
        seen.extend(records(&mut rings));
        if seen.len() > 100 {
            break;
        }
    }
    drop(attached);

    let size = usize::from(OWNER_EVENTS[0].record_size);
    let mut ours = 0;
    let mut held = 0;
    let mut owned = 0;
    for (thread, record) in &seen {
        assert!(record.len() >= size);
        assert_eq!(*thread, word(record, 4), "who waits");
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
        seen.len()
    );
    assert_eq!(output.dropped().unwrap(), vec![0; rings.len()]);
    assert_eq!(programs.skipped().unwrap(), 0);
    assert!(ours > 0, "nobody waited for the pipe");
    // Between the attempt and the reading the mutex may have been released: nobody holds it then.
    assert!(held * 20 > ours, "{held} owners in {ours} waits");
    assert!(owned * 10 > held * 9, "{owned} of {held} owners are threads of the test");
}

#[test]
fn a_ring_that_was_full_says_how_many_records_it_did_not_take() {
    let Some(btf) = kernel_types() else { return };
    let Some(output) = permitted(Output::new()) else { return };
    let cpus = 0..super::output::possible_cpus();
    let mut rings: Vec<RecordRing> = cpus.map(|cpu| output.open(cpu, 4).unwrap()).collect();
    let Some(programs) = permitted(Programs::load_owner(&btf, ID, &output)) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    let mut told = vec![0; rings.len()];
    let mut room = vec![0; rings.len()];
    for _ in 0..15 {
        fight_over_a_pipe(Duration::from_millis(100));
        for (cpu, ring) in rings.iter_mut().enumerate() {
            let bytes = ring.read(|record| {
                assert!(record.lost >= told[cpu], "the count only grows");
                told[cpu] = record.lost;
            });
            room[cpu] = room[cpu].max(bytes);
        }
        if told.iter().any(|&lost| lost > 0) {
            break;
        }
    }
    drop(attached);
    eprintln!("{told:?} of {:?}", output.dropped().unwrap());
    assert!(told.iter().any(|&lost| lost > 0), "{told:?}");
    for (cpu, dropped) in output.dropped().unwrap().into_iter().enumerate() {
        assert!(told[cpu] <= dropped && room[cpu] <= 4096, "CPU {cpu}: {told:?} {room:?}");
    }
}

#[test]
fn records_without_an_output_are_counted() {
    let Some(btf) = kernel_types() else { return };
    let Some(output) = permitted(Output::new()) else { return };
    let Some(programs) = permitted(Programs::load_owner(&btf, ID, &output)) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    let mut dropped = Vec::new();
    for _ in 0..15 {
        fight_over_a_pipe(Duration::from_millis(100));
        dropped = output.dropped().unwrap();
        if dropped.iter().any(|&count| count > 0) {
            break;
        }
    }
    drop(attached);
    assert_eq!(dropped.len(), usize::try_from(super::output::possible_cpus()).unwrap());
    assert!(dropped.iter().sum::<u64>() > 0, "{dropped:?}");
}

#[test]
fn every_call_for_the_pipes_mutex_is_seen() {
    let Some(btf) = kernel_types() else { return };
    let Some(output) = permitted(Output::new()) else { return };
    let mut rings = rings(&output);
    let Some(programs) = permitted(Programs::load_mutex_calls(&btf, ID, &output)) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    let threads = fight_over_a_pipe(Duration::from_millis(20));
    drop(attached);
    let mut counts = [0u32; MUTEX_CALL_EVENTS.len()];
    for (_, record) in records(&mut rings) {
        let event = usize::try_from(word(&record, 0)).unwrap() - usize::from(ID);
        let size = usize::from(MUTEX_CALL_EVENTS[event].record_size);
        assert!(record.len() >= size);
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

/// The numbers of the events at which the programs of transfers run.
fn system_calls() -> Option<[u16; 2]> {
    let root = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let number = |name: &str| {
        let path = |root: &str| format!("{root}/events/raw_syscalls/{name}/id");
        let text = root.iter().find_map(|root| std::fs::read_to_string(path(root)).ok())?;
        text.trim().parse().ok()
    };
    let numbers = number("sys_enter").zip(number("sys_exit"));
    if numbers.is_none() {
        eprintln!("skipped: tracefs is not mounted, or this kernel has no raw_syscalls:sys_enter");
    }
    numbers.map(|(enter, exit)| [enter, exit])
}

#[test]
#[expect(unsafe_code, reason = "gettid has no safe wrapper")]
fn what_goes_through_pipes_and_sockets_is_seen() {
    let Some(btf) = kernel_types() else { return };
    let Some(at) = system_calls() else { return };
    let Some(output) = permitted(Output::new()) else { return };
    let mut rings = rings(&output);
    let Some(calls) = permitted(OpenCalls::new()) else { return };
    let load = Programs::load_transfers(&btf, ID, &output, at, &calls);
    let Some(programs) = permitted(load) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    // SAFETY: no arguments, no memory.
    let thread = unsafe { libc::gettid() }.cast_unsigned();
    let (mut from, mut to) = std::io::pipe().unwrap();
    let (mut one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut bytes = [0; 40];
    to.write_all(&[1; 30]).unwrap();
    let read = from.read(&mut bytes).unwrap();
    one.write_all(&[2; 20]).unwrap();
    other.set_nonblocking(true).unwrap();
    let received = other.read(&mut bytes).unwrap();
    let nothing = other.read(&mut bytes).unwrap_err();
    // A file that is neither leaves no record.
    std::fs::read_to_string("/proc/self/stat").unwrap();
    drop(attached);
    assert_eq!((read, received, nothing.kind()), (30, 20, std::io::ErrorKind::WouldBlock));

    let own = records(&mut rings).into_iter().filter(|(of, _)| *of == thread);
    let mut told = String::new();
    let mut names: Vec<u64> = Vec::new();
    for (_, record) in own {
        let buffer = address(&record, 8);
        let known = names.iter().position(|name| *name == buffer);
        let name = known.unwrap_or(names.len());
        if known.is_none() {
            names.push(buffer);
        }
        let is_end = word(&record, 0) == u32::from(ID) + 1;
        told += &if is_end {
            format!("end {name} ret {}\n", word(&record, 20).cast_signed())
        } else {
            let mutex = if address(&record, 32) == 0 { "without" } else { "with" };
            assert!(word(&record, 24) > 0, "how much fits");
            format!(
                "begin {name} flags {} count {} {mutex} mutex\n",
                word(&record, 20),
                word(&record, 28)
            )
        };
    }
    expect_test::expect![[r#"
        begin 0 flags 1 count 30 with mutex
        end 0 ret 30
        begin 0 flags 0 count 40 with mutex
        end 0 ret 30
        begin 1 flags 3 count 20 without mutex
        end 1 ret 20
        begin 1 flags 10 count 40 without mutex
        end 1 ret 20
        begin 1 flags 10 count 40 without mutex
        end 1 ret -11
    "#]]
    .assert_eq(&told);
}

/// A mutex of glibc, which two threads share.
struct Mutex(std::cell::UnsafeCell<libc::pthread_mutex_t>);

#[expect(unsafe_code, reason = "a mutex is made to be shared")]
// SAFETY: it is reached through the functions of the C library alone.
unsafe impl Sync for Mutex {}

#[test]
#[expect(unsafe_code, reason = "the C library's own mutex, and gettid")]
fn who_waits_for_a_mutex_of_the_c_library_finds_its_owner() {
    let Some(at) = system_calls() else { return };
    let Some(output) = permitted(Output::new()) else { return };
    let mut rings = rings(&output);
    let Some(programs) = permitted(Programs::load_futexes(ID, &output, at)) else { return };
    let Some(attached) = permitted(programs.attach()) else { return };
    let mutex = Mutex(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
    // SAFETY: no arguments, no memory.
    let number = || unsafe { libc::gettid() };
    let [lock, unlock] = [libc::pthread_mutex_lock, libc::pthread_mutex_unlock]
        // SAFETY: an initialized mutex that outlives both threads.
        .map(|call| {
            let mutex = &mutex;
            move || assert_eq!(unsafe { call(mutex.0.get()) }, 0)
        });
    lock();
    let owner = number();
    let mut seen: Vec<(u32, Vec<u8>)> = Vec::new();
    let waiter = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            lock();
            unlock();
            number()
        });
        // Until the other one has begun to wait.
        while !seen.iter().any(|(_, record)| is_wait_on(record, mutex.0.get().addr())) {
            seen.extend(records_of(&mut rings, std::process::id()));
            std::thread::yield_now();
        }
        unlock();
        waiter.join().unwrap()
    });
    seen.extend(records_of(&mut rings, std::process::id()));
    drop(attached);

    let wait = seen.iter().find(|(_, record)| is_wait_on(record, mutex.0.get().addr()));
    let (thread, record) = wait.expect("it has been seen");
    assert_eq!(*thread, waiter.cast_unsigned());
    assert_eq!(word(record, 24), std::process::id(), "the process");
    assert_eq!(word(record, 28), 2, "the word: somebody waits");
    assert_eq!(word(record, 32), owner.cast_unsigned(), "who has the mutex");
    let is_yield = |record: &[u8]| word(record, 0) == u32::from(ID) + 2;
    let yields =
        seen.iter().filter(|(thread, record)| is_yield(record) && *thread == owner.cast_unsigned());
    assert!(yields.count() > 0, "yields are seen too");
}

/// Whether a record is the beginning of a `FUTEX_WAIT` on the word at this address.
fn is_wait_on(record: &[u8], uaddr: usize) -> bool {
    let command = |record: &[u8]| word(record, 16) & !(128 | 256);
    word(record, 0) == u32::from(ID) && address(record, 8) == uaddr as u64 && command(record) == 0
}
