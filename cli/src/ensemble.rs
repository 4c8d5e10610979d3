//! Many replays of one recording, on all cores: intervals, and each mechanism's share.

use crate::study::{Study, Variant};
use analysis::{Doubts, Draw, Fidelity, Intervals, Summary};
use anyhow::Result;
use replay::{Mechanisms, Policy, Setting, Switch};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `n` pieces of work on all cores; the results are in order, whoever did them.
pub(crate) fn parallel<R: Send>(n: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(n));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(n) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= n {
                        return;
                    }
                    let result = work(index);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How many pairs of replays a prediction is the mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draws {
    /// As many, and then more until their mean is known well.
    least: usize,
    most: usize,
}

impl Draws {
    /// A mean of fewer is no estimate.
    pub(crate) const LEAST: usize = 8;
    /// More at a time: not as many as there are cores, for answers are the same on every machine.
    const STEP: usize = 4;

    /// At most so many; 0: none.
    pub(crate) fn up_to(most: u16) -> Self {
        let most = usize::from(most);
        Self { least: most.min(Self::LEAST), most }
    }

    /// What is drawn where nobody asks for a number; long recordings have many episodes each.
    pub(crate) fn usual(study: &Study) -> Self {
        let is_large = study.input.recording.events.len() > 500_000;
        Self { least: Self::LEAST, most: if is_large { Self::LEAST } else { 32 } }
    }
}

/// Pairs of replays under two variants; none where nothing can be drawn.
pub(crate) fn draws(
    study: &Study,
    [before, after]: [&Variant; 2],
    draws: Draws,
) -> Result<Vec<Draw>> {
    let mut list: Vec<Draw> = Vec::new();
    if draws.most == 0 || [before, after].iter().any(|v| v.policy == Policy::Recorded) {
        return Ok(list);
    }
    loop {
        let done = list.len();
        let n = if done == 0 { draws.least } else { Draws::STEP.min(draws.most - done) };
        let more: Vec<Result<Draw>> = parallel(n, |index| {
            let study = study.draw(done + index);
            let of = |v: &Variant| study.replay(v.clone()).map(|r| analysis::summary(&r.trace));
            Ok(Draw { before: of(before)?, after: of(after)? })
        });
        for draw in more {
            list.push(draw?);
        }
        if list.len() >= draws.most || analysis::is_settled(&list) {
            return Ok(list);
        }
    }
}

/// The estimates and intervals of a comparison of two variants.
pub(crate) fn intervals(study: &Study, drawn: &[Draw], fidelity: &Fidelity) -> Intervals {
    if drawn.is_empty() {
        return Intervals::default();
    }
    let steadiest_permille = study.demand.steadiest_permille();
    analysis::intervals(drawn, &Doubts { fidelity, steadiest_permille })
}

/// How far replays under `none` are from the recording: the mean of as many draws as any estimate
/// needs, or of those that are asked for; without draws, one replay.
pub(crate) fn fidelity(study: &Study, draws: Draws) -> Result<Fidelity> {
    if study.is_scenario() {
        return Ok(study.fidelity(&[]));
    }
    let none = Variant::plain(Policy::None);
    let replays: Result<Vec<Summary>> = parallel(draws.least.max(1), |index| {
        let none = none.clone();
        let replay =
            if draws.least == 0 { study.replay(none) } else { study.draw(index).replay(none) };
        Ok(analysis::summary(&replay?.trace))
    })
    .into_iter()
    .collect();
    Ok(study.fidelity(&replays?.iter().collect::<Vec<_>>()))
}

/// What one mechanism brings.
pub(crate) struct Share {
    pub(crate) switch: Switch,
    /// Whether the policy has it.
    pub(crate) is_on: bool,
    /// The policy with this one mechanism the other way round.
    pub(crate) flipped: Option<Summary>,
    /// Proxy execution at its barest with only this mechanism added.
    pub(crate) alone: Option<Summary>,
}

/// Each mechanism taken away from a policy (or added to it), and each added alone to the barest
/// form of proxy execution.
pub(crate) struct Attribution {
    /// The policy itself.
    pub(crate) whole: Summary,
    /// Proxy execution and spinning, nothing else.
    pub(crate) bare: Summary,
    pub(crate) shares: Vec<Share>,
}

/// Proxy execution with nothing that a user can take away from it.
fn bare(mechanisms: Mechanisms) -> Mechanisms {
    let optional = [
        Switch::ChainMigration,
        Switch::ReturnInWakeup,
        Switch::DonorMigration,
        Switch::SleepingOwners,
        Switch::Handoff,
        Switch::LocalHandoffResched,
    ];
    optional.into_iter().fold(mechanisms, |m, switch| m.set(Setting::Without(switch)))
}

/// A mechanism and what it cannot be without, added.
fn with(mechanisms: Mechanisms, switch: Switch) -> Mechanisms {
    let needs_migration = matches!(switch, Switch::ChainMigration | Switch::ReturnInWakeup);
    let base = if needs_migration {
        mechanisms.set(Setting::With(Switch::DonorMigration))
    } else {
        mechanisms
    };
    base.set(Setting::With(switch))
}

/// A mechanism and what cannot be without it, taken away.
fn without(mechanisms: Mechanisms, switch: Switch) -> Mechanisms {
    let gone = mechanisms.set(Setting::Without(switch));
    if switch == Switch::DonorMigration {
        let gone = gone.set(Setting::Without(Switch::ChainMigration));
        return gone.set(Setting::Without(Switch::ReturnInWakeup));
    }
    gone
}

/// Finds each mechanism's share in what a variant does.
pub(crate) fn attribute(study: &Study, variant: &Variant) -> Result<Attribution> {
    let whole = variant.mechanisms;
    let asked: Vec<Switch> = Switch::ALL
        .into_iter()
        .filter(|s| {
            !matches!(s, Switch::ProxyExecution | Switch::Inheritance | Switch::UnlockWindow)
        })
        .collect();
    let mut sets = vec![Some(whole), Some(bare(whole))];
    for &switch in &asked {
        let flipped =
            if switch.is_on(&whole) { without(whole, switch) } else { with(whole, switch) };
        // Spinning is no part of proxy execution: alone it is what bare has already.
        let alone = (switch != Switch::Spinning).then(|| with(bare(whole), switch));
        sets.extend([Some(flipped), alone].map(|m| m.filter(|m| m.check().is_ok())));
    }
    let summaries: Result<Vec<Option<Summary>>> = parallel(sets.len(), |index| {
        let Some(mechanisms) = sets[index] else { return Ok(None) };
        let replayed = study.replay(Variant { mechanisms, ..variant.clone() })?;
        Ok(Some(analysis::summary(&replayed.trace)))
    })
    .into_iter()
    .collect();
    let mut summaries = summaries?.into_iter();
    let mut next = || summaries.next().flatten();
    let (Some(whole_summary), Some(bare)) = (next(), next()) else {
        anyhow::bail!("{}: cannot be taken apart", variant.name)
    };
    let share = |switch: Switch| Share {
        switch,
        is_on: switch.is_on(&whole),
        flipped: next(),
        alone: next(),
    };
    Ok(Attribution { whole: whole_summary, bare, shares: asked.into_iter().map(share).collect() })
}
