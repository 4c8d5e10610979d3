//! Inferred lock owners beside those that were read in the kernel while the trace was recorded.

use crate::fidelity::build;
use crate::tree;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clocks of both recordings differ by less than this, ns.
const SLACK_NS: u64 = 200_000;

/// What a trace says of a lock over a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) owner: Option<i32>,
    pub(crate) permille: u16,
}

/// One begun wait and the owner that the kernel had at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    at: u64,
    kind: &'static str,
    waiter: i32,
    lock: String,
    owner: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Score {
    all: u32,
    said: u32,
    right: u32,
}

impl Score {
    fn count(&mut self, said: Option<i32>, truth: i32) {
        self.all += 1;
        self.said += u32::from(said.is_some());
        self.right += u32::from(said == Some(truth));
    }

    fn line(self, what: &str) -> String {
        let percent = |n: u32, of: u32| 100.0 * f64::from(n) / f64::from(of.max(1));
        format!(
            "{what:24} waits={} said={} ({:.1} %) right={} ({:.1} % of what is said)",
            self.all,
            self.said,
            percent(self.said, self.all),
            self.right,
            percent(self.right, self.said)
        )
    }
}

/// Scores the owners of a trace against the truth beside it; prints precision and coverage per
/// kind of lock, and how often each stated probability is met.
#[expect(clippy::print_stdout, reason = "a score is printed")]
pub(crate) fn run(files: &[&str]) -> Result<()> {
    let beside = tree::root().join("../shared/host-traces");
    let (trace, truth) = match files {
        [] => (beside.join("inversion-owner.trace.dat"), beside.join("owner-truth.txt")),
        [trace, truth] => (PathBuf::from(trace), PathBuf::from(truth)),
        _ => anyhow::bail!("owners takes a trace and the owners read beside it, or nothing"),
    };
    let binary = build()?;
    let owners = spans(&table(&binary, &trace, "owners")?);
    let waits = begins(&table(&binary, &trace, "lock_waits")?);
    let text = std::fs::read_to_string(&truth).with_context(|| truth.display().to_string())?;
    for line in score(&owners, &waits, &truths(&text)) {
        println!("{line}");
    }
    Ok(())
}

pub(crate) fn table(binary: &Path, trace: &Path, name: &str) -> Result<String> {
    let file = std::env::temp_dir().join(format!("resched-{name}-{}.csv", std::process::id()));
    let mut command = Command::new(binary);
    command.arg("analyze").arg(trace).args(["--table", name, "-o"]).arg(&file);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    Ok(text)
}

/// Columns of `owners`; a name, which may hold commas, stands between the first and the last.
pub(crate) fn spans(csv: &str) -> BTreeMap<String, Vec<Span>> {
    let mut locks: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for line in csv.lines().skip(1) {
        let first: Vec<&str> = line.splitn(7, ',').collect();
        let permille = line.rsplit(',').next().and_then(|p| p.parse().ok());
        if let ([lock, _, begin, end, _, owner, _], Some(permille)) = (&first[..], permille)
            && let (Ok(begin), Ok(end)) = (begin.parse(), end.parse())
        {
            let span = Span { begin, end, owner: owner.parse().ok(), permille };
            locks.entry((*lock).to_owned()).or_default().push(span);
        }
    }
    locks
}

/// When waits of each task for each lock begin.
pub(crate) fn begins(csv: &str) -> BTreeMap<(i32, String), Vec<u64>> {
    let mut begins: BTreeMap<(i32, String), Vec<u64>> = BTreeMap::new();
    for line in csv.lines().skip(1) {
        let first: Vec<&str> = line.splitn(4, ',').collect();
        let lock = line.split(',').find(|cell| cell.starts_with("0x"));
        if let ([begin, _, waiter, _], Some(lock)) = (&first[..], lock)
            && let (Ok(begin), Ok(waiter)) = (begin.parse(), waiter.parse())
        {
            begins.entry((waiter, lock.to_owned())).or_default().push(begin);
        }
    }
    begins
}

/// `ns cpu kind waiter prio lock flags owner_raw owner ...`; other kinds of lines are ends.
fn truths(text: &str) -> Vec<Truth> {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let flags: u32 = cells.get(6)?.parse().ok()?;
        let is_reader = flags & 2 != 0;
        let kind = match *cells.get(2)? {
            "M" if flags & 1 != 0 => "mutex, spinning",
            "M" => "mutex, sleeping",
            "W" if is_reader => "rwsem, reading",
            "W" => "rwsem, writing",
            _ => return None,
        };
        Some(Truth {
            at: cells.first()?.parse().ok()?,
            kind,
            waiter: cells.get(3)?.parse().ok()?,
            lock: format!("0x{}", cells.get(5)?),
            owner: cells.get(8)?.parse().ok()?,
        })
    };
    // Nobody had the lock at that moment: there is no owner to be found.
    text.lines().filter_map(line).filter(|t| t.owner != 0).collect()
}

fn score(
    owners: &BTreeMap<String, Vec<Span>>,
    waits: &BTreeMap<(i32, String), Vec<u64>>,
    truths: &[Truth],
) -> Vec<String> {
    let mut by_kind: BTreeMap<&str, Score> = BTreeMap::new();
    let mut by_permille: BTreeMap<u16, Score> = BTreeMap::new();
    for truth in truths {
        let key = (truth.waiter, truth.lock.clone());
        let begins = waits.get(&key).into_iter().flatten().copied();
        let near = begins.min_by_key(|b| b.abs_diff(truth.at));
        // A wait looks again and again; those moments are no begins of their own.
        let at = near.filter(|b| b.abs_diff(truth.at) < SLACK_NS).unwrap_or(truth.at + 1_000);
        let span =
            owners.get(&truth.lock).into_iter().flatten().find(|s| s.begin <= at && at < s.end);
        let said = span.and_then(|s| s.owner);
        by_kind.entry(truth.kind).or_default().count(said, truth.owner);
        if let (Some(span), Some(_)) = (span, said) {
            by_permille.entry(span.permille).or_default().count(said, truth.owner);
        }
    }
    let kinds = by_kind.into_iter().map(|(kind, score)| score.line(kind));
    let stated = by_permille.into_iter().map(|(permille, score)| {
        score.line(&format!("said with {:.2}", f64::from(permille) / 1000.0))
    });
    kinds.chain(stated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn owners_are_scored_at_the_begin_of_their_wait() {
        let owners = "lock,lock_kind,begin_ns,end_ns,state,owner_tid,owner_comm,basis,permille\n\
                      0xa1,mutex,0,1000,held,7,\"a, b\",inferred,950\n\
                      0xa1,mutex,1000,9000000,unknown,,,unknown,0\n";
        let waits = "begin_ns,end_ns,waiter_tid,waiter_comm,lock\n990,2000,8,c,0xa1\n";
        let truth = "1010 0 M 8 120 a1 33 ff 7 120 1 0\n\
                     1020 0 E 8 120 a1 0\n\
                     990 0 M 9 120 a1 32 ff 7 120 1 0\n\
                     990 0 W 9 120 a1 4 0 0 120 1 0\n";
        let lines = score(&spans(owners), &begins(waits), &truths(truth)).join("\n");
        expect![[r#"
            mutex, sleeping          waits=1 said=0 (0.0 %) right=0 (0.0 % of what is said)
            mutex, spinning          waits=1 said=1 (100.0 %) right=1 (100.0 % of what is said)
            said with 0.95           waits=1 said=1 (100.0 %) right=1 (100.0 % of what is said)"#]]
        .assert_eq(&lines);
    }
}
