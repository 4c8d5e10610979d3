//! Which functions of the kernel wait for each lock: what tells one address from another.
//!
//! Locks in allocated memory have no names. The functions that wait for one say what it is: the
//! mutex that `pipe_write` and `pipe_read` wait for is a pipe's. A second perf event on
//! `contention_begin` takes the call chain of some waits: of so many that it costs nothing to
//! speak of, however many there are.

use crate::control::Control;
use crate::perf_engine::walk;
use crate::perf_event::{self, PerfEvent, Ring, SAMPLE};
use crate::priority::{self, Urgency};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Buffer of each CPU, KiB: what does not fit is not needed.
const BUFFER_KIB: u64 = 256;
/// Time between two looks at the buffers; the first comes sooner.
const PAUSE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Call chains between two looks, at most on each CPU: one takes some microseconds, and 90 in a
/// virtual machine.
///
/// The kernel itself stops the event when it has taken so many. The thread that looks may not get a
/// CPU for seconds; while it alone was to slow the event down, a quarter of all waits of hackbench
/// had a chain, which took a tenth of its CPU time.
const CHAINS: u64 = 50;
/// Waits between two chains: at first, and at most.
const FIRST_PERIOD: u64 = 64;
const RAREST: u64 = 1 << 20;
/// Functions that are kept of each lock.
const MOST_USERS: usize = 4;
/// Chains that are kept of each lock until their functions are known.
const MOST_CHAINS: usize = 16;

/// Spinning waits are another matter: sleeping locks only (`LCB_F_*` other than SPIN).
const FILTER: &str = "flags & 62";

/// Addresses that a chain of calls returns to, the innermost first.
type Chain = Vec<u64>;

/// Call chains of waits, by lock.
pub(crate) type Chains = BTreeMap<u64, BTreeSet<Chain>>;

/// The thread that collects them.
pub(crate) struct LockUsers {
    thread: Option<JoinHandle<Chains>>,
    /// The thread's number, once it runs.
    number: Arc<AtomicI32>,
    control: Arc<Control>,
}

impl LockUsers {
    /// Begins to look, at `contention_begin` of this number on these CPUs.
    ///
    /// # Errors
    ///
    /// When the kernel does not permit it. The recording can do without.
    pub(crate) fn start(id: u16, cpus: &[u32], control: &Arc<Control>) -> Result<Self> {
        let mut looks = Vec::new();
        for cpu in cpus {
            let event = PerfEvent::open(perf_event::chain_attribute(id), *cpu)?;
            event.filter(FILTER)?;
            let ring = Ring::map(&event, BUFFER_KIB)?;
            looks.push(Look { event, ring });
        }
        looks.iter().try_for_each(|look| look.event.run_for(CHAINS))?;
        let own = Arc::clone(control);
        let number = Arc::new(AtomicI32::new(0));
        let named = Arc::clone(&number);
        let thread = std::thread::Builder::new()
            .name("lock-users".to_owned())
            .spawn(move || {
                named.store(priority::own_thread(), Ordering::Release);
                run(&mut looks, &own)
            })
            .context("a thread that looks at call chains cannot be started")?;
        Ok(Self { thread: Some(thread), number, control: Arc::clone(control) })
    }

    /// What was seen; the recording must be closed.
    pub(crate) fn finish(mut self) -> Chains {
        self.join().unwrap_or_default()
    }

    /// Waits for the thread; on a busy machine it would not end by itself.
    fn join(&mut self) -> Option<Chains> {
        let thread = self.thread.take()?;
        let number = self.number.load(Ordering::Acquire);
        if number != 0 && !thread.is_finished() {
            let _ = Urgency::Pressing.apply_to(number);
        }
        thread.join().ok()
    }
}

impl Drop for LockUsers {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.control.close();
            self.join();
        }
    }
}

struct Look {
    event: PerfEvent,
    ring: Ring,
}

fn run(looks: &mut [Look], control: &Control) -> Chains {
    // It is in no hurry whatever happens.
    let _ = Urgency::Idle.apply();
    let mut chains = Chains::new();
    let mut period = FIRST_PERIOD;
    let mut pause = FIRST_PAUSE;
    loop {
        let is_last = control.is_closed();
        let mut seen = 0;
        for look in looks.iter_mut() {
            let parts = look.ring.records();
            let length = parts.0.len() + parts.1.len();
            let before = seen;
            walk(parts, |kind, record| {
                if kind == SAMPLE {
                    seen += 1;
                    let _ = observe(&record(), &mut chains);
                }
            });
            look.ring.release(length);
            if seen > before && !is_last {
                // Those that were taken may be taken again.
                let _ = look.event.run_for(seen - before);
            }
        }
        if is_last {
            return chains;
        }
        let next = next_period(period, seen);
        if next != period {
            period = next;
            for look in looks.iter() {
                // A period that stays as it was costs a little more, and loses nothing.
                let _ = look.event.set_period(period);
            }
        }
        control.pause(pause);
        pause = PAUSE;
    }
}

/// The period at which about [`CHAINS`] come in by the next look; it falls slowly, for the waits
/// of the next moment may be many.
fn next_period(period: u64, seen: u64) -> u64 {
    let wanted = seen.saturating_mul(period) / CHAINS;
    wanted.max(period / 4).clamp(1, RAREST)
}

/// Takes in a sample; false when it cannot be read.
fn observe(record: &[u8], chains: &mut Chains) -> bool {
    let word = |at: usize| {
        let bytes = record.get(at..at.checked_add(8)?)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let read = || {
        // Header, number of addresses, addresses, size of the record, the record.
        let count = usize::try_from(word(8)?).ok().filter(|n| *n <= 128)?;
        let chain: Chain = (0..count).filter_map(|n| word(16 + 8 * n)).collect();
        // Size, then the common fields: the lock stands eight bytes behind their begin.
        let lock = word(16 + 8 * count + 4 + 8)?;
        Some((lock, chain))
    };
    let Some((lock, chain)) = read() else { return false };
    let known = chains.entry(lock).or_default();
    if known.len() < MOST_CHAINS {
        known.insert(chain);
    }
    true
}

/// Functions in front of which the caller is looked for: those of the locks themselves.
fn is_of_a_lock(function: &str) -> bool {
    const PARTS: [&str; 13] = [
        "mutex",
        "rwsem",
        "rwbase",
        "rt_mutex",
        "down_",
        "semaphore",
        "percpu_",
        "spin_lock",
        "traceiter",
        "trace_",
        "perf_",
        "bpf_",
        "queued_",
    ];
    const WHOLE: [&str; 4] = ["down", "__down", "schedule", "__schedule"];
    PARTS.iter().any(|part| function.contains(part)) || WHOLE.contains(&function)
}

/// The functions that wait for each lock, by the symbols of the running kernel.
pub(crate) fn names(chains: &Chains, kallsyms: &str) -> BTreeMap<u64, Vec<String>> {
    let mut functions: Vec<(u64, &str)> = kallsyms.lines().filter_map(function).collect();
    functions.sort_unstable_by_key(|(address, _)| *address);
    let name = |address: u64| {
        let after = functions.partition_point(|(start, _)| *start <= address);
        functions.get(after.checked_sub(1)?).map(|(_, name)| *name)
    };
    let mut named = BTreeMap::new();
    for (lock, chains) in chains {
        let mut users: Vec<String> = Vec::new();
        for chain in chains {
            // Marks between the parts of a chain look like addresses at the very end of memory.
            let calls = chain.iter().filter(|at| **at < u64::MAX - 4095);
            let user = calls.filter_map(|at| name(*at)).find(|name| !is_of_a_lock(name));
            if let Some(user) = user
                && !users.iter().any(|known| known == user)
                && users.len() < MOST_USERS
            {
                users.push(user.to_owned());
            }
        }
        users.sort();
        if !users.is_empty() {
            named.insert(*lock, users);
        }
    }
    named
}

/// A line of `kallsyms` that names code.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|at| *at != 0)?;
    let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
    is_code.then_some((address, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "0000000000001000 T pipe_write\n0000000000002000 t __mutex_lock.constprop.0\n\
                            0000000000003000 T mutex_lock\n0000000000004000 T vfs_write\n\
                            0000000000005000 D some_data\n";

    fn sample(chain: &[u64], lock: u64) -> Vec<u8> {
        let mut record = vec![0; 8];
        record.extend_from_slice(&(chain.len() as u64).to_ne_bytes());
        chain.iter().for_each(|at| record.extend_from_slice(&at.to_ne_bytes()));
        record.extend_from_slice(&28u32.to_ne_bytes());
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&lock.to_ne_bytes());
        record
    }

    #[test]
    fn a_lock_is_known_by_the_function_that_waits_for_it() {
        let mut chains = Chains::new();
        let kernel = u64::MAX - 127;
        let chain = [kernel, 0x2010, 0x3010, 0x1010, 0x4010];
        assert!(observe(&sample(&chain, 0xabc), &mut chains));
        assert!(observe(&sample(&chain, 0xabc), &mut chains));
        let expected = BTreeMap::from([(0xabc, vec!["pipe_write".to_owned()])]);
        assert_eq!(names(&chains, KALLSYMS), expected);
        assert_eq!(names(&chains, "0000000000000000 T pipe_write\n"), BTreeMap::new());
    }

    #[test]
    fn many_waits_give_no_more_chains_than_few() {
        assert_eq!(next_period(64, 6400), 8192);
        assert_eq!(next_period(8192, 50), 8192);
        assert_eq!(next_period(8192, 0), 2048);
        assert_eq!(next_period(1, 3), 1);
        assert_eq!(next_period(RAREST, u64::MAX), RAREST);
    }

    #[test]
    fn a_sample_that_is_cut_says_nothing() {
        let whole = sample(&[0x1010], 7);
        for length in 0..whole.len() {
            assert!(!observe(&whole[..length], &mut Chains::new()), "{length} bytes");
        }
        let mut absurd = whole;
        absurd[8..16].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert!(!observe(&absurd, &mut Chains::new()));
    }
}
