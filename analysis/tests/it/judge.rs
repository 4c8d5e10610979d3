//! Our responses against the project's independent judge of responses.

use crate::ground_truth;
use analysis::responses::by_name;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the judge prints, in microseconds with one decimal.
struct Judged {
    name: String,
    responses: u64,
    mean: f64,
    p50: f64,
    p95: f64,
    max: f64,
}

/// Runs the judge on a recording; `None` where its tools are missing.
fn judge(tool: &Path, recording: &Path) -> Option<Vec<Judged>> {
    // `-t` prints all digits of the time.
    let mut report = Command::new("trace-cmd")
        .args(["report", "-t"])
        .arg(recording)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let text = report.stdout.take()?;
    let output = Command::new("python3").arg(tool).stdin(text).output().ok()?;
    report.wait().ok()?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let number = |task: &serde_json::Value, field: &str| task[field].as_f64();
    let tasks = json["tasks"].as_object()?.iter().map(|(name, task)| {
        Some(Judged {
            name: name.clone(),
            responses: task["responses"].as_u64()?,
            mean: number(task, "response_mean_us")?,
            p50: number(task, "response_p50_us")?,
            p95: number(task, "response_p95_us")?,
            max: number(task, "response_max_us")?,
        })
    });
    tasks.collect()
}

fn agrees(ours_ns: f64, theirs_us: f64) -> bool {
    // They round to 0.1 us.
    (ours_ns / 1000.0 - theirs_us).abs() <= 0.0501
}

#[test]
fn responses_are_those_of_the_judge() {
    let Some(folder) = ground_truth::folder() else {
        return eprintln!("skipped: no shared folder");
    };
    let tool = folder.join("tools/responses.py");
    let mut compared = 0;
    for path in ground_truth::first_runs() {
        let Some(judged) = judge(&tool, &path) else {
            return eprintln!("skipped: no python3 or no trace-cmd");
        };
        let trace = ground_truth::trace(&path);
        let ours = by_name(&trace);
        for theirs in judged.iter().filter(|j| j.responses > 0) {
            let place = format!("{} of {}", theirs.name, path.display());
            let mine = ours.get(theirs.name.as_str()).unwrap_or_else(|| panic!("no {place}"));
            assert_eq!(mine.count, theirs.responses, "{place}");
            assert!(agrees(mine.mean_ns, theirs.mean), "mean of {place}: {mine:?}");
            assert!(agrees(mine.p50_ns as f64, theirs.p50), "p50 of {place}: {mine:?}");
            assert!(agrees(mine.p95_ns as f64, theirs.p95), "p95 of {place}: {mine:?}");
            assert!(agrees(mine.max_ns as f64, theirs.max), "max of {place}: {mine:?}");
            compared += 1;
        }
        let theirs = judged.iter().filter(|j| j.responses > 0).count();
        assert_eq!(ours.len(), theirs, "tasks of {}", path.display());
    }
    eprintln!("{compared} tasks agree");
}
