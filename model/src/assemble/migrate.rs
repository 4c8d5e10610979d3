//! Changes of runqueue, and stretches on a donor's time.

use super::Assemble;
use crate::{Basis, CpuId, Migration, MigrationKind, Tid, Timestamp};

impl Assemble<'_> {
    pub(super) fn migrate(&mut self, tid: Tid, from: CpuId, to: CpuId, at: Timestamp) {
        let Some(task) = self.tracker.id(tid) else { return };
        let line = &mut self.lines[task.index()];
        line.queue_on(at, to);
        let is_away = std::mem::take(&mut line.is_away);
        // A replay writes both events of one return.
        let is_told = self
            .migrations
            .last()
            .is_some_and(|m| (m.at, m.task, m.to, m.kind) == (at, task, to, MigrationKind::Return));
        if !is_told {
            let (kind, basis) = if is_away {
                (MigrationKind::Return, Basis::Inferred)
            } else {
                (MigrationKind::Ordinary, Basis::Exact)
            };
            self.migrations.push(Migration { at, task, from, to, kind, basis });
        }
    }

    pub(super) fn migrated(
        &mut self,
        tid: Tid,
        from: CpuId,
        to: CpuId,
        kind: MigrationKind,
        at: Timestamp,
    ) {
        if let Some(task) = self.tracker.id(tid) {
            self.migrations.push(Migration { at, task, from, to, kind, basis: Basis::Exact });
        }
    }

    pub(super) fn donor(&mut self, cpu: CpuId, donor: Tid, running: Tid, at: Timestamp) {
        let (donor, running) = (self.tracker.id(donor), self.tracker.id(running));
        let Some(state) = self.cpus.get_mut(&cpu) else { return };
        state.end_donation(at);
        if let (Some(donor), Some(running)) = (donor, running)
            && donor != running
        {
            state.donating = Some((donor, running, at));
        }
    }
}
