//! Cgroups of the sidecar.

use super::{Group, GroupIndex};
use crate::Host;

/// `cpu.weight` of a group that does not say.
const DEFAULT_WEIGHT: u32 = 100;

/// The cgroups that the sidecar names, for itself or for a task, parents first.
///
/// A group that is only named by a task, or by a group below it, has the default weight.
pub(super) fn groups(host: Option<&Host>) -> Vec<Group> {
    let Some(host) = host else { return Vec::new() };
    let mut weights = std::collections::BTreeMap::new();
    for path in host.tasks.iter().filter_map(|t| t.cgroup.as_deref()) {
        for path in ancestors(path) {
            weights.entry(path).or_insert(DEFAULT_WEIGHT);
        }
    }
    for group in &host.cgroups {
        for path in ancestors(&group.path) {
            weights.entry(path).or_insert(DEFAULT_WEIGHT);
        }
        let weight = group.weight.unwrap_or(DEFAULT_WEIGHT).clamp(1, 10_000);
        if let Some(path) = ancestors(&group.path).last() {
            weights.insert(path, weight);
        }
    }
    // In the order of their paths a parent stands before what is in it.
    let paths: Vec<&str> = weights.keys().copied().collect();
    let parent = |path: &str| {
        let above = path.rsplit_once('/')?.0;
        let position = paths.binary_search(&above).ok()?;
        Some(GroupIndex(u32::try_from(position).ok()?))
    };
    let group = |(path, weight): (&&str, &u32)| Group {
        path: (*path).to_owned(),
        parent: parent(path),
        weight: *weight,
    };
    weights.iter().map(group).collect()
}

/// `/a`, `/a/b` of `/a/b`; nothing of the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    let cuts = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    cuts.map(move |end| &path[..end]).filter(|p| p.starts_with('/') && p.len() > 1)
}

/// The group of a path.
pub(super) fn of(groups: &[Group], path: Option<&str>) -> Option<GroupIndex> {
    let path = path?.trim_end_matches('/');
    let position = groups.binary_search_by(|g| g.path.as_str().cmp(path)).ok()?;
    u32::try_from(position).ok().map(GroupIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_behind_their_parents() {
        let text = r#"{"cgroups":[{"path":"/a/b","weight":50},{"path":"/a"}],
                       "tasks":[{"comm":"x","cgroup":"/a/b"},{"comm":"y","cgroup":"/c/d/"},{"comm":"z","cgroup":"/"}]}"#;
        let host = Host::from_json(text).expect("valid");
        let groups = groups(Some(&host));
        let lines: Vec<String> = groups
            .iter()
            .map(|g| format!("{} {} in {:?}", g.path, g.weight, g.parent.map(|p| p.0)))
            .collect();
        assert_eq!(
            lines,
            ["/a 100 in None", "/a/b 50 in Some(0)", "/c 100 in None", "/c/d 100 in Some(2)"]
        );
        assert_eq!(of(&groups, Some("/c/d/")), Some(GroupIndex(3)));
        assert_eq!([of(&groups, Some("/")), of(&groups, Some("/e")), of(&groups, None)], [None; 3]);
    }
}
