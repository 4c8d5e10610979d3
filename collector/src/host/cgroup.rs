//! Cgroups that the scheduler knows, their weights and limits.

use super::source::{Sources, not_understood};
use std::collections::BTreeMap;
use trace_formats::HostGroup;

/// Which kind of hierarchy has the `cpu` controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2,
}

/// The cgroup of a task that decides its share: the `cpu` controller's of v1, else that of v2.
///
/// `text` is `/proc/PID/cgroup`: `number:controllers:path` in each line.
pub(super) fn of_task(text: &str) -> Option<(Version, &str)> {
    let mut unified = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if !path.starts_with('/') {
            continue;
        }
        if controllers.split(',').any(|c| c == "cpu") {
            return Some((Version::V1, path));
        }
        if controllers.is_empty() {
            unified = Some((Version::V2, path));
        }
    }
    unified
}

/// The groups met so far.
#[derive(Default)]
pub(super) struct Groups {
    /// Where each kind is mounted, once looked for.
    mounts: BTreeMap<Version, Option<&'static str>>,
    /// Nearest group that the scheduler knows, of each path met.
    effective: BTreeMap<(Version, String), String>,
    found: BTreeMap<String, HostGroup>,
}

impl Groups {
    /// All groups met and those above them, by path; the root is not among them.
    pub(super) fn into_groups(self) -> Vec<HostGroup> {
        self.found.into_values().collect()
    }

    /// The group that the scheduler puts a task of `path` into.
    ///
    /// In v2 that is the nearest group above with the `cpu` controller, thus with a weight. A
    /// path that cannot be looked up is taken as it is.
    pub(super) fn effective(
        &mut self,
        sources: &mut Sources<'_>,
        version: Version,
        path: &str,
    ) -> String {
        if path == "/" {
            return path.to_owned();
        }
        let key = (version, path.to_owned());
        if let Some(known) = self.effective.get(&key) {
            return known.clone();
        }
        let effective = self.look_up(sources, version, path);
        self.effective.insert(key, effective.clone());
        effective
    }

    fn look_up(&mut self, sources: &mut Sources<'_>, version: Version, path: &str) -> String {
        // Of a group outside our cgroup namespace the path begins with `/..`.
        if path.split('/').any(|part| part == "..") {
            sources.list("/proc/PID/cgroup", "tasks are in cgroups outside this cgroup namespace");
            return path.to_owned();
        }
        let Some(mount) = *self.mounts.entry(version).or_insert_with(|| mount(sources, version))
        else {
            return path.to_owned();
        };
        let weight = if version == Version::V1 { "cpu.shares" } else { "cpu.weight" };
        let mut level = path;
        while level.len() > 1 {
            let folder = sources.resolve(&format!("{mount}{level}"));
            if !folder.is_dir() {
                sources.list(&format!("{mount}{level}"), "the cgroup is gone or not visible");
                return level.to_owned();
            }
            if folder.join(weight).exists() {
                self.add(sources, version, mount, level);
                return level.to_owned();
            }
            level = above(level);
        }
        "/".to_owned()
    }

    /// Adds a group and those above it.
    fn add(&mut self, sources: &mut Sources<'_>, version: Version, mount: &str, path: &str) {
        let mut level = path;
        while level.len() > 1 && !self.found.contains_key(level) {
            let folder = format!("{mount}{level}");
            let mut group = match version {
                Version::V1 => read_v1(sources, &folder),
                Version::V2 => read_v2(sources, &folder),
            };
            let idle: Option<i8> = sources.probe_number(&format!("{folder}/cpu.idle"));
            group.idle = idle.filter(|idle| *idle != 0).map(|_| true);
            group.uclamp_min = clamp(sources, &format!("{folder}/cpu.uclamp.min"));
            group.uclamp_max = clamp(sources, &format!("{folder}/cpu.uclamp.max"));
            level.clone_into(&mut group.path);
            self.found.insert(level.to_owned(), group);
            level = above(level);
        }
    }
}

/// `/a` of `/a/b`, `/` of `/a`.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(above, _)| if above.is_empty() { "/" } else { above })
}

/// Where a hierarchy is mounted, of the places where distributions do it.
fn mount(sources: &mut Sources<'_>, version: Version) -> Option<&'static str> {
    let (places, proof): (&[&str], _) = match version {
        Version::V1 => (
            &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpuacct,cpu"],
            "cpu.shares",
        ),
        Version::V2 => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "cgroup.controllers"),
    };
    let found = places.iter().find(|p| sources.resolve(p).join(proof).exists()).copied();
    if found.is_none() {
        sources.list(&places.join(", "), "no cgroups with the cpu controller are mounted there");
    }
    found
}

/// Weight and quota of a v1 group.
///
/// # Source
///
/// `sched_weight_to_cgroup` in `kernel/sched/core.c`: 1024 shares are a weight of 100, rounded
/// to the nearest.
fn read_v1(sources: &mut Sources<'_>, folder: &str) -> HostGroup {
    let shares: Option<u64> = sources.number(&format!("{folder}/cpu.shares"));
    let weight =
        shares.map(|s| (s.saturating_mul(100).saturating_add(512) / 1024).clamp(1, 10_000));
    let quota: Option<i64> = sources.probe_number(&format!("{folder}/cpu.cfs_quota_us"));
    let quota_us = quota.and_then(|q| u64::try_from(q).ok());
    let period_us =
        quota_us.and_then(|_| sources.probe_number(&format!("{folder}/cpu.cfs_period_us")));
    let weight = weight.and_then(|w| u32::try_from(w).ok());
    HostGroup { weight, shares, quota_us, period_us, ..HostGroup::default() }
}

/// Weight and quota of a v2 group. An idle one reads as weight 0, below the least there is.
fn read_v2(sources: &mut Sources<'_>, folder: &str) -> HostGroup {
    let weight: Option<u32> = sources.number(&format!("{folder}/cpu.weight"));
    let path = format!("{folder}/cpu.max");
    let max = sources.probe(&path);
    let (quota_us, period_us) = match max.as_deref().map(quota) {
        None => (None, None),
        Some(Some(limit)) => limit,
        Some(None) => {
            sources.list(&path, &not_understood(max.as_deref().unwrap_or_default()));
            (None, None)
        }
    };
    let weight = weight.map(|w| w.clamp(1, 10_000));
    HostGroup { weight, quota_us, period_us, ..HostGroup::default() }
}

/// `max 100000` or `50000 100000`: quota and period, microseconds; `None` when it is neither.
fn quota(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (quota, period) = text.trim().split_once(' ')?;
    let period = period.parse().ok()?;
    if quota == "max" {
        return Some((None, None));
    }
    Some((Some(quota.parse().ok()?), Some(period)))
}

/// A utilization clamp, unless it is the one of a group without any.
fn clamp(sources: &mut Sources<'_>, path: &str) -> Option<String> {
    let text = sources.probe(path)?.trim().to_owned();
    let is_default = if path.ends_with("min") { text == "0.00" } else { text == "max" };
    (!is_default).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_controller_of_v1_goes_before_v2() {
        let hybrid = "4:memory:/m\n3:cpuset:/s\n2:cpuacct,cpu:/a:b\n1:name=systemd:/x\n0::/u\n";
        assert_eq!(of_task(hybrid), Some((Version::V1, "/a:b")));
        assert_eq!(of_task("3:cpuset:/s\n0::/u (deleted)\n"), Some((Version::V2, "/u")));
        assert_eq!(of_task("3:cpuset:/s\n"), None);
        assert_eq!(of_task("0:\n::relative\n\0"), None);
    }

    #[test]
    fn quotas_are_read_and_nonsense_refused() {
        assert_eq!(quota("max 100000\n"), Some((None, None)));
        assert_eq!(quota("5000 100000\n"), Some((Some(5000), Some(100_000))));
        assert_eq!([quota("max"), quota("-1 5"), quota("x y")], [None; 3]);
    }
}
