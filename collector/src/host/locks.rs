//! Names of locks that live in the kernel's own data, from `/proc/kallsyms`.

use super::Roots;
use super::source::Sources;
use std::collections::BTreeMap;
use trace_formats::{Host, LockId};

/// Bytes behind a symbol that still count as inside it, if no other symbol comes before.
///
/// Symbols have no sizes, and behind the last of an image or a module lies foreign memory.
/// No structure with a lock in it is known to be larger.
const REACH: u64 = 64 << 10;

/// Names of those addresses that are symbols of data, or lie inside one: `name` or `name+0x18`.
///
/// Keys are `0x` and lower-case hexadecimal digits, as [`LockId`] prints. Locks in allocated
/// memory or on stacks have no name. Where the kernel hides its addresses they are all zero, and
/// the result is empty. Where it lists hardly any data, only what matches exactly is named: what
/// seems to be inside one symbol may be another that is not listed.
#[must_use]
pub fn lock_names(kallsyms_text: &str, addresses: &[u64]) -> BTreeMap<String, String> {
    let mut wanted: Vec<u64> = addresses.iter().copied().filter(|a| *a != 0).collect();
    wanted.sort_unstable();
    wanted.dedup();
    // Of each wanted address: where the nearest symbol at or below it begins, and the best there.
    let mut nearest: Vec<Option<Symbol<'_>>> = vec![None; wanted.len()];
    let symbols = kallsyms_text.lines().filter_map(Symbol::parse);
    for symbol in symbols.filter(|symbol| symbol.address != 0) {
        // The symbol may be the nearest of every wanted address within its reach.
        let first = wanted.partition_point(|a| *a < symbol.address);
        let last = wanted.partition_point(|a| *a <= symbol.address.saturating_add(REACH));
        for slot in nearest.get_mut(first..last).unwrap_or_default() {
            if slot.is_none_or(|known| symbol.is_better_than(&known)) {
                *slot = Some(symbol);
            }
        }
    }
    let lists_data = lists_data(kallsyms_text);
    let named = wanted.iter().zip(nearest).filter_map(|(address, symbol)| {
        let is_meant = |s: &Symbol<'_>| s.is_data() && (s.address == *address || lists_data);
        let symbol = symbol.filter(is_meant)?;
        Some((LockId(*address).to_string(), symbol.name_of(*address)))
    });
    named.collect()
}

/// Whether a hundredth of the symbols are data. With `CONFIG_KALLSYMS_ALL` about a third are, and
/// without it only a handful.
fn lists_data(kallsyms_text: &str) -> bool {
    let (mut all, mut data) = (0_u64, 0_u64);
    for symbol in kallsyms_text.lines().filter_map(Symbol::parse) {
        all += 1;
        data += u64::from(symbol.is_data());
    }
    data > 0 && data.saturating_mul(100) >= all
}

/// Fills in `host.locks` for the locks of a recording; reads the symbols of the running kernel.
///
/// Call it when the recording is over: printing the symbols keeps a CPU busy for a while.
pub fn name_locks(roots: &Roots, addresses: &[u64], host: &mut Host) {
    const PATH: &str = "/proc/kallsyms";
    if addresses.is_empty() {
        return;
    }
    let mut sources = Sources::new(roots);
    if let Some(text) = sources.text(PATH) {
        let symbols = || text.lines().filter_map(Symbol::parse);
        if symbols().all(|symbol| symbol.address == 0) {
            sources.list(PATH, "the kernel hides its addresses (kptr_restrict, or not root)");
        } else if !lists_data(&text) {
            sources.list(PATH, "hardly any data is in it: built without CONFIG_KALLSYMS_ALL");
        }
        host.locks.extend(lock_names(&text, addresses));
    }
    for (path, error) in &sources.unreadable {
        host.add_unreadable(path, error);
    }
}

/// A line of `/proc/kallsyms`: `ffffffff82a1c0e0 d name [module]`.
#[derive(Clone, Copy)]
struct Symbol<'a> {
    address: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

impl<'a> Symbol<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.split_ascii_whitespace();
        let address = u64::from_str_radix(parts.next()?, 16).ok()?;
        let kind = *parts.next()?.as_bytes().first()?;
        Some(Self { address, kind, name: parts.next()?, module: parts.next() })
    }

    /// Data, zeroed data, or weak objects; what is absolute is an offset.
    fn is_data(&self) -> bool {
        matches!(self.kind.to_ascii_lowercase(), b'd' | b'b' | b'v')
    }

    /// Nearer to the addresses above both; at the same place data, then what is no linker mark.
    fn is_better_than(&self, other: &Self) -> bool {
        let rank = |s: &Self| (s.address, s.is_data(), !s.name.starts_with('_'));
        rank(self) > rank(other)
    }

    fn name_of(&self, address: u64) -> String {
        let offset = address.saturating_sub(self.address);
        let inside = if offset == 0 { String::new() } else { format!("+{offset:#x}") };
        let module = self.module.map_or_else(String::new, |module| format!(" {module}"));
        format!("{}{inside}{module}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000010 t do_something
ffffffff82000000 T etext
ffffffff82000000 D __start_data
ffffffff82000000 d cgroup_mutex
ffffffff82000020 D _sdata
ffffffff82000020 D rtnl_mutex
ffffffff82000100 d init_net
ffffffff82002000 R table
ffffffff82004000 B _end
not a line
ffffffffc0001000 d fs_lock\t[ext4]
";

    fn named(addresses: &[u64]) -> Vec<String> {
        let names = lock_names(SYMBOLS, addresses);
        names.into_iter().map(|(address, name)| format!("{address} {name}")).collect()
    }

    #[test]
    fn static_locks_have_names() {
        assert_eq!(
            named(&[0xffff_ffff_8200_0000, 0xffff_ffff_8200_0020, 0xffff_ffff_8200_0158]),
            [
                "0xffffffff82000000 cgroup_mutex",
                "0xffffffff82000020 rtnl_mutex",
                "0xffffffff82000158 init_net+0x58",
            ]
        );
        assert_eq!(named(&[0xffff_ffff_c000_1008]), ["0xffffffffc0001008 fs_lock+0x8 [ext4]"]);
    }

    #[test]
    fn locks_in_allocated_memory_code_or_constants_have_none() {
        let none: [String; 0] = [];
        let heap = 0xffff_8881_0000_0000;
        let behind_everything = 0xffff_ffff_c001_1001;
        let code = 0xffff_ffff_8100_0018;
        let constant = 0xffff_ffff_8200_2008;
        assert_eq!(named(&[heap, behind_everything, code, constant, 0, 8, u64::MAX]), none);
    }

    #[test]
    fn where_hardly_any_data_is_listed_only_exact_matches_count() {
        let mut text = "ffffffff82000000 d rtnl_mutex\n".to_owned();
        text += &"ffffffff81000000 T code\n".repeat(200);
        let addresses = [0xffff_ffff_8200_0000, 0xffff_ffff_8200_0008];
        let names: Vec<_> = lock_names(&text, &addresses).into_iter().collect();
        assert_eq!(names, [("0xffffffff82000000".to_owned(), "rtnl_mutex".to_owned())]);
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let hidden = "0000000000000000 d cgroup_mutex\n0000000000000000 d rtnl_mutex\n";
        assert!(lock_names(hidden, &[0, 8, 0xffff_ffff_8200_0000]).is_empty());
    }
}
