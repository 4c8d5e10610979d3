//! How often the recorded kernel ticked, seen from when it ended slices.

use super::SwitchCause;
use crate::{CpuId, Event, Nanos, SchedEvent, Tid};
use std::collections::BTreeMap;

/// Common settings of `CONFIG_HZ`, rarest ticks first: ticks every 10 ms are also every 1 ms.
const COMMON_HZ: [u32; 4] = [100, 250, 300, 1000];
/// A period is cut into so many bins.
const BINS: usize = 20;
/// Fewest slice ends that say something.
const FEWEST: usize = 100;
/// Shorter stretches end otherwise than by their slice: who yields does it soon.
const SHORTEST_NS: u64 = 1_000_000;
/// Share of the slice ends, in percent, that must fall into two neighbouring bins.
const COHERENT_PERCENT: usize = 50;

/// A tick that slices end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub hz: u32,
    /// Where in its period it falls.
    pub phase: Nanos,
}

/// Ends of slices, while a recording is walked.
#[derive(Clone, Debug, Default)]
pub(super) struct SliceEnds {
    ends: Vec<u64>,
    came: BTreeMap<CpuId, u64>,
}

impl SliceEnds {
    /// Takes the next event and what led to it, if it is a switch whose cause is known.
    pub(super) fn observe(&mut self, event: &Event, cause: Option<SwitchCause>) {
        let SchedEvent::Switch { prev, prev_state, next, .. } = event.kind else { return };
        let came = self.came.insert(event.cpu, event.at.0);
        let is_slice = came.is_some_and(|came| event.at.0.saturating_sub(came) >= SHORTEST_NS);
        let ended = prev_state.is_runnable() && prev != Tid::IDLE && next != Tid::IDLE;
        if ended && is_slice && cause != Some(SwitchCause::Wakeup) {
            self.ends.push(event.at.0);
        }
    }

    /// Finds the tick: slices that nobody's wakeup ended end at one place of its period.
    ///
    /// # Source
    ///
    /// Our own measure; kernel model 5.8: without `HRTICK` slices end at ticks.
    pub(super) fn find(&self) -> Option<Tick> {
        COMMON_HZ.into_iter().find_map(|hz| coherent(&self.ends, hz))
    }
}

fn coherent(ends: &[u64], hz: u32) -> Option<Tick> {
    if ends.len() < FEWEST {
        return None;
    }
    let period = 1_000_000_000 / u64::from(hz);
    let width = period / BINS as u64;
    let mut bins = [0usize; BINS];
    for at in ends {
        bins[usize::try_from(at % period / width).unwrap_or(0).min(BINS - 1)] += 1;
    }
    let pair = |bin: usize| bins[bin] + bins[(bin + 1) % BINS];
    // Of equals the first.
    let best = (0..BINS).rev().max_by_key(|bin| pair(*bin))?;
    // The switch comes a little after its tick: the tick is taken to be where the bins begin.
    let next = (best + 1) % BINS;
    let first = if bins[best] * 4 < bins[next] { next } else { best };
    let phase = Nanos(first as u64 * width);
    (pair(best) * 100 >= ends.len() * COHERENT_PERCENT).then_some(Tick { hz, phase })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_end_together_show_the_tick() {
        // Every third or fifth tick of 4 ms, some microseconds late.
        let ends: Vec<u64> =
            (1..200).map(|n| (n * 7 + n * n / 3) * 4_000_000 + 1_500_000 + n % 7 * 1_000).collect();
        let tick = COMMON_HZ.into_iter().find_map(|hz| coherent(&ends, hz));
        assert_eq!(tick, Some(Tick { hz: 250, phase: Nanos(1_400_000) }));
    }

    #[test]
    fn slices_that_end_anywhere_show_none() {
        let ends: Vec<u64> = (1..400).map(|n| n * 3_141_592).collect();
        assert_eq!(COMMON_HZ.into_iter().find_map(|hz| coherent(&ends, hz)), None);
        assert_eq!(coherent(&[4_000_000; 99], 250), None, "too few");
    }
}
