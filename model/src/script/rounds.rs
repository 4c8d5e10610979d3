//! The rounds of a loop as places among its steps.

use crate::Timestamp;
use crate::demand::Rounds;
use trace_formats::script::{Mark, Step};

/// The rounds that the marks of a program say; `None` when it has no loop.
pub(super) fn read(steps: &[Step], until: Option<Timestamp>) -> Option<Rounds> {
    let mut rounds = Rounds { seams: Vec::new(), repeatable: Vec::new(), own_from: 0, until };
    let mut ops = 0;
    let mut repeated_from = None;
    for step in steps {
        let Step::Mark(mark) = step else {
            ops += 1;
            continue;
        };
        if *mark == Mark::MayEnd {
            rounds.own_from = ops;
            continue;
        }
        rounds.repeatable.extend(repeated_from.take().map(|from| from..ops));
        rounds.seams.push(ops);
        if *mark == Mark::Round {
            repeated_from = Some(ops);
        }
    }
    // A replay divides by the number of rounds that it may run again.
    (!rounds.repeatable.is_empty()).then_some(rounds)
}

/// Every place of a loop, with the op it stands in front of.
pub(super) fn marks(rounds: &Rounds) -> Vec<(usize, Mark)> {
    let mut repeatable = rounds.repeatable.iter().peekable();
    let ends = rounds.seams.iter().skip(1).map(Some).chain([None]);
    let mut marks: Vec<(usize, Mark)> = Vec::new();
    for (seam, end) in rounds.seams.iter().zip(ends) {
        let mark = match end {
            None => Mark::RoundsOver,
            Some(end) if repeatable.next_if_eq(&&(*seam..*end)).is_some() => Mark::Round,
            Some(_) => Mark::RoundOnce,
        };
        marks.push((*seam, mark));
    }
    if rounds.own_from > 0 {
        let behind = marks.partition_point(|(op, _)| *op < rounds.own_from);
        marks.insert(behind, (rounds.own_from, Mark::MayEnd));
    }
    marks
}
