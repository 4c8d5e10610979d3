//! A kernel of fifteen types, questions to it, and everything that can be broken in it.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use super::{Btf, BtfError, Function};
use std::path::Path;

/// Writes BTF by hand.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn a_type(&mut self, name: &str, kind: u32, count: u32, size_or_type: u32, rest: &[u32]) {
        let name = self.name(name);
        for word in [name, kind << 24 | count, size_or_type].iter().chain(rest) {
            self.types.extend(word.to_le_bytes());
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

const BIT_FIELDS: u32 = 1 << 7;

fn small_kernel() -> Vec<u8> {
    let mut writer = Writer::default();
    let [counter, owner, waiters] = ["counter", "owner", "waiters"].map(|name| writer.name(name));
    let [lock, first, wide] = ["lock", "first", "wide"].map(|name| writer.name(name));
    writer.a_type("int", 1, 0, 4, &[32]); // 1
    writer.a_type("long unsigned int", 1, 0, 8, &[64]); // 2
    writer.a_type("", 4, 1, 8, &[counter, 2, 0]); // 3: struct { unsigned long counter; }
    writer.a_type("atomic_long_t", 8, 0, 3, &[]); // 4
    writer.a_type("", 5, 2, 8, &[first, 1, 0, wide, 2, 0]); // 5: union { int first; long wide; }
    writer.a_type("", 3, 0, 0, &[1, 1, 16]); // 6: int [16]
    writer.a_type("", 2, 0, 7, &[]); // 7: a pointer to itself
    let members = [lock, 1, 0, 0, 5, 64, owner, 4, 128, waiters, 6, 192];
    writer.a_type("mutex", 4, 4, 88, &members); // 8
    writer.a_type("", 13, 2, 1, &[lock, 7, 0, 1]); // 9: int (lock *, int)
    writer.a_type("mutex_lock", 12, 1, 9, &[]); // 10
    let bits = [lock, 1, 3 << 24, owner, 1, 5 << 24 | 3, waiters, 7, 64];
    writer.a_type("flags", 4 | BIT_FIELDS, 3, 16, &bits); // 11
    writer.a_type("loop", 8, 0, 12, &[]); // 12: a typedef of itself
    writer.a_type("", 4, 1, 8, &[0, 13, 0]); // 13: an unnamed struct inside itself
    writer.a_type("knot", 4, 2, 8, &[0, 13, 0, owner, 12, 0]); // 14
    writer.a_type("", 19, 1, 8, &[first, 1, 0]); // 15: a 64-bit enum
    writer.finish()
}

fn small() -> Btf {
    Btf::parse(small_kernel()).unwrap()
}

#[test]
fn members_are_found_by_path_and_inside_unnamed_unions() {
    let btf = small();
    assert_eq!(btf.offset_of("mutex", "lock").unwrap(), 0);
    assert_eq!(btf.offset_of("mutex", "wide").unwrap(), 8);
    assert_eq!(btf.offset_of("mutex", "owner.counter").unwrap(), 16);
    assert_eq!(btf.offset_of("mutex", "waiters").unwrap(), 24);
    assert_eq!(btf.offset_of("flags", "waiters").unwrap(), 8);
}

#[test]
fn sizes_see_through_typedefs_arrays_and_pointers() {
    let btf = small();
    assert_eq!(btf.size_of_member("mutex", "owner").unwrap(), 8);
    assert_eq!(btf.size_of_member("mutex", "first").unwrap(), 4);
    assert_eq!(btf.size_of_member("mutex", "waiters").unwrap(), 64);
    assert_eq!(btf.size_of_member("flags", "waiters").unwrap(), 8);
    assert_eq!(btf.pointer_width(), Some(8));
}

#[test]
fn a_function_has_an_id_and_a_number_of_parameters() {
    assert_eq!(small().function("mutex_lock").unwrap(), Function { id: 10, parameters: 2 });
    let error = small().function("mutex_lock_nested").unwrap_err();
    assert!(error.to_string().contains("mutex_lock_nested"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let btf = small();
    assert!(matches!(btf.offset_of("rw_semaphore", "owner"), Err(BtfError::NoSuchStruct { .. })));
    assert!(matches!(btf.offset_of("mutex", "nothing"), Err(BtfError::NoSuchMember { .. })));
    assert!(matches!(btf.offset_of("flags", "owner"), Err(BtfError::BitField { .. })));
    assert!(matches!(btf.size_of_member("knot", "owner"), Err(BtfError::NoSize { .. })));
}

#[test]
fn types_that_contain_themselves_end_the_search() {
    assert!(small().offset_of("knot", "nothing").is_err());
    assert!(small().offset_of("knot", "owner.counter").is_err());
}

#[test]
fn a_big_endian_kernel_is_told_from_a_file_that_is_not_btf() {
    assert!(matches!(Btf::parse(vec![0xeb, 0x9f, 1, 0]), Err(BtfError::BigEndian)));
    assert!(matches!(Btf::parse(vec![0x7f, 0x45]), Err(BtfError::NotBtf { magic: 0x457f })));
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Cut { at: 0 })));
}

#[test]
fn a_missing_file_names_the_kernel_option() {
    let error = Btf::read(Path::new("/nonexistent/btf")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/btf") && error.contains("CONFIG_DEBUG_INFO_BTF"));
}

/// Asks everything; only whether it returns matters.
fn interrogate(bytes: Vec<u8>) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for path in ["wide", "owner.counter", "waiters", "", "a.b.c"] {
        for structure in ["mutex", "flags", "knot", ""] {
            let _ = btf.offset_of(structure, path);
            let _ = btf.size_of_member(structure, path);
        }
    }
    let _ = (btf.function("mutex_lock"), btf.pointer_width());
}

#[test]
fn no_truncation_panics() {
    let whole = small_kernel();
    for length in 0..whole.len() {
        interrogate(whole[..length].to_vec());
    }
}

#[test]
fn no_changed_byte_panics() {
    let whole = small_kernel();
    for at in 0..whole.len() {
        for mask in [0x01, 0x10, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= mask;
            interrogate(changed);
        }
    }
}

#[test]
fn this_machine_if_it_has_btf() {
    let path = Path::new(super::KERNEL_BTF);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let btf = Btf::read(path).unwrap();
    assert_eq!(btf.size_of_member("task_struct", "pid").unwrap(), 4);
    assert_eq!(btf.pointer_width(), Some(8));
    assert!(btf.offset_of("task_struct", "prio").unwrap() > 0);
}
