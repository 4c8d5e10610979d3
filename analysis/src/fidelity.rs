//! How far a replay can be trusted: the recording against its own replays under `none`.

use crate::compare::relative_change;
use crate::identity::TaskKey;
use crate::summary::{BasisShares, Summary, TaskSummary, owner_shares, summary};
use model::{LockKind, Trace};
use serde::Serialize;
use std::collections::BTreeMap;

/// Fewest recorded responses that make a task's mean worth comparing.
const FEWEST_RESPONSES: u64 = 5;

/// Tasks whose responses make up less than this part of the recording are left out of the median:
/// a kernel thread that woke five times for 20 us says nothing of how good a replay is.
const LEAST_SHARE: f64 = 0.01;

/// Recording against replay.
#[derive(Clone, Debug, Serialize)]
pub struct Fidelity {
    /// Tasks with at least five recorded responses, the worst first.
    pub tasks: Vec<TaskFidelity>,
    /// Median error of mean response of those that matter: at least a hundredth of the recording
    /// went into their responses. `None` without such tasks.
    pub median_response_error: Option<f64>,
    /// The task whose mean response the replay misses most, and by how much.
    pub worst: Option<(TaskKey, f64)>,
    /// All tasks together.
    pub overall: Overall,
    /// Why no prediction can rest on this baseline; empty when one can.
    pub misses: Vec<Miss>,
    /// How well those owners are known in the recording that the replay rests on: of the locks
    /// that its tasks acquire themselves.
    pub owners: BasisShares,
}

/// A baseline that misses half of the tasks by more than this carries no prediction.
const CARRIES_NOTHING: f64 = 0.5;
/// Nor does one with more than so many times what was recorded of something, or less than one in
/// so many.
const FACTOR: f64 = 2.0;
/// Lock waits count when all of them together are at least this part of the recording, and
/// switches and wakeups when there are so many.
const LEAST_WAITED: f64 = 0.01;
const FEWEST_TIMES: u64 = 100;

/// Something that the baseline replay has otherwise than the recording, by too much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Miss {
    /// What.
    pub measure: Measure,
    /// Relative to the recording: -0.9 is a tenth of it, 2 three times as much. Of responses, the
    /// median error to either side.
    pub error: f64,
}

/// What a baseline replay is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Mean responses of the tasks that matter.
    Response,
    /// Time in lock waits.
    LockWait,
    /// Switches.
    Switches,
    /// Wakeups.
    Wakeups,
    /// CPU time.
    CpuTime,
}

impl Fidelity {
    /// Whether the baseline is near enough to the recording for predictions to rest on it.
    #[must_use]
    pub fn carries_predictions(&self) -> bool {
        self.misses.is_empty()
    }
}

/// What the baseline misses by too much.
fn misses(median: Option<f64>, recorded: &Summary, overall: &Overall) -> Vec<Miss> {
    let is_far = |error: &f64| *error > FACTOR - 1.0 || *error < 1.0 / FACTOR - 1.0;
    let total = |measure, error: Option<f64>, counts: bool| {
        error.filter(|error| counts && is_far(error)).map(|error| Miss { measure, error })
    };
    let response = median.filter(|error| *error > CARRIES_NOTHING);
    let waited = recorded.waits.length.total_ns as f64;
    let waits_count = waited >= LEAST_WAITED * recorded.span_ns as f64;
    [
        response.map(|error| Miss { measure: Measure::Response, error }),
        total(Measure::LockWait, overall.lock_wait, waits_count),
        total(Measure::Switches, overall.switches, recorded.switches >= FEWEST_TIMES),
        total(Measure::Wakeups, overall.wakeups, recorded.wakeups >= FEWEST_TIMES),
        total(Measure::CpuTime, overall.cpu_time, true),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sums over all tasks, the mean of the replays against the recording: 0.1 is 10 % more. `None`
/// where the recording has none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Overall {
    /// Time in lock waits.
    pub lock_wait: Option<f64>,
    /// Time runnable without a CPU.
    pub run_delay: Option<f64>,
    /// Switches.
    pub switches: Option<f64>,
    /// Wakeups.
    pub wakeups: Option<f64>,
    /// CPU time of all tasks.
    pub cpu_time: Option<f64>,
    /// Migrations, those of donors included.
    pub migrations: Option<f64>,
}

impl Overall {
    fn of(recorded: &Summary, replays: &[&Summary]) -> Self {
        let change = |of: fn(&Summary) -> f64| {
            let sum: f64 = replays.iter().map(|replayed| of(replayed)).sum();
            relative_change(of(recorded), sum / replays.len().max(1) as f64)
        };
        Self {
            lock_wait: change(|s| s.waits.length.total_ns as f64),
            run_delay: change(|s| s.tasks.iter().map(|t| t.runnable_ns as f64).sum()),
            switches: change(|s| s.switches as f64),
            wakeups: change(|s| s.wakeups as f64),
            cpu_time: change(|s| s.tasks.iter().map(|t| t.run_ns as f64).sum()),
            migrations: change(|s| {
                (s.migrations.ordinary + s.migrations.donor + s.migrations.returned) as f64
            }),
        }
    }
}

/// One task's errors, relative to the recording: 0.1 is 10 % off, to either side.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFidelity {
    /// Who.
    pub key: TaskKey,
    /// Responses in the recording.
    pub responses: u64,
    /// All its recorded responses together, as a part of the recording.
    pub response_share: f64,
    /// Of the mean response; 1 when the replay has none.
    pub response_error: f64,
    /// Of the total lock wait; `None` when the recording has none.
    pub wait_error: Option<f64>,
    /// Of the time runnable without a CPU.
    pub delay_error: Option<f64>,
    /// Of the number of switches.
    pub switch_error: Option<f64>,
}

/// Compares a recording with replays under the policy it was recorded under, in which tasks acquire
/// locks of some kinds themselves.
///
/// What is compared is the mean of the replays: one replay is one throw, and a verdict on it another
/// one with another seed. Without any replay everything is missed.
#[must_use]
pub fn fidelity(
    recorded: &Trace,
    replays: &[&Summary],
    acquires: impl Fn(LockKind) -> bool,
) -> Fidelity {
    let before = summary(recorded);
    let after = means(replays);
    let span = recorded.span().0.max(1) as f64;
    let of_task = |before| task(before, &after, span);
    let mut tasks: Vec<TaskFidelity> = before.tasks.iter().filter_map(of_task).collect();
    tasks.sort_by(|a, b| {
        b.response_error.total_cmp(&a.response_error).then_with(|| a.key.cmp(&b.key))
    });
    let worst = tasks.first().map(|t| (t.key.clone(), t.response_error));
    // Sorted from the worst: the upper one of two middles is the first of them.
    let matters = |t: &&TaskFidelity| t.response_share >= LEAST_SHARE;
    let material: Vec<f64> = tasks.iter().filter(matters).map(|t| t.response_error).collect();
    let median = material.get(material.len() / 2).copied();
    let overall = Overall::of(&before, replays);
    let owners = owner_shares(recorded, acquires);
    let misses = misses(median, &before, &overall);
    Fidelity { tasks, median_response_error: median, worst, overall, misses, owners }
}

/// What a task is compared by.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    response: f64,
    wait: f64,
    delay: f64,
    switches: f64,
}

impl Measured {
    fn of(task: &TaskSummary) -> Self {
        Self {
            response: task.responses.mean_ns,
            wait: task.waits.length.total_ns as f64,
            delay: task.runnable_ns as f64,
            switches: task.switches as f64,
        }
    }
}

/// The means of all replays; who is not in one of them has nothing there.
fn means<'s>(replays: &[&'s Summary]) -> BTreeMap<&'s TaskKey, Measured> {
    let mut means: BTreeMap<&TaskKey, Measured> = BTreeMap::new();
    let part = 1.0 / replays.len().max(1) as f64;
    for task in replays.iter().flat_map(|replayed| &replayed.tasks) {
        let (mean, of) = (means.entry(&task.key).or_default(), Measured::of(task));
        mean.response += part * of.response;
        mean.wait += part * of.wait;
        mean.delay += part * of.delay;
        mean.switches += part * of.switches;
    }
    means
}

fn task(
    before: &TaskSummary,
    after: &BTreeMap<&TaskKey, Measured>,
    span: f64,
) -> Option<TaskFidelity> {
    if before.responses.count < FEWEST_RESPONSES {
        return None;
    }
    let after = after.get(&before.key).copied().unwrap_or_default();
    let recorded = Measured::of(before);
    let error = |of: fn(&Measured) -> f64| relative_change(of(&recorded), of(&after)).map(f64::abs);
    Some(TaskFidelity {
        key: before.key.clone(),
        responses: before.responses.count,
        response_share: before.responses.total_ns as f64 / span,
        response_error: error(|m| m.response).unwrap_or(0.0),
        wait_error: error(|m| m.wait),
        delay_error: error(|m| m.delay),
        switch_error: error(|m| m.switches),
    })
}
