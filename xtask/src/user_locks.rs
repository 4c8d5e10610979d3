//! Owners of user-space mutexes as `resched record --detail owner` reads them, beside the notes of a
//! program that writes down who has which when.

use crate::fidelity::build;
use crate::owners::{Span, begins, spans, table};
use crate::terminal::print;
use crate::tree;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::process::Command;

/// Addresses of programs in the numbers that locks have in tables.
const ADDRESS: u64 = (1 << 47) - 1;

/// A thread had a mutex from one moment to another, monotonic nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    thread: i32,
    from: u64,
    to: u64,
}

/// What became of the waits of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Score {
    all: u32,
    right: u32,
    /// The notes have nobody at that moment: between two of a thread's own instructions.
    between: u32,
    wrong: u32,
}

/// Records the program, and counts the waits at whose begin both name the same owner.
pub(crate) fn run() -> Result<()> {
    let resched = build()?;
    let source = tree::root().join("fixtures/workload/user-locks.c");
    let folder = std::env::temp_dir().join(format!("resched-user-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("user-locks");
    tree::compile(&source, &program)?;
    let trace = folder.join("run.dat");
    let workload = format!("{} 5 > {}", program.display(), folder.join("notes").display());
    let recorded = Command::new(&resched)
        .args(["record", "--detail", "owner", "-o"])
        .arg(&trace)
        .args(["--", "sh", "-c", &workload])
        .output()?;
    ensure!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let notes = std::fs::read_to_string(folder.join("notes")).context("the program's notes")?;
    let owners = spans(&table(&resched, &trace, "owners")?);
    let waits = begins(&table(&resched, &trace, "lock_waits")?);
    let Score { all, right, between, wrong } = score(&owners, &waits, &held(&notes));
    let percent = 100.0 * f64::from(right) / f64::from(all.max(1));
    print(&format!("| user-locks | {all} | {right} ({percent:.2} %) | {between} | {wrong} |"));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Notes by address, in the order in which the mutex was had.
fn held(notes: &str) -> BTreeMap<u64, Vec<Held>> {
    let mut held: BTreeMap<u64, Vec<Held>> = BTreeMap::new();
    for line in notes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [thread, lock, from, to] = words[..]
            && let Ok(lock) = u64::from_str_radix(lock.trim_start_matches("0x"), 16)
            && let (Ok(thread), Ok(from), Ok(to)) = (thread.parse(), from.parse(), to.parse())
        {
            held.entry(lock).or_default().push(Held { thread, from, to });
        }
    }
    held.values_mut().for_each(|list| list.sort_by_key(|held| held.from));
    held
}

fn score(
    owners: &BTreeMap<String, Vec<Span>>,
    waits: &BTreeMap<(i32, String), Vec<u64>>,
    held: &BTreeMap<u64, Vec<Held>>,
) -> Score {
    let mut score = Score::default();
    for ((waiter, lock), begins) in waits {
        let number = u64::from_str_radix(lock.trim_start_matches("0x"), 16).unwrap_or(0);
        // The program's own mutexes have notes; others of its C library have none.
        let Some(notes) = held.get(&(number & ADDRESS)).filter(|_| number >> 62 == 1) else {
            continue;
        };
        for begin in begins {
            let said = owners.get(lock).and_then(|spans| owner_at(spans, *begin));
            let noted = notes[..notes.partition_point(|held| held.from <= *begin)].last();
            let noted = noted.filter(|held| *begin < held.to).map(|held| held.thread);
            score.all += 1;
            match noted {
                Some(thread) if Some(thread) == said => score.right += 1,
                Some(thread) if thread != *waiter => score.wrong += 1,
                _ => score.between += 1,
            }
        }
    }
    score
}

fn owner_at(spans: &[Span], at: u64) -> Option<i32> {
    let span = spans.get(spans.partition_point(|span| span.end <= at))?;
    span.owner.filter(|_| span.begin <= at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_right_when_both_name_the_same_owner() {
        let held = held("7 0x10 100 200\n8 0x10 210 300\n");
        let lock = format!("{:#x}", 1u64 << 62 | 0x10);
        let span = |begin, end, owner| Span { begin, end, owner: Some(owner), permille: 1000 };
        let owners = BTreeMap::from([(lock.clone(), vec![span(100, 205, 7), span(205, 300, 9)])]);
        let waits = BTreeMap::from([((9, lock), vec![150, 204, 250])]);
        let expected = Score { all: 3, right: 1, between: 1, wrong: 1 };
        assert_eq!(score(&owners, &waits, &held), expected);
    }
}
