//! How often the truth lies inside the interval of a prediction.

use super::Detail;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many of the judge's true ratios lie inside the intervals of each recording's prediction,
/// and how wide those are.
pub(super) fn count(binary: &Path, truth: &Path, detail: Detail, rows: &[Value]) -> Result<String> {
    let source = if detail == Detail::Full { "full-" } else { "off-" };
    let mut runs: Vec<PathBuf> =
        std::fs::read_dir(truth)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    runs.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(source)));
    runs.sort();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("?").to_owned();
    let mut scenarios: Vec<String> = rows.iter().map(|r| text(r, "scenario")).collect();
    scenarios.dedup();
    let (mut inside, mut all, mut widths) = (0u32, 0u32, Vec::new());
    for (run, scenario) in runs.iter().flat_map(|run| scenarios.iter().map(move |s| (run, s))) {
        let tasks = intervals(binary, &run.join(format!("{scenario}.dat")), detail)?;
        for row in rows.iter().filter(|r| text(r, "scenario") == *scenario) {
            let task = text(row, "task");
            let found = tasks.iter().find(|t| t["key"]["name"] == task.as_str());
            let end = |end: &str| Some(1.0 + found?["response"][end].as_f64()?);
            let truth = row["true_ratio"].as_f64().unwrap_or(0.0);
            all += 1;
            if let (Some(low), Some(high)) = (end("low"), end("high")) {
                inside += u32::from((low..=high).contains(&truth));
                widths.push(high / low);
            }
        }
    }
    widths.sort_by(f64::total_cmp);
    let width = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
    let percent = 100.0 * f64::from(inside) / f64::from(all.max(1));
    Ok(format!("inside={inside} of {all} ({percent:.1} %) median_high_over_low={width:.2}"))
}

/// The intervals of the tasks of one recording.
fn intervals(binary: &Path, file: &Path, detail: Detail) -> Result<Vec<Value>> {
    let stock = (detail == Detail::Stock).then(|| Stock::of(file)).transpose()?;
    let file = stock.as_ref().map_or(file, |stock| &stock.file);
    let mut command = Command::new(binary);
    command.arg("replay").arg(file).args(["--policy", "pe-7.3", "--json"]);
    let output = command.output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: no JSON", file.display()))?;
    Ok(answer["intervals"]["tasks"].as_array().cloned().unwrap_or_default())
}

/// A recording as kernels before 7.3 make it: the text of one of 7.3 without
/// `contended_release`, and its sidecar. Made as the judge makes its own; gone when dropped.
struct Stock {
    folder: PathBuf,
    file: PathBuf,
}

impl Stock {
    fn of(recording: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("resched-stock-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(recording.file_name().context("a file")?);
        let stock = Self { folder, file };
        let report = Command::new("trace-cmd").args(["report", "-t"]).arg(recording).output();
        let report = report.context("trace-cmd")?;
        ensure!(report.status.success(), "{}: no text", recording.display());
        std::fs::write(&stock.file, without_releases(&report.stdout))?;
        let side = |of: &Path| PathBuf::from(format!("{}.host.json", of.display()));
        if side(recording).exists() {
            std::fs::write(side(&stock.file), std::fs::read(side(recording))?)?;
        }
        Ok(stock)
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // What is left in the folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The lines of a text that are no `contended_release`.
fn without_releases(text: &[u8]) -> Vec<u8> {
    let event = b" contended_release:";
    let is_release = |line: &&[u8]| line.windows(event.len()).any(|part| part == event);
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|l| !is_release(l))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_record_no_releases() {
        let text =
            b" a 1: contention_begin: x\n a 2: contended_release: x\n a 3: contention_end: x";
        let left = String::from_utf8(without_releases(text)).expect("text");
        assert_eq!(left, " a 1: contention_begin: x\n a 3: contention_end: x");
    }
}
