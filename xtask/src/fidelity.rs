//! `docs/fidelity.md`: predictions beside kernels that really ran the same work.
//!
//! The figures come from a judge that shares no code with the product; it and its recordings lie
//! beside the repository, not in it.

mod inside;

use crate::tree;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const DOCUMENT: &str = "docs/fidelity.md";
const BEGIN: &str = "<!-- written by `cargo xtask fidelity` -->\n";
const END: &str = "<!-- end of what is written -->\n";
/// Tasks shown of each run, worst first.
const SHOWN: usize = 8;

/// How much of what happened a replay is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Every call of a mutex.
    Full,
    /// Contention only.
    Contention,
    /// The same as kernels before 7.3 record it, which have no `contended_release`.
    Stock,
}

impl Detail {
    const ALL: [Self; 3] = [Self::Full, Self::Contention, Self::Stock];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Contention => "contention",
            Self::Stock => "stock",
        }
    }

    /// What the judge has to be told.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Full => &["--detail", "full"],
            Self::Contention => &["--detail", "contention"],
            Self::Stock => &["--detail", "contention", "--stock"],
        }
    }
}

/// Judges all families at all details and writes the figures into the document.
///
/// `folder` holds `tools/judge.py` and `ground-truth/FAMILY`.
pub(crate) fn run(folder: Option<&str>) -> Result<()> {
    let folder = folder.map_or_else(|| tree::root().join("../shared"), PathBuf::from);
    let judge = folder.join("tools/judge.py");
    ensure!(
        judge.exists(),
        "{}: no judge; name the folder that holds tools/judge.py and ground-truth",
        judge.display()
    );
    let binary = build()?;
    let mut lines = String::new();
    let mut misses = String::new();
    let mut intervals = String::new();
    for family in ["uni", "smp"] {
        for detail in Detail::ALL {
            let truth = folder.join("ground-truth").join(family);
            let judged = judged(&judge, &binary, &truth, detail)?;
            let inside = inside::count(&binary, &truth, detail, &judged.rows)?;
            writeln!(lines, "{family:4} {:11} {}", detail.name(), judged.figures)?;
            writeln!(intervals, "{family:4} {:11} {inside}", detail.name())?;
            misses += &worst(family, detail, &judged.rows);
        }
    }
    let figures = format!(
        "{BEGIN}\n{misses}## All figures\n\n```text\n{lines}```\n\n## 90 % intervals: how often the truth \
         lies inside\n\n```text\n{intervals}```\n\n{END}"
    );
    let path = tree::root().join(DOCUMENT);
    let text = tree::read(DOCUMENT)?;
    std::fs::write(&path, replaced(&text, &figures)?).context(DOCUMENT)
}

struct Judged {
    figures: String,
    rows: Vec<Value>,
}

/// The release build of the product.
pub(crate) fn build() -> Result<PathBuf> {
    let command = ["build", "--release", "--package", "cli", "--message-format", "json"];
    let output = Command::new("cargo").args(command).current_dir(tree::root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    executables.next_back().context("cargo names no executable")
}

fn judged(judge: &Path, binary: &Path, truth: &Path, detail: Detail) -> Result<Judged> {
    let json = std::env::temp_dir().join(format!("resched-judge-{}.json", std::process::id()));
    let mut command = Command::new("python3");
    command.arg(judge).arg(binary).arg(truth).args(detail.arguments()).arg("--json").arg(&json);
    let output = command.output().context("python3")?;
    if !output.status.success() {
        bail!("the judge failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().last().context("the judge says nothing")?.to_owned();
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    std::fs::remove_file(&json)?;
    Ok(Judged { figures, rows: value["rows"].as_array().cloned().unwrap_or_default() })
}

/// The tasks predicted worst, as a table.
fn worst(family: &str, detail: Detail, rows: &[Value]) -> String {
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or(0.0);
    let mut rows: Vec<&Value> = rows.iter().collect();
    rows.sort_by(|a, b| number(b, "predict_error").total_cmp(&number(a, "predict_error")));
    let mut text = format!(
        "## Misses: {family}, {} detail\n\n\
         | scenario | task | off (us) | on (us) | true ratio | predicted | self error | error |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
        detail.name()
    );
    for row in rows.into_iter().take(SHOWN) {
        let name = |key: &str| row[key].as_str().unwrap_or("?").to_owned();
        let percent = |key: &str| format!("{:.1} %", 100.0 * number(row, key));
        text += &format!(
            "| {} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {} | {} |\n",
            name("scenario"),
            name("task"),
            number(row, "off_us"),
            number(row, "on_us"),
            number(row, "true_ratio"),
            number(row, "predicted_ratio"),
            percent("self_error"),
            percent("predict_error"),
        );
    }
    text + "\n"
}

/// The document with everything between the marks replaced.
fn replaced(text: &str, figures: &str) -> Result<String> {
    let marks = format!("{DOCUMENT}: has no `{}` ... `{}`", BEGIN.trim(), END.trim());
    let (before, rest) = text.split_once(BEGIN).context(marks.clone())?;
    let (_, after) = rest.split_once(END).context(marks)?;
    Ok(format!("{before}{figures}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = format!("kept\n{BEGIN}old\n{END}kept too\n");
        let new = replaced(&text, &format!("{BEGIN}new\n{END}")).expect("marked");
        assert_eq!(new, format!("kept\n{BEGIN}new\n{END}kept too\n"));
        assert!(replaced("no marks", "new").is_err());
    }

    #[test]
    fn the_worst_task_comes_first() {
        let row = |task: &str, error: f64| {
            json!({"scenario": "s", "task": task, "off_us": 10.0, "on_us": 5.0, "true_ratio": 0.5,
                   "predicted_ratio": 0.6, "self_error": 0.01, "predict_error": error})
        };
        expect![[r"
            ## Misses: uni, full detail

            | scenario | task | off (us) | on (us) | true ratio | predicted | self error | error |
            |---|---|--:|--:|--:|--:|--:|--:|
            | s | bad | 10 | 5 | 0.50 | 0.60 | 1.0 % | 20.0 % |
            | s | good | 10 | 5 | 0.50 | 0.60 | 1.0 % | 1.0 % |

        "]]
        .assert_eq(&worst("uni", Detail::Full, &[row("good", 0.01), row("bad", 0.2)]));
    }
}
