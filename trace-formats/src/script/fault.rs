//! What no kernel could run as it is written.

use super::{Allowed, Mark, Script, Start, Step, Task};
use std::collections::BTreeMap;

impl Task {
    /// What no kernel could run as written, if there is such a thing: a slip of a hand-written
    /// task, or what a recording with losses makes of one.
    #[must_use]
    pub fn fault(&self, script: &Script) -> Option<String> {
        let fault = self.start_fault().or_else(|| self.lock_fault(script));
        fault.or_else(|| self.loop_fault())
    }

    fn start_fault(&self) -> Option<String> {
        if self.start == Start::Forked {
            return None;
        }
        if let Allowed::Listed(cpus) = &self.allowed
            && !cpus.has(self.cpu)
        {
            return Some(format!("starts on CPU {}, where it is not allowed", self.cpu.0));
        }
        let is_asleep = |step: &&Step| {
            use Step::{Sleep, SleepEvery, SleepUntil, Wait};
            matches!(step, Sleep(..) | SleepUntil(..) | SleepEvery { .. } | Wait(_))
        };
        let first = self.steps.iter().find(|step| !matches!(step, Step::Mark(_)));
        (self.start == Start::Asleep && first.filter(is_asleep).is_none()).then(|| {
            "begins asleep; its first step must be sleep, sleep-until, sleep-every or wait"
                .to_owned()
        })
    }

    fn lock_fault(&self, script: &Script) -> Option<String> {
        let name = |lock: usize| script.locks.get(lock).map_or("", |lock| lock.name.as_str());
        let mut held: BTreeMap<usize, u32> = BTreeMap::new();
        self.holds.iter().for_each(|lock| *held.entry(*lock).or_default() += 1);
        for step in &self.steps {
            match *step {
                Step::Lock(m)
                | Step::LockInterruptible(m)
                | Step::Trylock(m)
                | Step::TrylockFailed(m)
                    if held.contains_key(&m) =>
                {
                    return Some(format!("locks `{}`, which it holds", name(m)));
                }
                Step::Lock(m) | Step::LockInterruptible(m) | Step::Trylock(m) => {
                    held.insert(m, 1);
                }
                Step::Unlock(m) => match held.get_mut(&m) {
                    None => {
                        return Some(format!("unlocks `{}`, which it does not hold", name(m)));
                    }
                    Some(1) => _ = held.remove(&m),
                    Some(times) => *times -= 1,
                },
                _ => {}
            }
        }
        None
    }

    /// A loop has an end, and something in it that takes time, or a replay would not get on.
    fn loop_fault(&self) -> Option<String> {
        let has = |mark: Mark| self.steps.contains(&Step::Mark(mark));
        let marks = [Mark::Round, Mark::RoundOnce, Mark::MayEnd].map(has);
        if !has(Mark::RoundsOver) {
            let loops = self.until.is_some() || marks.contains(&true);
            return loops.then(|| "has a loop without an end: `rounds-over`".to_owned());
        }
        let over = self.steps.iter().position(|step| *step == Step::Mark(Mark::RoundsOver))?;
        let behind = self.steps.get(over + 1..)?;
        if behind.iter().any(|step| matches!(step, Step::Mark(_))) {
            return Some("has a place in its loop behind `rounds-over`".to_owned());
        }
        if !has(Mark::Round) {
            return Some("has a loop without a `round`".to_owned());
        }
        self.steps[..over].split(|step| *step == Step::Mark(Mark::Round)).skip(1).find_map(idle)
    }
}

/// What is wrong with a round that can be run again, and what follows it.
fn idle(steps: &[Step]) -> Option<String> {
    let mut round = steps.iter().take_while(|step| **step != Step::Mark(Mark::RoundOnce));
    let takes_time = round.any(|step| match step {
        Step::Run(span) | Step::Sleep(span, _) => span.0 > 0,
        Step::SleepEvery { .. } => true,
        _ => false,
    });
    (!takes_time).then(|| "has a `round` without `run` or `sleep`: it would never end".to_owned())
}
