//! Owners as `resched record --detail owner` reads them, beside a bpftrace program that reads them
//! at the same time.

use crate::fidelity::build;
use crate::terminal::print;
use crate::tree;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// Two readings of one wait are this close, nanoseconds.
const SAME: u64 = 100_000;

/// `LCB_F_SPIN`.
const SPIN: u32 = 1;

/// One reading: when, who waits, for what, who owns it (0: nobody).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    at: u64,
    waiter: u32,
    lock: u64,
    owner: u32,
    /// It spins at first, and the lock may change hands between two readings.
    spins: bool,
}

/// Programs whose waits are recorded, in `fixtures/workload`.
const PROGRAMS: [&str; 2] = ["pipe-and-file", "inversion"];

/// Records programs with both, and counts the waits on which they agree.
pub(crate) fn run() -> Result<()> {
    let resched = build()?;
    let sources = tree::root().join("fixtures/workload");
    let folder = std::env::temp_dir().join(format!("resched-owners-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for source in PROGRAMS {
        tree::compile(&sources.join(format!("{source}.c")), &folder.join(source))?;
    }
    // Older bpftrace has one clock, the monotonic one, and writes fields with an arrow.
    let script = std::fs::read_to_string(sources.join("owner.bt"))?
        .replace("nsecs(monotonic)", "nsecs")
        .replace("args.", "args->");
    std::fs::write(folder.join("owner.bt"), script)?;
    for source in PROGRAMS {
        // Programs run in the order in which they were attached, and bpftrace's takes some 20 us
        // for each wait: ours comes first, or the owner would often have changed meanwhile.
        let workload = format!("sleep 4; exec {} 5", folder.join(source).display());
        let mut recorder = Command::new(&resched)
            .args(["record", "--detail", "owner", "-o"])
            .arg(folder.join("run.dat"))
            .args(["--", "sh", "-c", &workload])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut truth = Command::new("bpftrace")
            .args(["-B", "full", "-o"])
            .arg(folder.join("truth.txt"))
            .arg(folder.join("owner.bt"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("bpftrace is needed")?;
        let recorded = recorder.wait()?;
        Command::new("kill").args(["-INT", &truth.id().to_string()]).status()?;
        truth.wait()?;
        ensure!(recorded.success(), "resched record failed");
        let report = Command::new("trace-cmd")
            .args(["report", "-t"])
            .arg(folder.join("run.dat"))
            .output()?;
        let ours = ours(&String::from_utf8_lossy(&report.stdout));
        let truth = truths(&std::fs::read_to_string(folder.join("truth.txt"))?);
        compare(source, &ours, &truth);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// `lock_owner` lines of `trace-cmd report -t`.
fn ours(report: &str) -> Vec<Reading> {
    report.lines().filter_map(our_line).collect()
}

fn our_line(line: &str) -> Option<Reading> {
    let (head, fields) = line.split_once("lock_owner:")?;
    let mut words = head.split_whitespace().rev();
    let (seconds, nanos) = words.next()?.trim_end_matches(':').split_once('.')?;
    let waiter = words.nth(1).or_else(|| head.split_whitespace().nth(1))?;
    let field = |name: &str| {
        fields.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    Some(Reading {
        at: seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos.parse::<u64>().ok()?,
        waiter: waiter.rsplit('-').next()?.parse().ok()?,
        lock: u64::from_str_radix(field("lock_addr")?.strip_prefix("0x")?, 16).ok()?,
        owner: field("owner_pid")?.parse().ok()?,
        spins: field("flags")?.parse::<u32>().ok()? & SPIN != 0,
    })
}

/// `ns cpu kind waiter_pid waiter_prio lock flags owner_raw owner_pid ...`
fn truths(text: &str) -> Vec<Reading> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(*words.get(2)?, "M" | "W").then_some(())?;
            Some(Reading {
                at: words.first()?.parse().ok()?,
                waiter: words.get(3)?.parse().ok()?,
                lock: u64::from_str_radix(words.get(5)?, 16).ok()?,
                owner: words.get(8)?.parse().ok()?,
                spins: words.get(6)?.parse::<u32>().ok()? & SPIN != 0,
            })
        })
        .collect()
}

/// Waits of a kind, by what the two readings of each say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Agreement {
    same: u32,
    /// Ours names an owner, and the later reading finds that it has let go.
    released: u32,
    other: u32,
    missing: u32,
    /// Nanoseconds from our reading to the other.
    between: Vec<u64>,
}

impl Agreement {
    fn of<'r>(ours: &[Reading], truth: impl Iterator<Item = &'r Reading>) -> Self {
        let mut by_wait: BTreeMap<(u32, u64), Vec<&Reading>> = BTreeMap::new();
        for reading in ours {
            by_wait.entry((reading.waiter, reading.lock)).or_default().push(reading);
        }
        let mut found = Self::default();
        for t in truth {
            let candidates = by_wait.get(&(t.waiter, t.lock)).into_iter().flatten();
            let alike = candidates.filter(|r| r.spins == t.spins);
            let near = alike.min_by_key(|r| r.at.abs_diff(t.at));
            let Some(r) = near.filter(|r| r.at.abs_diff(t.at) < SAME) else {
                found.missing += 1;
                continue;
            };
            found.between.push(t.at.saturating_sub(r.at));
            match (r.owner, t.owner) {
                (ours, theirs) if ours == theirs => found.same += 1,
                (_, 0) => found.released += 1,
                _ => found.other += 1,
            }
        }
        found.between.sort_unstable();
        found
    }

    fn line(&self) -> String {
        let Self { same, released, other, missing, between } = self;
        let all = same + released + other + missing;
        let percent = f64::from(*same) * 100.0 / f64::from(all.max(1));
        let median = between.get(between.len() / 2).copied().unwrap_or(0);
        format!(
            "{same} of {all} agree ({percent:.2} %); {released} released in between, {other} \
             another owner, {missing} only in bpftrace's; {median} ns between readings"
        )
    }
}

fn compare(source: &str, ours: &[Reading], truth: &[Reading]) {
    let (first, last) = (ours.first().map_or(0, |r| r.at), ours.last().map_or(0, |r| r.at));
    let inside = |t: &&Reading| (first..=last).contains(&t.at);
    let of = |kind: fn(&&Reading) -> bool| {
        Agreement::of(ours, truth.iter().filter(inside).filter(kind)).line()
    };
    print(&format!("{source}, sleeping: {}", of(|t| !t.spins)));
    print(&format!("{source}, spinning: {}", of(|t| t.spins)));
    print(&format!("{source}, all:      {}", of(|_| true)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_are_read_alike() {
        let line = "resched:  inv-low-580   [000] 35955.116056001: lock_owner:    \
                    lock_addr=0xffff88842ff59348 owner_raw=0xffff888100386480 flags=4 \
                    owner_pid=581 owner_prio=139 owner_on_cpu=0 owner_cpu=1";
        let expected = Reading {
            at: 35_955_116_056_001,
            waiter: 580,
            lock: 0xffff_8884_2ff5_9348,
            owner: 581,
            spins: false,
        };
        assert_eq!(our_line(line), Some(expected));
        let truth = "35955116056001 0 W 580 139 ffff88842ff59348 4 ffff888100386480 581 139 0 1\n\
                     1 0 E 580 139 ffff88842ff59348 0\n";
        assert_eq!(truths(truth), [expected]);
    }

    #[test]
    fn a_lock_that_was_let_go_between_two_readings_is_no_agreement() {
        let reading = |at: u64, owner| Reading { at, waiter: 1, lock: 2, owner, spins: true };
        let ours = [reading(0, 7), reading(1_000_000, 7), reading(2_000_000, 7)];
        let truth = [
            reading(500, 7),
            reading(1_000_400, 0),
            reading(2_000_600, 8),
            reading(9_000_000, 7),
            Reading { spins: false, ..reading(100, 7) },
        ];
        let expected =
            Agreement { same: 1, released: 1, other: 1, missing: 2, between: vec![400, 500, 600] };
        assert_eq!(Agreement::of(&ours, truth.iter()), expected);
    }
}
