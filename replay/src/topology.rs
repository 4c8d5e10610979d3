//! Scheduling domains: which CPUs share what.

use model::demand::Machine;
use std::collections::BTreeMap;

/// CPUs that balance among each other, in the groups they balance between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Its groups: the domains below, or single CPUs; ordered by their first CPU.
    pub groups: Vec<Vec<usize>>,
    /// The CPUs share one core: a task is never hot on another.
    pub is_core: bool,
    /// The CPUs share a last-level cache.
    pub is_cache: bool,
    /// The busiest group has at least this much of the own group's load, in percent.
    pub imbalance_pct: i128,
    /// Failed attempts after which hot tasks are moved as well.
    pub nice_tries: u32,
}

impl Domain {
    /// Number of its CPUs.
    pub(crate) fn weight(&self) -> u64 {
        self.groups.iter().map(|g| g.len() as u64).sum()
    }
}

/// The domains of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    pub domains: Vec<Domain>,
    /// For each CPU its domains, smallest first, as indexes into `domains`.
    pub of_cpu: Vec<Vec<usize>>,
    /// For each CPU those that share its core, itself included.
    pub core: Vec<Vec<usize>>,
    /// For each CPU those that share its last-level cache, itself included.
    pub cache: Vec<Vec<usize>>,
}

/// What separates the CPUs of one level.
type Key = (u32, u32, u32);

impl Topology {
    /// The domains of a machine: core, last-level cache, node, and the whole; levels that join
    /// nothing are left out.
    ///
    /// # Source
    ///
    /// Kernel model 6.4; `sd_init` in `kernel/sched/topology.c`.
    pub(crate) fn of(machine: &Machine) -> Self {
        let n = machine.cpus.len();
        let core = |c: usize| machine.core_of_cpu.get(c).copied().unwrap_or(0);
        let cache = |c: usize| machine.llc_of_cpu.get(c).copied().unwrap_or(0);
        let node = |c: usize| machine.node_of_cpu.get(c).copied().unwrap_or(0);
        let levels: [Vec<Key>; 4] = [
            (0..n).map(|c| (node(c), cache(c), core(c))).collect(),
            (0..n).map(|c| (node(c), cache(c), 0)).collect(),
            (0..n).map(|c| (node(c), 0, 0)).collect(),
            vec![(0, 0, 0); n],
        ];
        let mut made = Self {
            of_cpu: vec![Vec::new(); n],
            core: Vec::new(),
            cache: Vec::new(),
            domains: Vec::new(),
        };
        for (level, keys) in levels.iter().enumerate() {
            made.add_level(level, keys);
        }
        let sharing = |keys: &[Key]| -> Vec<Vec<usize>> {
            let mut members: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
            for (cpu, key) in keys.iter().enumerate() {
                members.entry(*key).or_default().push(cpu);
            }
            keys.iter().map(|key| members.get(key).cloned().unwrap_or_default()).collect()
        };
        made.core = sharing(&levels[0]);
        made.cache = sharing(&levels[1]);
        made
    }

    fn add_level(&mut self, level: usize, keys: &[Key]) {
        let mut spans: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for (cpu, key) in keys.iter().enumerate() {
            spans.entry(*key).or_default().push(cpu);
        }
        for span in spans.into_values() {
            let mut groups: Vec<Vec<usize>> = Vec::new();
            let mut below: BTreeMap<usize, usize> = BTreeMap::new();
            for &cpu in &span {
                match self.of_cpu[cpu].last().and_then(|domain| below.get(domain)) {
                    Some(&group) => groups[group].push(cpu),
                    None => {
                        if let Some(&domain) = self.of_cpu[cpu].last() {
                            below.insert(domain, groups.len());
                        }
                        groups.push(vec![cpu]);
                    }
                }
            }
            if groups.len() < 2 {
                continue;
            }
            for &cpu in &span {
                self.of_cpu[cpu].push(self.domains.len());
            }
            self.domains.push(Domain {
                groups,
                is_core: level == 0,
                is_cache: level <= 1,
                imbalance_pct: if level == 0 { 110 } else { 117 },
                nice_tries: [0, 1, 1, 2][level],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CpuId, Demand};

    fn machine(cores: [u32; 8], caches: [u32; 8], nodes: [u32; 8]) -> Machine {
        let script = trace_formats::script::parse("cpus 8\nA fair at 0 run 1").expect("a script");
        Machine {
            cpus: (0..8).map(CpuId).collect(),
            core_of_cpu: cores.to_vec(),
            llc_of_cpu: caches.to_vec(),
            node_of_cpu: nodes.to_vec(),
            ..Demand::from_script(&script).machine
        }
    }

    #[test]
    fn levels_that_join_nothing_are_left_out() {
        let flat = Topology::of(&machine([0, 1, 2, 3, 4, 5, 6, 7], [0; 8], [0; 8]));
        assert_eq!(flat.domains.len(), 1);
        assert_eq!(flat.domains[0].groups, (0..8).map(|c| vec![c]).collect::<Vec<_>>());
        assert!(flat.domains[0].is_cache);
        assert_eq!(flat.core[5], [5]);
    }

    #[test]
    fn domains_are_nested() {
        let t = Topology::of(&machine(
            [0, 0, 1, 1, 2, 2, 3, 3],
            [0, 0, 0, 0, 1, 1, 1, 1],
            [0, 0, 0, 0, 1, 1, 1, 1],
        ));
        let groups = |d: usize| t.domains[d].groups.clone();
        assert_eq!(t.of_cpu[4], [2, 5, 6]);
        assert_eq!(groups(2), [[4], [5]]);
        assert_eq!(groups(5), [[4, 5], [6, 7]]);
        assert_eq!(groups(6), [[0, 1, 2, 3], [4, 5, 6, 7]]);
        assert_eq!(t.domains[6].nice_tries, 2, "between nodes");
        assert_eq!((&t.core[3][..], &t.cache[3][..]), (&[2, 3][..], &[0, 1, 2, 3][..]));
    }
}
