//! Lists of CPUs, as the kernel writes them: `0-3,8`.

/// More CPUs than any kernel can be built for.
const CPU_LIMIT: u32 = 65_536;

/// The CPUs of a list, ascending; `None` when it is not one.
pub(super) fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CPU_LIMIT {
            return None;
        }
        cpus.extend(first..=last);
        // Overlapping parts must not multiply.
        if cpus.len() > CPU_LIMIT as usize {
            return None;
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn lists_are_read_and_nonsense_refused() {
        assert_eq!(cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpu_list("3,1-3"), Some(vec![1, 2, 3]));
        assert_eq!(cpu_list("\n"), Some(vec![]));
        for nonsense in ["3-1", "a", "0-", "-1", "0-4294967295", "0:1"] {
            assert_eq!(cpu_list(nonsense), None, "{nonsense}");
        }
    }
}
