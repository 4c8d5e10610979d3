//! Who ran on a CPU, in which order and for how long: on both sides, until they differ.

use super::{
    Act, Difference, Place, SLIP_NS, Side, Who, cpu_number, differs, own, since, why_left,
};
use model::{CpuId, LockId, SchedEvent, Tid};
use replay::Rule;
use std::collections::BTreeMap;

/// One task on a CPU without interruption, or the CPU idle.
#[derive(Clone, Copy, Debug)]
struct Turn {
    who: Tid,
    start: u64,
    end: u64,
    /// How it was chosen.
    choice: Rule,
    /// Why it ended.
    why_end: Rule,
    /// The trace begins or ends in it: how long it was is not known.
    begins_before: bool,
    is_cut: bool,
}

impl Turn {
    fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// How far the two sides of one CPU go together.
pub(super) struct Walk {
    pub(super) first: Option<Difference>,
    /// Times in the recording of turns that agree, and of slips.
    pub(super) agreed: Vec<u64>,
    pub(super) slips: Vec<u64>,
}

pub(super) fn differences(recorded: Side<'_>, replayed: Side<'_>, who: &Who<'_>) -> Vec<Walk> {
    let (mut a, mut b) = (turns(recorded), turns(replayed));
    let cpus: Vec<CpuId> = a.keys().copied().collect();
    let mut walk = |cpu: CpuId| {
        let (a, b) = (a.remove(&cpu).unwrap_or_default(), b.remove(&cpu).unwrap_or_default());
        walk(cpu, begun(&a), begun(&b), who)
    };
    cpus.into_iter().map(&mut walk).collect()
}

/// Without the moment in which a replay's first tasks arrive.
fn begun(turns: &[Turn]) -> &[Turn] {
    match turns {
        [first, rest @ ..] if first.who == Tid::IDLE && first.length() < SLIP_NS => rest,
        all => all,
    }
}

fn turns(side: Side<'_>) -> BTreeMap<CpuId, Vec<Turn>> {
    let (start, end) = (side.trace.start.0, side.trace.end.0);
    let mut lines: BTreeMap<CpuId, Vec<Turn>> = BTreeMap::new();
    let mut woken: BTreeMap<Tid, u64> = BTreeMap::new();
    let mut waits: BTreeMap<Tid, LockId> = BTreeMap::new();
    for (index, event) in side.recording.events.iter().enumerate() {
        match event.kind {
            SchedEvent::Waking(w) | SchedEvent::Wakeup(w) | SchedEvent::WakeupNew(w) => {
                woken.insert(w.tid, event.at.0);
            }
            SchedEvent::ContentionBegin { lock, .. } => {
                waits.extend(own(event).map(|tid| (tid, lock)));
            }
            SchedEvent::ContentionEnd { .. } => {
                own(event).map(|tid| waits.remove(&tid));
            }
            SchedEvent::Switch { prev, prev_state, next, .. } => {
                let at = event.at.0;
                let decision = side.decision(index);
                let line = lines.entry(event.cpu).or_default();
                let open = |who| Turn {
                    who,
                    start,
                    end,
                    choice: Rule::Follows,
                    why_end: Rule::Follows,
                    begins_before: false,
                    is_cut: true,
                };
                if line.is_empty() {
                    line.push(Turn { begins_before: true, ..open(prev) });
                }
                let ago = woken.remove(&next).map(|woken| since(at, woken));
                if let Some(last) = line.last_mut() {
                    last.end = at;
                    last.is_cut = false;
                    last.why_end = match decision.cause {
                        Rule::Follows if prev == Tid::IDLE => Rule::WakeupPreempts,
                        Rule::Follows => why_left(prev_state, waits.get(&prev).copied(), ago),
                        cause => cause,
                    };
                }
                line.push(Turn { start: at, choice: decision.choice, ..open(next) });
            }
            _ => {}
        }
    }
    lines
}

/// Turns that must agree again behind a slip.
const AGREE: usize = 3;
/// Turns that a slip may take.
const LONGEST_SLIP: usize = 6;

fn walk(cpu: CpuId, a: &[Turn], b: &[Turn], who: &Who<'_>) -> Walk {
    let mut walk = Walk { first: None, agreed: Vec::new(), slips: Vec::new() };
    let (mut i, mut j) = (0, 0);
    let place = Place::Cpu(cpu_number(cpu));
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x.who != y.who {
            if let Some((di, dj)) = slip(&a[i..], &b[j..]) {
                walk.slips.push(x.start);
                (i, j) = (i + di, j + dj);
                continue;
            }
            walk.first = Some(Difference {
                at_ns: x.start,
                replay_at_ns: y.start,
                place,
                recorded: Act::ComesTo { task: who.full(x.who) },
                replayed: Act::ComesTo { task: who.full(y.who) },
                rule: y.choice,
                source: y.choice.source(),
            });
            return walk;
        }
        let is_known = x.who != Tid::IDLE && !x.begins_before;
        let is_length = is_known && differs(x.length(), y.length());
        // One that is cut off is as long as the other one, or longer.
        let is_open = x.is_cut && x.length() <= y.length() || y.is_cut && y.length() <= x.length();
        if is_length && !is_open {
            let ran = |turn: &Turn, next: Option<&Turn>| Act::Ran {
                task: who.full(turn.who),
                ns: turn.length(),
                end: turn.why_end,
                next: next.and_then(|next| who.full(next.who)),
            };
            // Who ended it first has decided.
            let first = if y.length() < x.length() { y } else { x };
            walk.first = Some(Difference {
                at_ns: x.start + first.length(),
                replay_at_ns: y.start + first.length(),
                place,
                recorded: ran(x, a.get(i + 1)),
                replayed: ran(y, b.get(j + 1)),
                rule: first.why_end,
                source: first.why_end.source(),
            });
            return walk;
        }
        walk.agreed.push(x.start);
        (i, j) = (i + 1, j + 1);
    }
    walk
}

/// How many turns to leave out on either side for both to agree again, if that is soon.
fn slip(a: &[Turn], b: &[Turn]) -> Option<(usize, usize)> {
    let is_soon = |turns: &[Turn], n: usize| {
        turns.get(n).is_some_and(|t| t.start.saturating_sub(turns[0].start) <= SLIP_NS)
    };
    let agrees = |(i, j): &(usize, usize)| {
        let same = |n: usize| a.get(i + n).map(|t| t.who) == b.get(j + n).map(|t| t.who);
        is_soon(a, *i) && is_soon(b, *j) && (0..AGREE).all(same)
    };
    let mut ways: Vec<(usize, usize)> =
        (0..=LONGEST_SLIP).flat_map(|i| (0..=LONGEST_SLIP).map(move |j| (i, j))).collect();
    ways.sort_by_key(|(i, j)| i + j);
    ways.into_iter().find(agrees)
}
