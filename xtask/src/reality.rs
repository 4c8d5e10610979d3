//! Ordinary programs on this machine: how far a replay under `none` is from what was recorded.
//!
//! Records each program with `resched record --detail owner`, replays the recording under the
//! policy it was made with, and writes a table into `docs/fidelity.md`. Programs that are not
//! installed are named and left out.

use crate::{fidelity, tree};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const DOCUMENT: &str = "docs/fidelity.md";
const BEGIN: &str = "<!-- written by `cargo xtask reality` -->\n";
const END: &str = "<!-- end of what `cargo xtask reality` writes -->\n";

/// Programs and the shell commands that run them for some seconds; the first word is what must be
/// installed.
const PROGRAMS: [(&str, &str); 8] = [
    ("hackbench, sockets", "hackbench -g 2 -f 4 -l 20000"),
    ("hackbench, pipes", "hackbench -p -g 2 -f 4 -l 20000"),
    ("stress-ng, user-space mutexes", "stress-ng --mutex 2 --timeout 3 -q"),
    ("stress-ng, context switches", "stress-ng --switch 2 --timeout 3 -q"),
    ("stress-ng, pipes", "stress-ng --pipe 2 --timeout 3 -q"),
    ("stress-ng, renames", "stress-ng --rename 4 --timeout 3 -q"),
    ("sysbench, threads", "sysbench threads --threads=4 --time=3 run > /dev/null"),
    (
        "cyclictest beside load",
        "cyclictest -q -t 2 -p 80 -i 1000 -D 3 & stress-ng --cpu 2 --timeout 3 -q; wait",
    ),
];

/// Recordings of each program; the first one is replayed, and all of them say how far the program's
/// own runs lie apart.
const RUNS: usize = 3;

/// Median error up to which a recording counts as replayed, and what its totals may be off by.
const NEAR_MEDIAN: f64 = 0.15;
const NEAR_TOTAL: f64 = 0.2;

/// Records, replays and judges; more recordings may be given.
pub(crate) fn run(files: &[&str]) -> Result<()> {
    let binary = fidelity::build()?;
    let folder = std::env::temp_dir().join(format!("resched-reality-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = judge(&binary, &folder, files);
    std::fs::remove_dir_all(&folder)?;
    let figures = format!("{BEGIN}\n{}\n{END}", result?);
    let path = tree::root().join(DOCUMENT);
    let text = tree::read(DOCUMENT)?;
    let marks = || format!("{DOCUMENT}: has no `{}` ... `{}`", BEGIN.trim(), END.trim());
    let (before, rest) = text.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    std::fs::write(&path, format!("{before}{figures}{after}")).context(DOCUMENT)
}

fn judge(binary: &Path, folder: &Path, files: &[&str]) -> Result<String> {
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for (name, command) in PROGRAMS {
        let program = command.split(' ').next().unwrap_or(command);
        if !is_installed(program) {
            missing.push(program);
            continue;
        }
        let to = folder.join(format!("{}.dat", rows.len()));
        let mut switches = Vec::new();
        for run in 0..RUNS {
            let to = if run == 0 { to.clone() } else { folder.join("again.dat") };
            record(binary, &to, command).with_context(|| name.to_owned())?;
            switches.push(recorded_switches(binary, &to)?);
        }
        let own = spread(&switches);
        rows.push(Row { own, ..row(name, &replayed(binary, &to)?) });
        std::fs::remove_file(&to)?;
    }
    for file in files {
        let path = PathBuf::from(file);
        let name = path.file_name().map_or(*file, |name| name.to_str().unwrap_or(file));
        rows.push(row(name, &replayed(binary, &path)?));
    }
    let mut text = table(&rows);
    missing.dedup();
    if !missing.is_empty() {
        writeln!(text, "\nNot installed here, and left out: {}.", missing.join(", "))?;
    }
    Ok(text)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn record(binary: &Path, to: &Path, command: &str) -> Result<()> {
    let mut recorder = Command::new(binary);
    recorder.args(["record", "--detail", "owner", "-o"]).arg(to).args(["--", "sh", "-c", command]);
    let output = recorder.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(to.exists(), "resched record: {}: {said}", output.status);
    Ok(())
}

/// What `resched replay --json` says of the baseline, the mean of eight replays.
fn replayed(binary: &Path, recording: &Path) -> Result<Value> {
    answer(binary, recording, &["replay", "--policy", "none", "--draws", "8", "--json"])
}

fn recorded_switches(binary: &Path, recording: &Path) -> Result<f64> {
    let info = answer(binary, recording, &["info", "--json"])?;
    let switches = info["counts"]["sched_switch"].as_f64();
    switches.with_context(|| format!("{}: no switches counted", recording.display()))
}

fn answer(binary: &Path, recording: &Path, args: &[&str]) -> Result<Value> {
    let output = Command::new(binary).args(args).arg(recording).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: {}: {said}", recording.display(), output.status))
}

/// Half the way from the least to the most, as a part of the mean.
fn spread(values: &[f64]) -> Option<f64> {
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean > 0.0).then(|| (most - least) / 2.0 / mean)
}

/// One recording's figures.
struct Row {
    name: String,
    median: Option<f64>,
    /// Switches, wakeups, lock waits and CPU time, replayed over recorded, less one.
    totals: [Option<f64>; 4],
    is_refused: bool,
    worst: String,
    /// How far the program's own runs lie apart in switches.
    own: Option<f64>,
}

fn row(name: &str, answer: &Value) -> Row {
    let trust = &answer["trust"];
    let total = |key: &str| trust["overall"][key].as_f64();
    let is_refused = trust["misses"].as_array().is_some_and(|misses| !misses.is_empty());
    let tasks = trust["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    // The worst of those that matter.
    let mut matter = tasks.iter().filter(|t| t["response_share"].as_f64() >= Some(0.01));
    let worst = matter.next().map_or("none".to_owned(), |t| {
        let error = t["response_error"].as_f64().unwrap_or(0.0);
        format!("`{}`, {}", t["key"]["name"].as_str().unwrap_or("?"), percent(Some(error)))
    });
    Row {
        name: name.to_owned(),
        median: trust["median_response_error"].as_f64(),
        totals: ["switches", "wakeups", "lock_wait", "cpu_time"].map(total),
        is_refused,
        worst,
        own: None,
    }
}

impl Row {
    fn is_near(&self) -> bool {
        let [switches, _, lock_wait, _] = self.totals;
        self.median.is_none_or(|median| median <= NEAR_MEDIAN)
            && [switches, lock_wait].iter().flatten().all(|total| total.abs() <= NEAR_TOTAL)
    }
}

fn percent(part: Option<f64>) -> String {
    part.map_or("none".to_owned(), |part| format!("{:.0} %", 100.0 * part))
}

fn table(rows: &[Row]) -> String {
    let mut text = "| program | median error | switches | own runs | wakeups | lock waits | CPU time | answered | worst task |\n\
                    |---|--:|--:|--:|--:|--:|--:|---|---|\n"
        .to_owned();
    for row in rows {
        let signed = |part: Option<f64>| {
            part.map_or("none".to_owned(), |part| format!("{:+.0} %", 100.0 * part))
        };
        let [switches, wakeups, lock_wait, cpu_time] = row.totals.map(signed);
        let own = row.own.map_or("none".to_owned(), |own| format!("± {}", percent(Some(own))));
        let answered = if row.is_refused { "no" } else { "yes" };
        text += &format!(
            "| {} | {} | {switches} | {own} | {wakeups} | {lock_wait} | {cpu_time} | {answered} | {} |\n",
            row.name,
            percent(row.median),
            row.worst
        );
    }
    let near = rows.iter().filter(|row| row.is_near()).count();
    let (median, total) = (percent(Some(NEAR_MEDIAN)), percent(Some(NEAR_TOTAL)));
    text + &format!(
        "\nOf {} recordings {near} have a median error of at most {median} and totals of switches \
         and lock waits within {total}.\n",
        rows.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn own_runs_lie_apart_by_half_their_range() {
        assert_eq!(spread(&[20.0, 44.0, 32.0]), Some(0.375));
        assert_eq!((spread(&[5.0]), spread(&[0.0, 0.0]), spread(&[])), (Some(0.0), None, None));
    }

    #[test]
    fn a_row_says_how_far_the_baseline_is() {
        let task = |name: &str, share: f64, error: f64| json!({"key": {"name": name}, "response_share": share, "response_error": error});
        let answer = json!({"trust": {
            "median_response_error": 0.1,
            "overall": {"switches": -0.05, "wakeups": 0.01, "lock_wait": null, "cpu_time": 0.0},
            "misses": [],
            "tasks": [task("rare", 0.001, 9.0), task("often", 0.5, 0.2)],
        }});
        expect![[r#"
            | program | median error | switches | own runs | wakeups | lock waits | CPU time | answered | worst task |
            |---|--:|--:|--:|--:|--:|--:|---|---|
            | p | 10 % | -5 % | none | +1 % | none | +0 % | yes | `often`, 20 % |

            Of 1 recordings 1 have a median error of at most 15 % and totals of switches and lock waits within 20 %.
        "#]]
        .assert_eq(&table(&[row("p", &answer)]));
    }
}
