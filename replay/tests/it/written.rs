//! The law of the written demand: read back, it is the same demand, and gives the same schedule.

use crate::identity::{is_trace, open};
use fixtures::Dice;
use model::demand::TaskDemand;
use model::{Demand, Event, Names, TaskInfo};
use replay::{Options, Policy};
use std::path::{Path, PathBuf};
use trace_formats::script;

/// Larger recordings take too long for the fast suite.
const LARGEST: u64 = 5 << 20;

fn written(demand: &Demand) -> String {
    let mut text = String::new();
    model::demand::write(demand, &mut text).expect("a string takes anything");
    text
}

/// The demand as far as it is written, with names that do not depend on where it came from: a
/// recording names more than tasks.
fn comparable(demand: &Demand) -> Demand {
    let mut names = Names::default();
    let task = |task: &TaskDemand| TaskDemand {
        info: TaskInfo { comm: names.id(demand.names.text(task.info.comm)), ..task.info.clone() },
        ..task.clone()
    };
    let tasks = demand.tasks.iter().map(task).collect();
    Demand { tasks, names, stretches: Vec::new(), odd_affinities: Vec::new(), ..demand.clone() }
}

fn events(demand: &Demand, policy: Policy) -> Vec<Event> {
    replay::replay(demand, policy, &Options::default()).recording.events
}

/// Writes, reads and compares; the demand that was read, and the one it must be.
fn check_text(demand: &Demand, what: &str) -> (Demand, Demand) {
    let text = written(demand);
    let script = script::parse(&text).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (demand, back) = (comparable(demand), Demand::from_script(&script));
    assert_eq!(back.machine, demand.machine, "{what}");
    assert_eq!(back.latencies, demand.latencies, "{what}");
    assert_eq!((back.start, back.end), (demand.start, demand.end), "{what}");
    assert_eq!((&back.locks, &back.groups), (&demand.locks, &demand.groups), "{what}");
    assert_eq!(back.tasks.len(), demand.tasks.len(), "{what}");
    for (task, before) in back.tasks.iter().zip(&demand.tasks) {
        assert_eq!(back.names.text(task.info.comm), demand.names.text(before.info.comm), "{what}");
        let first_difference = task.ops.iter().zip(&before.ops).position(|(a, b)| a != b);
        assert_eq!(first_difference, None, "{what}: an op of {:?}", before.info);
        assert!(
            task == before,
            "{what}: {:?}\n{:?}\n{:?}",
            before.info,
            task.rounds,
            before.rounds
        );
    }
    assert_eq!(written(&back), text, "{what}");
    (back, demand)
}

/// Writes, reads, compares, and replays both.
fn check(demand: &Demand, what: &str) {
    let columns = written(demand).lines().map(|line| line.chars().count()).max();
    assert!(columns <= Some(100), "{what}: a line of {columns:?} columns");
    let (back, demand) = check_text(demand, what);
    for policy in [Policy::None, Policy::Pe73] {
        assert!(events(&back, policy) == events(&demand, policy), "{what} under {policy}");
    }
}

fn check_recording(path: &Path) {
    let (recording, host) = open(path);
    let (demand, _) = model::demand::extract(&recording, host.as_ref());
    check(&demand, &path.display().to_string());
}

/// Recordings in a folder beside the repository, without the very large.
fn beside(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_small = |path: &PathBuf| path.metadata().is_ok_and(|m| m.len() <= LARGEST);
    let paths = entries.flatten().map(|entry| entry.path());
    // A table of owners lies there too, as text.
    let is_table = |path: &PathBuf| path.ends_with("owner-truth.txt");
    let is_one = |path: &PathBuf| is_trace(path) && is_small(path) && !is_table(path);
    let mut list: Vec<PathBuf> = paths.filter(is_one).collect();
    list.sort();
    list
}

#[test]
fn every_recording_comes_back_from_its_text() {
    let all = fixtures::list("recorded").into_iter().map(|name| fixtures::path(&name));
    let list: Vec<PathBuf> = all.filter(|path| is_trace(path)).collect();
    assert!(list.len() >= 10, "{list:?}");
    list.iter().for_each(|path| check_recording(path));
}

#[test]
fn every_scenario_comes_back_from_its_text() {
    for file in fixtures::list("scenario") {
        let script = script::parse(&fixtures::text(&file)).expect("a script");
        check(&Demand::from_script(&script), &file);
    }
}

/// What a damaged recording still says may be odd, but it can be said.
#[test]
fn damaged_recordings_come_back_from_their_text() {
    let mut dice = Dice::new(23);
    let mut tasks = 0;
    for name in ["classic3-full.dat", "localhandoff-full.report.txt", "pipe-inversion.perf.data"] {
        let bytes = fixtures::bytes(&format!("recorded/{name}"));
        for n in 0..12 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + dice.roll(60) {
                // The events, not the formats in front of them.
                let at = damaged.len() / 3 + dice.position(damaged.len() * 2 / 3);
                damaged[at] = dice.byte();
            }
            let Ok(recording) = trace_formats::read(&damaged) else { continue };
            let (demand, _) = model::demand::extract(&recording, None);
            tasks += check_text(&demand, &format!("{name}, damage {n}")).0.tasks.len();
        }
    }
    assert!(tasks > 300, "only {tasks} tasks came back");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test says what it had to leave out")]
fn the_recordings_beside_the_repository_come_back_from_their_text() {
    for folder in [
        "ground-truth/uni/off-1",
        "ground-truth/uni/full-1",
        "ground-truth/smp/off-1",
        "ground-truth/smp/full-1",
        "ground-truth/real/off-1",
        "host-traces",
    ] {
        let list = beside(folder);
        if list.is_empty() {
            eprintln!("skipped: no recordings in {folder} beside the repository");
            continue;
        }
        list.iter().for_each(|path| check_recording(path));
        eprintln!("{folder}: {} recordings came back from their text", list.len());
    }
}
