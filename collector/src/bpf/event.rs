//! The records the programs write, described as tracefs describes its own events.

use std::fmt::Write as _;

/// One field of a record, where the kernel's `format` files would say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Type and name in C.
    pub declaration: &'static str,
    /// Where it starts, in bytes from the start of the record.
    pub offset: u16,
    /// How long it is, in bytes.
    pub size: u16,
    /// Whether the value can be negative.
    pub sign: Sign,
}

/// Whether a field can be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Read as two's complement.
    Signed,
    /// Never negative, or not a number.
    Unsigned,
}

/// One kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKind {
    /// The event's name in the system [`SYSTEM`].
    pub name: &'static str,
    /// The fields behind the four every record has.
    pub fields: &'static [Field],
    /// How long a record is, in bytes, without what a buffer appends to fill its own words.
    pub record_size: u16,
    /// What stands behind `print fmt:`.
    print_format: &'static str,
}

/// What stands before the colon in `resched:lock_owner`.
pub const SYSTEM: &str = "resched";

/// The event of [`Programs::load_owner`](super::Programs::load_owner).
pub const OWNER_EVENTS: &[EventKind] = &[LOCK_OWNER];

/// The events of [`Programs::load_mutex_calls`](super::Programs::load_mutex_calls).
pub const MUTEX_CALL_EVENTS: &[EventKind] = &[
    entry("mutex_lock_in"),
    entry("mutex_unlock_in"),
    result("mutex_trylock_ret"),
    entry("mutex_lock_interruptible_in"),
    result("mutex_lock_interruptible_ret"),
    entry("mutex_lock_killable_in"),
    result("mutex_lock_killable_ret"),
];

/// The events of [`Programs::load_transfers`](super::Programs::load_transfers).
pub const TRANSFER_EVENTS: &[EventKind] = &[TRANSFER_BEGIN, TRANSFER_END];

/// The events of [`Programs::load_futexes`](super::Programs::load_futexes).
pub const FUTEX_EVENTS: &[EventKind] = &[FUTEX_BEGIN, FUTEX_END, SCHED_YIELD];

const COMMON: [Field; 4] = [
    unsigned("unsigned short common_type", 0, 2),
    unsigned("unsigned char common_flags", 2, 1),
    unsigned("unsigned char common_preempt_count", 3, 1),
    signed("int common_pid", 4),
];

/// A task begins to wait for a mutex or rwsem: who holds it at that moment.
const LOCK_OWNER: EventKind = EventKind {
    name: "lock_owner",
    fields: &[
        unsigned("void * lock_addr", 8, 8),
        unsigned("u64 owner_raw", 16, 8),
        unsigned("unsigned int flags", 24, 4),
        signed("pid_t owner_pid", 28),
        signed("int owner_prio", 32),
        signed("int owner_on_cpu", 36),
        signed("int owner_cpu", 40),
    ],
    record_size: 48,
    print_format: "\"lock_addr=%p owner_raw=0x%llx flags=%u owner_pid=%d owner_prio=%d \
                   owner_on_cpu=%d owner_cpu=%d\", REC->lock_addr, REC->owner_raw, REC->flags, \
                   REC->owner_pid, REC->owner_prio, REC->owner_on_cpu, REC->owner_cpu",
};

/// A call that moves bytes begins: through what, how many at most, and flags: 1 into it, 2 a socket,
/// 4 a pipe in packet mode, 8 a call that does not wait.
const TRANSFER_BEGIN: EventKind = EventKind {
    name: "transfer_begin",
    fields: &[
        unsigned("u64 buffer", 8, 8),
        unsigned("unsigned int inode", 16, 4),
        unsigned("unsigned int flags", 20, 4),
        unsigned("unsigned int size", 24, 4),
        unsigned("unsigned int count", 28, 4),
        unsigned("u64 mutex", 32, 8),
    ],
    record_size: 40,
    print_format: "\"buffer=0x%llx inode=%u flags=%u size=%u count=%u mutex=0x%llx\", REC->buffer, \
                   REC->inode, REC->flags, REC->size, REC->count, REC->mutex",
};

/// The call is over: bytes moved, else `-errno`.
const TRANSFER_END: EventKind = EventKind {
    name: "transfer_end",
    fields: &[
        unsigned("u64 buffer", 8, 8),
        unsigned("unsigned int inode", 16, 4),
        signed("int ret", 20),
    ],
    record_size: 24,
    print_format: "\"buffer=0x%llx inode=%u ret=%d\", REC->buffer, REC->inode, REC->ret",
};

/// A futex call begins: on which word, operation and value as the call's, the process, what stands in
/// the word, and what glibc keeps as the owner of a mutex behind it.
const FUTEX_BEGIN: EventKind = EventKind {
    name: "futex_begin",
    fields: &[
        unsigned("u64 uaddr", 8, 8),
        unsigned("unsigned int op", 16, 4),
        unsigned("unsigned int val", 20, 4),
        signed("int process", 24),
        unsigned("unsigned int word", 28, 4),
        signed("int owner", 32),
    ],
    record_size: 40,
    print_format: "\"uaddr=0x%llx op=%u val=%u process=%d word=%u owner=%d\", REC->uaddr, REC->op, \
                   REC->val, REC->process, REC->word, REC->owner",
};

/// The call is over: what it returned.
const FUTEX_END: EventKind = EventKind {
    name: "futex_end",
    fields: &[signed("int ret", 8)],
    record_size: 16,
    print_format: "\"ret=%d\", REC->ret",
};

/// A task gives up its CPU and stays runnable.
const SCHED_YIELD: EventKind =
    EventKind { name: "sched_yield", fields: &[], record_size: 8, print_format: "\"\"" };

const LOCK: Field = unsigned("void * lock", 8, 8);
const LOCK_AND_RESULT: [Field; 2] = [LOCK, signed("int ret", 16)];

const fn entry(name: &'static str) -> EventKind {
    let print_format = "\"lock=%p\", REC->lock";
    EventKind { name, fields: &[LOCK], record_size: 16, print_format }
}

const fn result(name: &'static str) -> EventKind {
    let print_format = "\"lock=%p ret=%d\", REC->lock, REC->ret";
    EventKind { name, fields: &LOCK_AND_RESULT, record_size: 24, print_format }
}

const fn unsigned(declaration: &'static str, offset: u16, size: u16) -> Field {
    Field { declaration, offset, size, sign: Sign::Unsigned }
}

/// All signed fields are 32-bit numbers.
const fn signed(declaration: &'static str, offset: u16) -> Field {
    Field { declaration, offset, size: 4, sign: Sign::Signed }
}

impl EventKind {
    /// The text of a `format` file that gives this event the id `id`.
    ///
    /// The syntax is that of `/sys/kernel/tracing/events/*/*/format`.
    #[must_use]
    pub fn format(&self, id: u16) -> String {
        let mut text = format!("name: {}\nID: {id}\nformat:\n", self.name);
        push_fields(&mut text, &COMMON);
        text.push('\n');
        push_fields(&mut text, self.fields);
        let _ = writeln!(text, "\nprint fmt: {}", self.print_format);
        text
    }
}

fn push_fields(text: &mut String, fields: &[Field]) {
    for Field { declaration, offset, size, sign } in fields {
        let signed = u8::from(*sign == Sign::Signed);
        let _ = writeln!(
            text,
            "\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{FUTEX_EVENTS, MUTEX_CALL_EVENTS, OWNER_EVENTS, TRANSFER_EVENTS};
    use expect_test::expect;

    #[test]
    fn the_format_reads_like_one_of_the_kernel() {
        expect![[r#"
            name: lock_owner
            ID: 65000
            format:
            	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
            	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
            	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
            	field:int common_pid;	offset:4;	size:4;	signed:1;

            	field:void * lock_addr;	offset:8;	size:8;	signed:0;
            	field:u64 owner_raw;	offset:16;	size:8;	signed:0;
            	field:unsigned int flags;	offset:24;	size:4;	signed:0;
            	field:pid_t owner_pid;	offset:28;	size:4;	signed:1;
            	field:int owner_prio;	offset:32;	size:4;	signed:1;
            	field:int owner_on_cpu;	offset:36;	size:4;	signed:1;
            	field:int owner_cpu;	offset:40;	size:4;	signed:1;

            print fmt: "lock_addr=%p owner_raw=0x%llx flags=%u owner_pid=%d owner_prio=%d owner_on_cpu=%d owner_cpu=%d", REC->lock_addr, REC->owner_raw, REC->flags, REC->owner_pid, REC->owner_prio, REC->owner_on_cpu, REC->owner_cpu
        "#]].assert_eq(&OWNER_EVENTS[0].format(65000));
    }

    #[test]
    fn fields_follow_each_other_and_fit_in_the_record() {
        let own = [OWNER_EVENTS, MUTEX_CALL_EVENTS, TRANSFER_EVENTS, FUTEX_EVENTS];
        for event in own.into_iter().flatten() {
            let mut end = 8;
            for field in event.fields {
                assert_eq!(field.offset, end, "{}: {}", event.name, field.declaration);
                end += field.size;
            }
            assert_eq!(event.record_size, end.next_multiple_of(8), "{}", event.name);
        }
    }
}
