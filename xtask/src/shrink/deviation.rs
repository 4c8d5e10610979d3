//! How far a task's replay is from its recording, and whether a smaller scenario is still there.
//!
//! The recording says once what a response of the task took on average; so does the replay of the
//! whole demand under `none`. A smaller scenario still goes wrong when each measure is nearer to the
//! replay of the whole than half of the largest deviation between those two, and, where the recorded
//! task waited for locks, when it still has a critical section of a lock that another task has too.

use super::text::Text;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A part of the largest deviation by which a smaller scenario may differ from the whole.
const TOLERANCE: f64 = 0.5;
/// A deviation below this part of the recorded response is no reason to look for one.
const LEAST: f64 = 0.02;
/// A nonsensical scenario may take this much longer than the whole.
const PATIENCE: u32 = 20;

/// What a response of a task is made of, on average, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measures([f64; 5]);

const NAMES: [&str; 5] = ["response", "lock wait", "inversion", "wants a CPU", "CPU time"];
const RESPONSE: usize = 0;
const LOCK_WAIT: usize = 1;

impl Measures {
    /// Of the task `name`, or `name#2` for the second of that name, in what `resched analyze --json`
    /// prints; `None` without a response.
    fn of(summary: &Value, name: &str) -> Option<Self> {
        let (name, number) = numbered(name);
        let wanted = |task: &&Value| {
            let key = &task["key"];
            key["name"].as_str() == Some(name) && key["position"].as_u64() == Some(number - 1)
        };
        let task = summary["tasks"].as_array()?.iter().find(wanted)?;
        let count = task["responses"]["count"].as_f64().filter(|n| *n > 0.0)?;
        let inversion = &task["waits"]["inversion"];
        let each = |total: &Value| Some(total.as_f64()? / count);
        Some(Self([
            task["responses"]["mean_ns"].as_f64()?,
            each(&task["waits"]["length"]["total_ns"])?,
            each(&inversion["curable_ns"])? + each(&inversion["incurable_ns"])?,
            each(&task["runnable_ns"])?,
            each(&task["run_ns"])?,
        ]))
    }

    /// The largest difference in any of them.
    fn distance(self, other: Self) -> f64 {
        self.0.into_iter().zip(other.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

/// A task whose replay is not what was recorded.
#[derive(Debug)]
pub(crate) struct Deviation {
    binary: PathBuf,
    task: String,
    recorded: Measures,
    replayed: Measures,
    patience: Duration,
}

impl Deviation {
    /// Measures a task in the recording `file`, and in its demand, the scenario `whole`.
    pub(crate) fn of(binary: &Path, file: &Path, whole: &Path, task: &str) -> Result<Self> {
        let long = Duration::from_secs(3600);
        let measured = |of: &Path| -> Result<Measures> {
            let summary = summary(binary, of, long)?
                .with_context(|| format!("`resched analyze` does not take {}", of.display()))?;
            let advice = "`resched analyze` lists the tasks that have responses";
            Measures::of(&summary, task)
                .with_context(|| format!("{}: {task} has no response; {advice}", of.display()))
        };
        let recorded = measured(file)?;
        let begin = Instant::now();
        let replayed = measured(whole)?;
        let patience = begin.elapsed() * PATIENCE + Duration::from_millis(200);
        let found =
            Self { binary: binary.to_owned(), task: task.to_owned(), recorded, replayed, patience };
        if found.largest() < LEAST * recorded.0[RESPONSE] {
            bail!(
                "{task}: nothing goes wrong: its replay is as recorded. A scenario was never \
                 recorded: give a command for it\n{}",
                found.table(None)
            );
        }
        Ok(found)
    }

    fn largest(&self) -> f64 {
        self.recorded.distance(self.replayed)
    }

    /// Whether this scenario, whose text lies at `path`, still goes wrong.
    pub(crate) fn is_in(&self, text: &Text, path: &Path) -> Result<bool> {
        if self.recorded.0[LOCK_WAIT] > 0.0 && !text.shares_a_lock(numbered(&self.task).0) {
            return Ok(false);
        }
        let here = self.here(path)?;
        Ok(here.is_some_and(|m| m.distance(self.replayed) <= TOLERANCE * self.largest()))
    }

    fn here(&self, path: &Path) -> Result<Option<Measures>> {
        let summary = summary(&self.binary, path, self.patience)?;
        Ok(summary.and_then(|summary| Measures::of(&summary, &self.task)))
    }

    /// What stands above the scenario that is left.
    pub(crate) fn comment(&self, path: &Path) -> Result<String> {
        let table = self.table(self.here(path)?);
        Ok(table.lines().map(|line| format!("# {line}\n")).collect())
    }

    fn table(&self, here: Option<Measures>) -> String {
        let mut text = format!("{}, a response on average, in ms under none:\n", self.task);
        let _ = write!(text, "{:14}{:>10}{:>10}", "", "recorded", "replayed");
        text.push_str(if here.is_some() { "      here\n" } else { "\n" });
        for (n, name) in NAMES.into_iter().enumerate() {
            let ms = |m: Measures| m.0[n] / 1e6;
            let _ = write!(text, "  {name:12}{:10.3}{:10.3}", ms(self.recorded), ms(self.replayed));
            let _ = here.map(|here| write!(text, "{:10.3}", ms(here)));
            text.push('\n');
        }
        text
    }
}

/// `name#2` is the second task of its name, `name` the first.
fn numbered(task: &str) -> (&str, u64) {
    let number = |(name, n): (_, &str)| Some((name, n.parse().ok().filter(|n| *n > 0)?));
    task.rsplit_once('#').and_then(number).unwrap_or((task, 1))
}

/// What `resched analyze --json` says of a file; `None` when it fails or takes too long.
fn summary(binary: &Path, file: &Path, patience: Duration) -> Result<Option<Value>> {
    let answer = std::env::temp_dir().join(format!("resched-shrink-{}.json", std::process::id()));
    let mut command = Command::new(binary);
    command.arg("analyze").arg(file).arg("--json").stdin(Stdio::null()).stderr(Stdio::null());
    let child = command.stdout(File::create(&answer)?).spawn();
    let mut child = child.with_context(|| binary.display().to_string())?;
    let end = Instant::now() + patience;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let text = fs::read_to_string(&answer)?;
    fs::remove_file(&answer)?;
    let is_answer = status.is_some_and(|status| status.success());
    Ok(if is_answer { serde_json::from_str(&text).ok() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn summary_of(tasks: &[(&str, u64, u64, [f64; 5])]) -> Value {
        let task = |(name, position, count, m): &(&str, u64, u64, [f64; 5])| {
            json!({
                "key": { "name": name, "position": position },
                "responses": { "count": count, "mean_ns": m[0] },
                "waits": {
                    "length": { "total_ns": m[1] },
                    "inversion": { "curable_ns": m[2], "incurable_ns": 0 },
                },
                "runnable_ns": m[3],
                "run_ns": m[4],
            })
        };
        json!({ "tasks": tasks.iter().map(task).collect::<Vec<_>>() })
    }

    fn deviation() -> Deviation {
        Deviation {
            binary: PathBuf::new(),
            task: "high".to_owned(),
            recorded: Measures([9e6, 5e6, 4e6, 1e6, 3e6]),
            replayed: Measures([4e6, 0.0, 0.0, 1e6, 3e6]),
            patience: Duration::ZERO,
        }
    }

    #[test]
    fn a_task_is_found_by_name_and_number() {
        let all = summary_of(&[
            ("a", 0, 2, [3.0, 2.0, 0.0, 4.0, 6.0]),
            ("a", 1, 4, [5.0, 4.0, 4.0, 8.0, 12.0]),
            ("b", 0, 0, [0.0; 5]),
        ]);
        let of = |name: &str| Measures::of(&all, name).map(|m| m.0);
        assert_eq!(of("a"), Some([3.0, 1.0, 0.0, 2.0, 3.0]));
        assert_eq!(of("a#2"), Some([5.0, 1.0, 1.0, 2.0, 3.0]));
        assert_eq!((of("b"), of("c"), of("a#3")), (None, None, None));
    }

    #[test]
    fn the_largest_deviation_is_the_scale() {
        assert_eq!(deviation().largest(), 5e6);
    }

    #[test]
    fn what_is_left_says_what_it_shows() {
        let here = Measures([4.1e6, 0.0, 0.0, 1.05e6, 3.05e6]);
        expect![[r#"
            high, a response on average, in ms under none:
                            recorded  replayed      here
              response         9.000     4.000     4.100
              lock wait        5.000     0.000     0.000
              inversion        4.000     0.000     0.000
              wants a CPU      1.000     1.000     1.050
              CPU time         3.000     3.000     3.050
        "#]]
        .assert_eq(&deviation().table(Some(here)));
    }
}
