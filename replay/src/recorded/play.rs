//! Runs the programs along the decisions: what each does, and when.

use super::decision::{Spin, Step, Stint, Told, Why};
use model::demand::{Arrival, Demand};
use model::{CpuId, Op, PrevState, TaskId};

/// What a program does with one stretch on a CPU.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// Priorities that it may show when it comes: those of changes that stand exactly here.
    pub came_with: Vec<i32>,
    /// Priorities that it may show when it leaves.
    pub left_with: Vec<i32>,
    /// What it is after that.
    pub then: Then,
    /// Why it does not end where the stretch does.
    pub fault: Option<Fault>,
}

/// What a task is while it is not on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Ready to run, or waiting for a mutex: nothing that its program ends.
    Waiting,
    /// Asleep until an interrupt ends it.
    Asleep(PrevState),
    /// Asleep until a task wakes it.
    Waits(PrevState),
    Gone,
}

/// How a program misses the end of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has this much work left before its next op, at this place of its program.
    Longer(u64, usize),
    /// It comes to an op too early.
    Earlier(u64, usize),
    /// It has nothing more to do.
    Ends(u64),
}

/// A step that a program made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Made {
    pub at: u64,
    pub cpu: CpuId,
    pub task: TaskId,
    pub step: Step,
}

/// What the programs do: an ending for each stretch, and all steps.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub endings: Vec<Ending>,
    pub made: Vec<Made>,
    /// What each task is before it is first seen.
    pub at_first: Vec<Then>,
}

struct Program<'d> {
    ops: &'d [Op],
    pc: usize,
    left: u64,
    prio: i32,
}

pub(super) fn play(demand: &Demand, told: &Told) -> Played {
    let mut played = Played::default();
    let mut programs = Vec::new();
    for task in &demand.tasks {
        let prio = task.sched.kernel_prio();
        let mut program = Program { ops: &task.ops, pc: 0, left: 0, prio };
        program.load();
        // A task that was asleep when the recording began is in its first wait.
        let asleep = matches!(task.arrival, Arrival::Asleep(_));
        let then = if asleep { program.sleep() } else { None };
        played.at_first.push(then.unwrap_or(Then::Waiting));
        programs.push(program);
    }
    for stint in &told.stints {
        // A recording's tasks are those of its demand.
        let program = &mut programs[stint.task.index()];
        played.endings.push(program.play(told, stint, &mut played.made));
    }
    played
}

/// One stretch while it is played.
struct Run<'t> {
    told: &'t Told,
    stint: &'t Stint,
    at: u64,
    /// How long the program may still run.
    budget: u64,
    spins: &'t [Spin],
    /// Steps that the recording shows in this stretch, in its order.
    shown: &'t [usize],
}

impl Run<'_> {
    /// A step was made here: the recording shows it no later in this stretch.
    fn made(&mut self, step: Step) {
        let shown = self.shown.iter().map(|i| self.told.expected[*i]);
        let mut past = shown.take_while(|e| e.at <= self.at);
        if let Some(last) = past.position(|e| e.at == self.at && e.step == step) {
            self.shown = &self.shown[last + 1..];
        }
    }

    /// The program has no more ops: that is right for who runs until the recording ends only.
    fn end(&self) -> Result<Then, Fault> {
        let is_right = match self.stint.why {
            Why::Preempted | Why::InLock => self.budget == 0,
            Why::Cut => self.at == self.stint.left,
            Why::Itself | Why::Vanished => false,
        };
        if is_right { Ok(Then::Waiting) } else { Err(Fault::Ends(self.at)) }
    }

    /// The program runs no more: what is exactly here falls on either side of the switch.
    fn is_over(&self) -> bool {
        self.budget == 0 && matches!(self.stint.why, Why::Preempted | Why::InLock | Why::Cut)
    }
}

impl Program<'_> {
    fn load(&mut self) {
        self.left = match self.ops.get(self.pc) {
            Some(Op::Compute(span)) => span.0,
            _ => 0,
        };
    }

    fn next(&mut self) {
        self.pc += 1;
        self.load();
    }

    /// Ops that take no time from here on.
    fn ahead(&self) -> impl Iterator<Item = &Op> {
        let rest = self.ops.get(self.pc..).unwrap_or_default();
        let is_step = |op: &&Op| !matches!(op, Op::Compute(span) if span.0 > 0);
        let count = if self.left > 0 { 0 } else { usize::MAX };
        // A compute op whose time is over stands at the beginning.
        let done = usize::from(matches!(rest.first(), Some(Op::Compute(_))));
        let ends = |op: &&Op| !matches!(op, Op::Sleep { .. } | Op::Wait { .. } | Op::Exit);
        rest.iter().skip(done).take(count).take_while(is_step).take_while(ends)
    }

    /// Its priority, and those of changes that stand exactly here.
    fn prios(&self) -> Vec<i32> {
        let changes = self.ahead().filter_map(|op| match op {
            Op::SetSched(params) => Some(params.kernel_prio()),
            _ => None,
        });
        std::iter::once(self.prio).chain(changes).collect()
    }

    /// Goes past a sleep, if it is at one.
    fn sleep(&mut self) -> Option<Then> {
        let then = match *self.ops.get(self.pc)? {
            Op::Sleep { state, .. } => Then::Asleep(state),
            Op::Wait { state, .. } => Then::Waits(state),
            Op::Exit => Then::Gone,
            _ => return None,
        };
        self.next();
        Some(then)
    }

    fn play(&mut self, told: &Told, stint: &Stint, made: &mut Vec<Made>) -> Ending {
        let mut run = Run {
            told,
            stint,
            at: stint.from,
            budget: stint.program.min(stint.left.saturating_sub(stint.from)),
            spins: &stint.spins,
            shown: &stint.shown,
        };
        let came_with = self.prios();
        let (then, fault) = match self.run(&mut run, made) {
            Ok(then) => (then, None),
            Err(fault) => (Then::Waiting, Some(fault)),
        };
        let left_with = if then == Then::Waiting { self.prios() } else { vec![self.prio] };
        Ending { came_with, left_with, then, fault }
    }

    fn run(&mut self, run: &mut Run<'_>, made: &mut Vec<Made>) -> Result<Then, Fault> {
        loop {
            self.spin(run);
            let Some(op) = self.ops.get(self.pc).copied() else { return run.end() };
            if self.left > 0 {
                let until_spin = run.spins.first().map_or(u64::MAX, |spin| spin.from - run.at);
                let step = self.left.min(run.budget).min(until_spin);
                (run.at, self.left, run.budget) =
                    (run.at + step, self.left - step, run.budget - step);
                if self.left == 0 || run.budget > 0 {
                    continue;
                }
                return match run.stint.why {
                    Why::Itself | Why::Vanished => Err(Fault::Longer(self.left, self.pc + 1)),
                    _ => Ok(Then::Waiting),
                };
            }
            match op {
                Op::Sleep { .. } | Op::Wait { .. } | Op::Exit => return self.reach_sleep(run),
                _ if run.is_over() && !self.is_due(run) => return Ok(Then::Waiting),
                Op::SetSched(params) => self.prio = params.kernel_prio(),
                _ => {
                    if let Some(step) = Step::of(&op) {
                        let (at, cpu, task) = (run.at, run.stint.cpu, run.stint.task);
                        made.push(Made { at, cpu, task, step });
                        run.made(step);
                    }
                }
            }
            self.next();
        }
    }

    /// Spinning stands between two pieces of the program, behind the acquisition that it is for.
    fn spin(&self, run: &mut Run<'_>) {
        while let Some((spin, rest)) = run.spins.split_first()
            && spin.from <= run.at
        {
            let acquires = |op: &Op| {
                let step = Step::of(op);
                step == Some(Step::Lock(spin.lock)) || step == Some(Step::Fail(spin.lock))
            };
            if spin.from == run.at && self.ahead().any(acquires) {
                return;
            }
            run.at = run.at.max(spin.to);
            run.spins = rest;
        }
    }

    /// Whether a step that stands exactly here was made before the switch that stands here too.
    fn is_due(&self, run: &Run<'_>) -> bool {
        let here = |step: Step| {
            let shown = run.shown.iter().map(|i| run.told.expected[*i]);
            shown.take_while(|e| e.at <= run.at).any(|e| e.at == run.at && e.step == step)
        };
        !run.shown.is_empty() && self.ahead().filter_map(Step::of).any(here)
    }

    fn reach_sleep(&mut self, run: &Run<'_>) -> Result<Then, Fault> {
        let early = Fault::Earlier(run.at, self.pc);
        match run.stint.why {
            // It gets there in a later stretch.
            Why::Preempted | Why::InLock | Why::Cut if run.budget == 0 => Ok(Then::Waiting),
            Why::Preempted | Why::InLock | Why::Cut => Err(early),
            Why::Itself if run.at != run.stint.left => {
                self.sleep();
                Err(early)
            }
            Why::Itself | Why::Vanished => Ok(self.sleep().unwrap_or(Then::Waiting)),
        }
    }
}
