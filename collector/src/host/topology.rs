//! CPUs online: cores, caches, nodes, capacities, frequencies.

use super::list::cpu_list;
use super::source::{Sources, not_understood};
use std::collections::{BTreeMap, BTreeSet};
use trace_formats::Host;

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// Fills in what the machine's CPUs are; all vectors in the order of `cpus`.
pub(super) fn read(sources: &mut Sources<'_>, host: &mut Host) {
    let online = format!("{CPUS}/online");
    let Some(text) = sources.text(&online) else { return };
    let Some(cpus) = cpu_list(&text).filter(|c| !c.is_empty()) else {
        sources.list(&online, &not_understood(&text));
        return;
    };
    host.core_of_cpu = dense(cpus.iter().map(|cpu| core(sources, *cpu)));
    host.smt = match &host.core_of_cpu {
        Some(cores) => Some(cores.iter().collect::<BTreeSet<_>>().len() < cores.len()),
        None => sources.probe_number::<u8>(&format!("{CPUS}/smt/active")).map(|n| n == 1),
    };
    host.llc_of_cpu = dense(cpus.iter().map(|cpu| caches(sources, *cpu, host)));
    host.node_of_cpu = nodes(sources, &cpus, host);
    host.capacity_of_cpu =
        each(&cpus, |cpu| sources.probe_number(&format!("{CPUS}/cpu{cpu}/cpu_capacity")));
    host.max_khz_of_cpu =
        each(&cpus, |cpu| sources.number(&format!("{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq")));
    host.governor_of_cpu = each(&cpus, |cpu| {
        let text = sources.text(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor"))?;
        Some(text.trim().to_owned())
    });
    host.cpus = Some(cpus);
}

/// One value per CPU; none at all when one lacks it, and no further CPU is asked then.
fn each<T>(cpus: &[u32], read: impl FnMut(&u32) -> Option<T>) -> Option<Vec<T>> {
    cpus.iter().map(read).collect()
}

/// Numbers from 0 in the order in which keys first appear.
///
/// None at all when a CPU has no key: what one lacks the others lack too, and once is enough in
/// the list of what could not be read.
fn dense<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> Option<Vec<u32>> {
    let mut numbers = BTreeMap::new();
    let number = |key: Option<K>| {
        let next = u32::try_from(numbers.len()).ok()?;
        Some(*numbers.entry(key?).or_insert(next))
    };
    keys.map(number).collect()
}

/// What tells cores apart: the list of a core's CPUs, as the scheduler's own SMT domain.
///
/// Core ids alone would not do: they repeat in each package, on some machines in each die.
fn core(sources: &mut Sources<'_>, cpu: u32) -> Option<Vec<u32>> {
    let path = format!("{CPUS}/cpu{cpu}/topology/core_cpus_list");
    // The older name of the same file.
    let older = format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list");
    let text = match sources.probe(&path) {
        Some(text) => text,
        None => sources.text(&older)?,
    };
    let siblings = cpu_list(&text).filter(|s| s.contains(&cpu));
    if siblings.is_none() {
        sources.list(&path, &not_understood(&text));
    }
    siblings
}

/// Adds a CPU's caches; the CPUs that share its last level.
fn caches(sources: &mut Sources<'_>, cpu: u32, host: &mut Host) -> Option<Vec<u32>> {
    let folder = format!("{CPUS}/cpu{cpu}/cache");
    let mut last: Option<(u32, Vec<u32>)> = None;
    for name in sources.names(&folder)?.iter().filter(|n| n.starts_with("index")) {
        let level: Option<u32> = sources.number(&format!("{folder}/{name}/level"));
        let kind = sources.text(&format!("{folder}/{name}/type"));
        let shared_path = format!("{folder}/{name}/shared_cpu_list");
        let shared = sources.text(&shared_path);
        let (Some(level), Some(kind), Some(shared)) = (level, kind, shared) else { continue };
        let Some(shared) = cpu_list(&shared).filter(|s| s.contains(&cpu)) else {
            sources.list(&shared_path, &not_understood(&shared));
            continue;
        };
        let kind = kind.trim().to_lowercase();
        if kind != "instruction" && last.as_ref().is_none_or(|(highest, _)| level >= *highest) {
            last = Some((level, shared.clone()));
        }
        // The CPU that comes first in a cache's list adds it.
        if shared.first() == Some(&cpu) {
            let size = sources.probe(&format!("{folder}/{name}/size"));
            host.add_cache(level, &kind, size.and_then(|s| size_kib(&s)), shared);
        }
    }
    if last.is_none() {
        sources.list(&folder, "no cache is described");
    }
    last.map(|(_, shared)| shared)
}

/// `32K`, `8M`.
fn size_kib(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(mib) = text.strip_suffix('M') {
        return mib.parse::<u64>().ok()?.checked_mul(1024);
    }
    text.strip_suffix('K')?.parse().ok()
}

/// NUMA node of each CPU; all 0 on a kernel without NUMA.
fn nodes(sources: &mut Sources<'_>, cpus: &[u32], host: &mut Host) -> Option<Vec<u32>> {
    if !sources.resolve(NODES).exists() {
        let how = format!("{NODES} is not there: the kernel has no NUMA");
        host.derived.insert("node_of_cpu".to_owned(), how);
        return Some(vec![0; cpus.len()]);
    }
    let mut node_of = BTreeMap::new();
    for name in sources.names(NODES)? {
        let Some(node) = name.strip_prefix("node").and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let path = format!("{NODES}/{name}/cpulist");
        let Some(text) = sources.text(&path) else { continue };
        match cpu_list(&text) {
            Some(list) => node_of.extend(list.into_iter().map(|cpu| (cpu, node))),
            None => sources.list(&path, &not_understood(&text)),
        }
    }
    cpus.iter().map(|cpu| node_of.get(cpu).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_as_they_appear() {
        assert_eq!(dense(["b", "a", "b"].into_iter().map(Some)), Some(vec![0, 1, 0]));
        assert_eq!(dense([Some(1), None].into_iter()), None);
    }

    #[test]
    fn sizes_have_units() {
        let sizes = ["32K\n", "8M", "7", "xK", "99999999999999999999M", "18446744073709551615M"];
        assert_eq!(sizes.map(size_kib), [Some(32), Some(8192), None, None, None, None]);
    }
}
