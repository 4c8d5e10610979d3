//! `resched explain`: the worst inversion episodes, as a story and a drawing.

use super::{print, print_json, replay};
use crate::args::Explain;
use crate::ensemble::{self, Draws};
use crate::input::Input;
use crate::outcome::{Outcome, say};
use crate::render::{lanes, ms, name, seconds, summary};
use crate::study::{CostChoice, Replayed, Study, Variant, Verdict, Weakness};
use ::replay::Policy;
use analysis::Episode;
use analysis::episode::EpisodeOwner;
use analysis::episode::lanes as lanes_of;
use anyhow::Result;
use model::{Basis, SchedParams, SchedPolicy, Timestamp, Trace};
use std::fmt::Write;

pub(super) fn run(args: &Explain) -> Result<Outcome> {
    let policy: Policy = args.policy.parse()?;
    let mut study = Study::of(Input::open_to_look(&args.file)?, CostChoice::Calibrated)?;
    study.seed = args.seed;
    let weaknesses = study.weaknesses();
    for weakness in &weaknesses {
        say(&format!("resched: {}: {}", study.input.name, weakness.text()));
    }
    let recorded = study.recorded();
    let counts = |waiter| args.task.as_ref().is_none_or(|task| recorded.name(waiter) == task);
    let episodes = analysis::worst_episodes_of(recorded, args.worst, counts);
    if episodes.is_empty() {
        if args.json {
            print_json(&episodes_as_json(recorded, &episodes, &[]))?;
        } else {
            print("no lock waits to explain\n")?;
        }
        return Ok(if weaknesses.is_empty() { Outcome::Done } else { Outcome::Inconclusive });
    }
    let (replayed, is_faithful) = if weaknesses.contains(&Weakness::ProxyExecutionOn) {
        (Vec::new(), true)
    } else {
        replays(&study, policy)?
    };
    let is_sound = weaknesses.is_empty() && is_faithful;
    let outcome = if is_sound { Outcome::Done } else { Outcome::Inconclusive };
    if args.json {
        print_json(&episodes_as_json(recorded, &episodes, &replayed))?;
        return Ok(outcome);
    }
    let title = if study.is_scenario() { "none" } else { "recorded" };
    let mut text = String::new();
    for (n, episode) in episodes.iter().enumerate() {
        let _ = writeln!(text, "{}. {}", n + 1, story(recorded, episode, Told::Recorded));
        text.push_str(&summary::parts(&episode.parts));
        text.push_str(&lanes::draw(title, recorded, &episode.lanes, episode.window));
        for replayed in &replayed {
            let name = &replayed.variant.name;
            text.push_str(&counterpart(recorded, episode, name, &replayed.trace));
        }
        text.push('\n');
    }
    text.push_str(lanes::LEGEND);
    print(&text)?;
    Ok(outcome)
}

/// Each episode, with what the whole response became in each replay.
fn episodes_as_json(
    recorded: &Trace,
    episodes: &[Episode],
    replayed: &[Replayed],
) -> Vec<serde_json::Value> {
    let one = |e: &Episode| {
        let mut json = as_json(recorded, e);
        let of = |r: &Replayed| {
            let pair = analysis::same_response(recorded, e.waiter, e.begin, &r.trace);
            let lengths = pair.map(|(was, is)| [was, is].map(|r| r.end.since(r.begin).0));
            serde_json::json!({
                "policy": r.variant.name,
                "recorded_response_ns": lengths.map(|l| l[0]),
                "response_ns": lengths.map(|l| l[1]),
            })
        };
        json["replays"] = replayed.iter().map(of).collect();
        json
    };
    episodes.iter().map(one).collect()
}

/// The replay under `none`, which what the policy brings is measured by, and the one under the
/// policy; and whether a prediction can rest on them.
fn replays(study: &Study, policy: Policy) -> Result<(Vec<Replayed>, bool)> {
    if policy == Policy::Recorded {
        return Ok((vec![study.replay(Variant::plain(policy))?], true));
    }
    let base = study.replay(Variant::plain(Policy::None))?;
    let mut is_faithful = study.is_scenario()
        || replay::carries(study, &ensemble::fidelity(study, Draws::usual(study))?);
    let mut list = Vec::new();
    // A scenario's schedule under `none` is what its episodes are from.
    if !study.is_scenario() || policy == Policy::None {
        list.push(base);
    }
    if policy != Policy::None {
        list.push(study.replay(Variant::plain(policy))?);
    }
    for replayed in &list {
        is_faithful &= replay::goes_on(study, replayed);
    }
    Ok((list, is_faithful))
}

/// The worst episode of the baseline replay and the same response under the other policy.
pub(super) fn worst_of_replay(v: &Verdict) -> String {
    let trace = &v.base.trace;
    let Some(episode) = analysis::worst_episodes(trace, 1).into_iter().next() else {
        return "no lock waits\n".to_owned();
    };
    let told =
        if v.base.variant.policy == Policy::Recorded { Told::Recorded } else { Told::Replayed };
    let mut text = format!("worst episode  {}\n", story(trace, &episode, told));
    text.push_str(&lanes::draw(&v.base.variant.name, trace, &episode.lanes, episode.window));
    text.push_str(&counterpart(trace, &episode, &v.other.variant.name, &v.other.trace));
    text.push_str(lanes::LEGEND);
    text
}

/// What a story is told of. A replay knows its owners, however they were found in the recording.
#[derive(Clone, Copy)]
enum Told {
    Recorded,
    Replayed,
}

/// `7.545 s  high waits 9.2 ms for mutex 0x..1020, held by low (exact), while med0, med1 run`
fn story(trace: &Trace, e: &Episode, told: Told) -> String {
    let who = |task| name(trace.name(task));
    let lock_name = trace.lock_name(e.lock).map(|known| format!(" ({})", name(&known)));
    let mut text = format!(
        "{}  {} ({}) waits {} for {} {}{}",
        seconds(e.begin),
        who(e.waiter),
        class(trace, e.waiter),
        ms(e.until.since(e.begin).0),
        e.kind.name(),
        short(e.lock),
        lock_name.unwrap_or_default()
    );
    let owners: Vec<String> = e
        .owners
        .iter()
        .map(|owner| {
            let class = class(trace, owner.task);
            match told {
                Told::Recorded => format!("{} ({class}; {})", who(owner.task), basis_text(owner)),
                Told::Replayed => format!("{} ({class})", who(owner.task)),
            }
        })
        .collect();
    let more = owners.len().saturating_sub(MOST_OWNERS);
    let mut owners = owners;
    if more > 0 {
        owners.truncate(MOST_OWNERS);
        owners.push(format!("{more} more"));
    }
    if owners.is_empty() {
        text.push_str(", its owner not known");
    } else {
        let _ = write!(text, ",\n  held by {}", owners.join(", then "));
    }
    let instead: Vec<String> = e.instead.iter().take(3).map(|(task, _)| who(*task)).collect();
    if !instead.is_empty() {
        let verb = if instead.len() == 1 { "runs" } else { "run" };
        let _ = write!(text, ",\n  while {} {verb} instead of the owner", instead.join(", "));
    }
    if e.is_lossy {
        text.push_str(" [events were lost near]");
    }
    text
}

/// `exact`, or `inferred, 0.89`: of a hundred such conclusions 89 are right.
fn basis_text(owner: &EpisodeOwner) -> String {
    match owner.basis {
        Basis::Inferred => format!("inferred, {:.2}", f64::from(owner.permille) / 1000.0),
        basis => basis_name(basis).to_owned(),
    }
}

fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Exact => "exact",
        Basis::Inferred => "inferred",
        Basis::Unknown => "unknown",
    }
}

/// Owners in a row that a story names.
const MOST_OWNERS: usize = 2;

/// `FIFO 50`, `nice 19`: how urgent a task is.
fn class(trace: &Trace, task: model::TaskId) -> String {
    match trace.task(task).sched {
        SchedParams { policy: SchedPolicy::Fifo, rt_priority, .. } => format!("FIFO {rt_priority}"),
        SchedParams { policy: SchedPolicy::Rr, rt_priority, .. } => format!("RR {rt_priority}"),
        SchedParams { policy: SchedPolicy::Deadline, .. } => "deadline".to_owned(),
        SchedParams { policy: SchedPolicy::Stop, .. } => "stop".to_owned(),
        SchedParams { policy: SchedPolicy::Idle, .. } => "idle".to_owned(),
        SchedParams { nice, .. } => format!("nice {nice}"),
    }
}

/// The end of an address tells locks apart; all of it fills the line.
fn short(lock: model::LockId) -> String {
    format!("…{:06x}", lock.0 & 0xff_ffff)
}

/// The same response in another trace, drawn at the same scale.
fn counterpart(a: &Trace, e: &Episode, title: &str, b: &Trace) -> String {
    let pair = analysis::same_response(a, e.waiter, e.begin, b);
    let Some((mine, theirs)) = pair else {
        return format!("  {title:<9} this response is not reached\n");
    };
    let length = e.window.1.since(e.window.0);
    let lead = mine.begin.0.saturating_sub(e.window.0.0);
    let late = e.window.0.0.saturating_sub(mine.begin.0);
    let from = Timestamp(theirs.begin.0.saturating_sub(lead) + late);
    let window = (from, from + length);
    let tasks: Vec<_> = e
        .lanes
        .iter()
        .filter_map(|lane| analysis::identity::counterpart(a, lane.task, b))
        .collect();
    let mut text = lanes::draw(title, b, &lanes_of(b, &tasks, window), window);
    let (was, is) = (mine.end.since(mine.begin).0, theirs.end.since(theirs.begin).0);
    let _ = writeln!(text, "  the whole response: {} -> {} under {title}", ms(was), ms(is));
    text
}

fn as_json(trace: &Trace, e: &Episode) -> serde_json::Value {
    serde_json::json!({
        "begin_ns": e.begin.0,
        "end_ns": e.until.0,
        "waiter": trace.name(e.waiter),
        "waiter_tid": trace.task(e.waiter).info.tid.0,
        "lock": e.lock.to_string(),
        "lock_kind": e.kind.name(),
        "owners": e.owners.iter().map(|owner| serde_json::json!({
            "task": trace.name(owner.task), "tid": trace.task(owner.task).info.tid.0,
            "basis": basis_name(owner.basis), "permille": owner.permille,
        })).collect::<Vec<_>>(),
        "instead": e.instead.iter().map(|(task, span)| serde_json::json!({
            "task": trace.name(*task), "ns": span.0,
        })).collect::<Vec<_>>(),
        "parts": e.parts,
        "lossy": e.is_lossy,
    })
}
