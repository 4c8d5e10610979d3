//! What a pipe or a stream socket holds, and when it is full.

use model::demand::BufferKind;
use std::collections::VecDeque;

/// Bytes of a page, of which a pipe's parts are made.
const PAGE: u32 = 4096;

/// How full a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing can be put.
    Full,
    /// Something can.
    Room,
}

/// Which part of a call's bytes is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// None of them is in yet.
    First,
    /// Others are.
    Later,
}

/// The bytes in a buffer, in the parts that the kernel keeps them in.
#[derive(Clone, Debug)]
pub struct Store {
    kind: BufferKind,
    parts: VecDeque<Piece>,
    /// What the parts cost, in pages or bytes; of messages how many there are.
    used: u64,
    /// It was full, and not enough is gone yet.
    is_stuck: bool,
}

/// A page of a pipe, or a message of a socket.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Bytes in it.
    left: u32,
    /// Where the next byte of a page goes.
    end: u32,
    cost: u32,
}

impl Store {
    /// An empty one, then filled with `filled` bytes whatever its size.
    #[must_use]
    pub fn new(kind: BufferKind, filled: u32) -> Self {
        let mut store = Self { kind, parts: VecDeque::new(), used: 0, is_stuck: false };
        if store.is_counted() {
            store.used = filled.into();
        } else if filled > 0 {
            store.push(filled);
        }
        store
    }

    /// Whether there is nothing to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        if self.is_counted() { self.used == 0 } else { self.parts.is_empty() }
    }

    /// Whether it holds things of one size.
    fn is_counted(&self) -> bool {
        matches!(self.kind, BufferKind::Messages { .. })
    }

    /// Whether nothing can be put.
    ///
    /// # Source
    ///
    /// `pipe_full` in `include/linux/pipe_fs_i.h`; `sock_alloc_send_pskb` in `net/core/sock.c`
    /// (`sk_wmem_alloc` below `sk_sndbuf`: the last message may go beyond).
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self.kind {
            BufferKind::Pipe { pages } | BufferKind::Packets { pages } => {
                self.used >= u64::from(pages)
            }
            BufferKind::Messages { room, .. } => self.is_stuck || self.used >= u64::from(room),
            BufferKind::Socket { room } => self.used >= u64::from(room),
        }
    }

    /// How full it is.
    #[must_use]
    pub fn level(&self) -> Level {
        if self.is_full() { Level::Full } else { Level::Room }
    }

    /// Whether those who wait for room are told of it.
    ///
    /// # Source
    ///
    /// `anon_pipe_read` wakes a writer when a full pipe has a free page; `unix_writable` in
    /// `net/unix/af_unix.c` asks for three quarters of the room.
    #[must_use]
    pub fn tells_writers(&self, before: Level) -> bool {
        match self.kind {
            BufferKind::Pipe { .. } | BufferKind::Packets { .. } | BufferKind::Messages { .. } => {
                before == Level::Full && !self.is_full()
            }
            BufferKind::Socket { room } => self.used.saturating_mul(4) <= u64::from(room),
        }
    }

    /// Whether each read ends with a packet.
    #[must_use]
    pub fn is_in_packets(&self) -> bool {
        matches!(self.kind, BufferKind::Packets { .. })
    }

    /// Whether only what comes into an empty one is told; else everything is.
    ///
    /// # Source
    ///
    /// `anon_pipe_write` in `fs/pipe.c`; `sock_def_readable` in `net/core/sock.c`.
    #[must_use]
    pub fn wakes_when_empty(&self) -> bool {
        !matches!(self.kind, BufferKind::Socket { .. })
    }

    /// Whether whoever waits does so alone: then one is woken, else all.
    ///
    /// # Source
    ///
    /// `wait_event_interruptible_exclusive` in `fs/pipe.c`; `prepare_to_wait` in
    /// `unix_stream_data_wait` and `sock_wait_for_wmem`.
    #[must_use]
    pub fn wakes_one(&self) -> bool {
        self.wakes_when_empty()
    }

    /// Puts as many of `bytes` as fit now, and says how many.
    ///
    /// # Source
    ///
    /// `anon_pipe_write`: the odd bytes of a call go behind those of the last page where they fit,
    /// and all else into pages of its own. `unix_stream_sendmsg`: one message for each half of the
    /// room.
    pub fn put(&mut self, bytes: u32, part: Part) -> u32 {
        if self.is_counted() {
            return self.count(bytes);
        }
        let mut left = bytes;
        if part == Part::First
            && let BufferKind::Pipe { .. } = self.kind
            && let Some(last) = self.parts.back_mut()
        {
            let odd = left % PAGE;
            if odd > 0 && last.end + odd <= PAGE {
                last.end += odd;
                last.left += odd;
                left -= odd;
            }
        }
        while left > 0 && !self.is_full() {
            let most = match self.kind {
                BufferKind::Socket { room } => (room / 2).saturating_sub(64).max(1),
                _ => PAGE,
            };
            let part = left.min(most);
            self.push(part);
            left -= part;
        }
        bytes - left
    }

    /// Puts as many of `n` as fit into what holds things of one size.
    fn count(&mut self, n: u32) -> u32 {
        if self.is_full() {
            return 0;
        }
        let room = match self.kind {
            BufferKind::Messages { room, .. } => u64::from(room).saturating_sub(self.used),
            _ => u64::MAX,
        };
        let moved = u64::from(n).min(room);
        self.used += moved;
        self.is_stuck = self.is_full();
        u32::try_from(moved).unwrap_or(n)
    }

    fn push(&mut self, bytes: u32) {
        let cost = match self.kind {
            BufferKind::Socket { .. } => memory_of(bytes),
            _ => bytes.div_ceil(PAGE),
        };
        self.parts.push_back(Piece { left: bytes, end: bytes.min(PAGE), cost });
        self.used += u64::from(cost);
    }

    /// Takes up to `bytes`, and says how many.
    ///
    /// # Source
    ///
    /// `anon_pipe_read`: a read in packet mode ends with its packet.
    pub fn take(&mut self, bytes: u32) -> u32 {
        if self.is_counted() {
            let moved = u64::from(bytes).min(self.used);
            self.used -= moved;
            if let BufferKind::Messages { room, step } = self.kind {
                self.is_stuck &= self.used.saturating_add(step.into()) > u64::from(room);
            }
            return u32::try_from(moved).unwrap_or(bytes);
        }
        if let BufferKind::Packets { .. } = self.kind {
            // What is left of a packet is lost.
            let Some(first) = self.parts.pop_front() else { return 0 };
            self.used -= u64::from(first.cost);
            return bytes.min(first.left);
        }
        let mut left = bytes;
        while left > 0
            && let Some(first) = self.parts.front_mut()
        {
            let taken = left.min(first.left);
            first.left -= taken;
            left -= taken;
            if first.left == 0 {
                self.used -= u64::from(first.cost);
                self.parts.pop_front();
            }
        }
        bytes - left
    }
}

/// Memory that a message takes in a socket (`skb->truesize`), bytes.
///
/// # Source
///
/// `SKB_TRUESIZE` in `include/linux/skbuff.h`; `sock_alloc_send_pskb`: the first bytes lie in an
/// allocation of the next power of two, and the rest in pages.
///
/// # Deviation
///
/// The sizes of `struct sk_buff` and `struct skb_shared_info` are those of Linux 6.18 on 64 bits.
fn memory_of(bytes: u32) -> u32 {
    const BUFFER: u32 = 256;
    const SHARED: u32 = 320;
    /// `SKB_MAX_HEAD(0)`.
    const HEAD: u32 = PAGE - SHARED;
    let head = bytes.min(HEAD);
    let pages = (bytes - head).div_ceil(PAGE).saturating_mul(PAGE);
    (head + SHARED).next_power_of_two().saturating_add(BUFFER).saturating_add(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_share_a_page_and_whole_pages_do_not() {
        let mut pipe = Store::new(BufferKind::Pipe { pages: 2 }, 0);
        assert_eq!(pipe.put(100, Part::First), 100);
        assert_eq!(pipe.put(3996, Part::First), 3996);
        assert!(!pipe.is_full());
        // The first page is full, this takes the second.
        assert_eq!(pipe.put(4000, Part::First), 4000);
        assert!(pipe.is_full());
        assert_eq!(pipe.put(96, Part::First), 96);
        assert_eq!(pipe.put(1, Part::First), 0);
        assert_eq!(pipe.take(4095), 4095);
        assert!(!pipe.tells_writers(Level::Full));
        assert_eq!(pipe.take(2), 2);
        assert!(pipe.tells_writers(Level::Full));
        // What is left of the second page still ends at its last byte.
        assert_eq!(pipe.put(5000, Part::First), 4096);
        assert_eq!(pipe.take(u32::MAX), 4095 + 4096);
        assert!(pipe.is_empty());
    }

    #[test]
    fn a_full_pipe_of_messages_takes_more_when_a_page_of_them_is_gone() {
        let mut pipe = Store::new(BufferKind::Messages { room: 4, step: 2 }, 1);
        assert_eq!(pipe.put(9, Part::First), 3);
        assert_eq!((pipe.take(1), pipe.put(1, Part::First)), (1, 0));
        assert_eq!((pipe.take(1), pipe.put(9, Part::First)), (1, 2));
    }

    #[test]
    fn packets_share_no_page_and_are_read_once() {
        let mut pipe = Store::new(BufferKind::Packets { pages: 2 }, 0);
        assert_eq!(pipe.put(700, Part::First), 700);
        assert_eq!((pipe.take(300), pipe.is_empty()), (300, true));
        assert_eq!(pipe.put(1, Part::First), 1);
        assert_eq!(pipe.put(1, Part::First), 1);
        assert!(pipe.is_full());
    }

    #[test]
    fn a_socket_counts_the_kernels_own_memory() {
        let mut socket = Store::new(BufferKind::Socket { room: 212_992 }, 0);
        let messages = (0..1000).take_while(|_| socket.put(100, Part::First) == 100).count();
        // 768 bytes each.
        assert_eq!(messages, 278);
        for _ in 0..208 {
            assert!(!socket.tells_writers(Level::Full));
            assert_eq!(socket.take(100), 100);
        }
        assert!(!socket.tells_writers(Level::Full));
        assert_eq!(socket.take(100), 100);
        assert!(socket.tells_writers(Level::Full));
    }
}
