//! Blocked donors that leave their owner's CPU: sent home by schedule(), or parked on a sleeper.

use crate::decision::Rule;
use crate::engine::Engine;
use crate::fair::{Join, Leave};
use crate::state::{Class, OnRq, T};
use crate::wake::Waker;
use model::{Context, SchedEvent};

impl Engine<'_> {
    /// 7.1: the owner's CPU dequeues a woken donor and queues it where a wakeup would.
    ///
    /// # Source
    ///
    /// Kernel model 2.6, P2, forced return.
    pub(crate) fn send_home(&mut self, cpu: usize, x: T) {
        self.unblock(x);
        if self.task(x).wake_cpu == cpu {
            // It is at home, and keeps its place in the queue.
            return;
        }
        self.drop_donor(cpu);
        self.dequeue_to_move(cpu, x);
        let dest = self.select_cpu(x, Waker::Interrupt(cpu));
        self.out.return_migrations += 1;
        let kind = SchedEvent::ProxyReturn {
            tid: self.task(x).tid,
            orig_cpu: self.machine.cpus[cpu],
            dest_cpu: self.machine.cpus[dest],
        };
        self.emit(cpu, Context::Task, kind);
        if dest != cpu {
            self.rule = Rule::DonorReturns;
            self.emit_migrate(cpu, x, cpu, dest);
        }
        let task = &mut self.tasks[x as usize];
        task.cpu = dest;
        task.wake_cpu = dest;
        self.enqueue(dest, x);
        self.wakeup_preempt(dest, x, Join::Again);
    }

    /// The full series: `x` leaves the queue and waits with its sleeping owner.
    ///
    /// # Source
    ///
    /// Kernel model 2.6, P4.
    pub(crate) fn park(&mut self, cpu: usize, x: T, owner: T) {
        self.finish_delayed(owner);
        self.drop_donor(cpu);
        self.block(cpu, x, Leave::AtOnce);
        self.tasks[x as usize].parked_on = Some(owner);
        self.tasks[owner as usize].parked.push(x);
    }

    /// A delayed sleeper leaves its queue for good.
    pub(crate) fn finish_delayed(&mut self, t: T) {
        if self.task(t).delayed {
            let home = self.task(t).cpu;
            self.account(home);
            self.fair_finish_delayed(home, t);
            self.tasks[t as usize].on_rq = OnRq::No;
            self.cpus[home].n_running -= 1;
        }
    }

    /// A parked donor is woken by somebody else: it no longer waits with the owner.
    pub(crate) fn unpark(&mut self, x: T) {
        if let Some(owner) = self.tasks[x as usize].parked_on.take() {
            self.tasks[owner as usize].parked.retain(|&other| other != x);
        }
    }

    /// The owner was queued on `cpu`: who waited with it follows, and who waited with those.
    pub(crate) fn activate_parked(&mut self, owner: T, cpu: usize) {
        let mut todo = std::mem::take(&mut self.tasks[owner as usize].parked);
        while !todo.is_empty() {
            let x = todo.remove(0);
            let task = &mut self.tasks[x as usize];
            task.parked_on = None;
            task.cpu = cpu;
            todo.extend(std::mem::take(&mut task.parked));
            if task.class == Class::Deadline {
                self.dl_wake(x);
            }
            self.enqueue(cpu, x);
            self.wakeup_preempt(cpu, x, Join::Again);
        }
    }
}
