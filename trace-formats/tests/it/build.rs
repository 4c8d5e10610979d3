//! trace.dat files made in memory: any version, byte order, word size and compression.

use std::io::Write;

/// What varies between trace.dat files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// `'6'` or `'7'`.
    pub version: u8,
    pub is_big: bool,
    pub long_size: u8,
    /// `none`, `zlib` or `zstd`; version 6 knows none.
    pub compression: &'static str,
}

const PAGE: usize = 4096;

const SWITCH: &str = "name: sched_switch
ID: 316
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:LONG;\tsigned:1;
\tfield:char next_comm[16];\toffset:AFTER;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:PID;\tsize:4;\tsigned:1;
\tfield:int next_prio;\toffset:PRIO;\tsize:4;\tsigned:1;

print fmt: \"\"
";

/// The record of our own recorder.
const OWNER: &str = "name: lock_owner
ID: 317
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:void * lock_addr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:u64 owner_raw;\toffset:16;\tsize:8;\tsigned:0;
\tfield:unsigned int flags;\toffset:24;\tsize:4;\tsigned:0;
\tfield:int owner_pid;\toffset:28;\tsize:4;\tsigned:1;
\tfield:int owner_prio;\toffset:32;\tsize:4;\tsigned:1;
\tfield:int owner_on_cpu;\toffset:36;\tsize:4;\tsigned:1;
\tfield:int owner_cpu;\toffset:40;\tsize:4;\tsigned:1;

print fmt: \"\"
";

/// A buffer beside the one that has the events.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub name: &'static str,
    pub clock: &'static str,
    /// One CPU each.
    pub pages: Vec<Vec<u8>>,
    /// The kernel's counts, as options of the file.
    pub stats: Vec<String>,
}

pub(crate) struct Writer {
    pub bytes: Vec<u8>,
    shape: Shape,
}

impl Writer {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { bytes: Vec::new(), shape }
    }

    /// A number of `size` bytes in the file's byte order.
    pub(crate) fn number(&mut self, value: u64, size: u8) {
        let little = value.to_le_bytes();
        let mut bytes = little[..usize::from(size)].to_vec();
        if self.shape.is_big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn sized(&mut self, text: &str) {
        self.number(text.len() as u64, 8);
        self.bytes.extend(text.as_bytes());
    }

    fn comm(&mut self, name: &str) {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        self.bytes.extend(bytes);
    }

    fn pad_to(&mut self, multiple: usize) {
        let length = self.bytes.len().next_multiple_of(multiple);
        self.bytes.resize(length, 0);
    }
}

/// The format of `sched_switch` on a machine with words of `long` bytes.
fn switch_format(long: u8) -> String {
    let after = 32 + u64::from(long);
    SWITCH
        .replace("LONG", &long.to_string())
        .replace("AFTER", &after.to_string())
        .replace("PID", &(after + 16).to_string())
        .replace("PRIO", &(after + 20).to_string())
}

/// One page: A gives way to B, then B sleeps and A runs again, 1 ms later.
pub(crate) fn page(shape: Shape, pids: (u64, u64)) -> Vec<u8> {
    let mut records = Writer::new(shape);
    for (delta, (prev, next), state) in [(5u64, pids, 0), (1_000_000, (pids.1, pids.0), 1)] {
        let mut record = Writer::new(shape);
        record.number(316, 2);
        record.number(0, 2);
        record.number(prev, 4);
        record.comm(&format!("task-{prev}"));
        record.number(prev, 4);
        record.number(120, 4);
        record.number(state, shape.long_size);
        record.comm(&format!("task-{next}"));
        record.number(next, 4);
        record.number(120, 4);
        let words = record.bytes.len() as u64 / 4;
        let head = if shape.is_big { words << 27 | delta } else { delta << 5 | words };
        records.number(head, 4);
        records.bytes.extend(record.bytes);
    }
    let mut page = Writer::new(shape);
    page.number(7_000_000_000, 8);
    page.number(records.bytes.len() as u64, shape.long_size);
    page.bytes.extend(records.bytes);
    page.pad_to(PAGE);
    page.bytes
}

/// What is in front of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Lost,
}

/// One page of owners: WAITER finds OWNER so many nanoseconds after the page's time; 0 is nobody.
pub(crate) fn owner_page(shape: Shape, records: &[(u64, u64, u64)], before: Before) -> Vec<u8> {
    let mut data = Writer::new(shape);
    let mut now = 0;
    for (at, waiter, owner) in records {
        let (delta, words) = (at - now, 11);
        now = *at;
        data.number(if shape.is_big { words << 27 | delta } else { delta << 5 | words }, 4);
        data.number(317, 2);
        data.number(0, 2);
        data.number(*waiter, 4);
        data.number(0xffff_8881_0000_0010, 8);
        data.number(if *owner == 0 { 0 } else { 0xffff_8882_0000_0001 }, 8);
        data.number(33, 4);
        data.number(*owner, 4);
        data.number(if *owner == 0 { 0 } else { 139 }, 4);
        data.number(u64::from(*owner != 0), 4);
        data.number(u64::from(*owner != 0), 4);
    }
    let missed = if before == Before::Lost { 1 << 31 } else { 0 };
    let mut page = Writer::new(shape);
    page.number(7_000_000_000, 8);
    page.number(data.bytes.len() as u64 | missed, shape.long_size);
    page.bytes.extend(data.bytes);
    page.pad_to(PAGE);
    page.bytes
}

fn head(shape: Shape) -> Writer {
    let mut w = Writer::new(shape);
    w.bytes.extend(b"\x17\x08\x44tracing");
    w.bytes.extend([shape.version, 0, u8::from(shape.is_big), shape.long_size]);
    w.number(PAGE as u64, 4);
    w
}

fn header_page(w: &mut Writer) {
    let long = w.shape.long_size;
    w.text("header_page");
    w.sized(&format!(
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
         \tfield: local_t commit;\toffset:8;\tsize:{long};\tsigned:1;\n\
         \tfield: char data;\toffset:{};\tsize:{};\tsigned:1;\n",
        8 + long,
        PAGE - 8 - usize::from(long),
    ));
    w.text("header_event");
    w.sized("");
}

fn event_systems(w: &mut Writer, instance: Option<&Instance>) {
    w.number(1 + u64::from(instance.is_some()), 4);
    w.text("sched");
    w.number(1, 4);
    let format = switch_format(w.shape.long_size);
    w.sized(&format);
    if instance.is_some() {
        w.text("resched");
        w.number(1, 4);
        w.sized(OWNER);
    }
}

/// A whole file: the given pages, one CPU each.
pub(crate) fn trace_dat(shape: Shape, pages: &[Vec<u8>]) -> Vec<u8> {
    let order: Vec<usize> = (0..pages.len()).collect();
    if shape.version == b'6' { version_6(shape, pages) } else { version_7(shape, pages, &order) }
}

fn version_6(shape: Shape, pages: &[Vec<u8>]) -> Vec<u8> {
    version_6_with(shape, pages, None)
}

/// A version 6 file, and a second buffer behind the first one.
pub(crate) fn version_6_with(
    shape: Shape,
    pages: &[Vec<u8>],
    instance: Option<&Instance>,
) -> Vec<u8> {
    let mut w = head(shape);
    header_page(&mut w);
    w.number(0, 4);
    event_systems(&mut w, instance);
    w.number(0, 4);
    w.number(0, 4);
    w.number(0, 8);
    w.number(pages.len() as u64, 4);
    let place = instance.map(|instance| {
        w.bytes.extend(b"options  \0");
        w.number(3, 2);
        w.number(8 + instance.name.len() as u64 + 1, 4);
        let place = w.bytes.len();
        w.number(0, 8);
        w.text(instance.name);
        w.number(0, 2);
        place
    });
    table_and_pages(&mut w, pages);
    if let (Some(instance), Some(place)) = (instance, place) {
        let offset = number(shape, w.bytes.len() as u64);
        w.bytes[place..place + 8].copy_from_slice(&offset);
        table_and_pages(&mut w, &instance.pages);
    }
    w.bytes
}

fn table_and_pages(w: &mut Writer, pages: &[Vec<u8>]) {
    w.bytes.extend(b"flyrecord\0");
    let first = (w.bytes.len() + 16 * pages.len()).next_multiple_of(PAGE);
    for cpu in 0..pages.len() {
        w.number((first + cpu * PAGE) as u64, 8);
        w.number(PAGE as u64, 8);
    }
    w.pad_to(PAGE);
    pages.iter().for_each(|page| w.bytes.extend(page));
}

fn packed(shape: Shape, data: &[u8]) -> Vec<u8> {
    match shape.compression {
        "zlib" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
            encoder.write_all(data).expect("memory");
            encoder.finish().expect("memory")
        }
        _ => zstd::bulk::compress(data, 3).expect("memory"),
    }
}

/// `sizes`, then the packed bytes.
fn chunk(w: &mut Writer, data: &[u8]) {
    let small = packed(w.shape, data);
    w.number(small.len() as u64, 4);
    w.number(data.len() as u64, 4);
    w.bytes.extend(small);
}

fn section(w: &mut Writer, id: u64, content: &[u8]) -> u64 {
    let at = w.bytes.len() as u64;
    let is_packed = w.shape.compression != "none";
    let mut body = Writer::new(w.shape);
    if is_packed {
        chunk(&mut body, content)
    } else {
        body.bytes.extend(content)
    }
    w.number(id, 2);
    w.number(u64::from(is_packed), 2);
    w.number(0, 4);
    w.number(body.bytes.len() as u64, 8);
    w.bytes.extend(body.bytes);
    at
}

/// A version 7 file; `order` is that of the CPUs in the file.
pub(crate) fn version_7(shape: Shape, pages: &[Vec<u8>], order: &[usize]) -> Vec<u8> {
    version_7_with(shape, pages, order, None)
}

/// The same with a second buffer, whose option stands first.
pub(crate) fn version_7_with(
    shape: Shape,
    pages: &[Vec<u8>],
    order: &[usize],
    instance: Option<&Instance>,
) -> Vec<u8> {
    let mut w = head(shape);
    w.text(shape.compression);
    w.text(if shape.compression == "none" { "" } else { "1" });
    let place = w.bytes.len();
    w.number(0, 8);
    let mut content = Writer::new(shape);
    header_page(&mut content);
    let info = section(&mut w, 16, &content.bytes);
    let mut content = Writer::new(shape);
    event_systems(&mut content, instance);
    let formats = section(&mut w, 18, &content.bytes);
    let buffer = buffer(&mut w, ("", "mono"), order.iter().map(|cpu| (*cpu, &pages[*cpu])));
    let mut values = vec![(16, number(shape, info)), (18, number(shape, formats))];
    if let Some(instance) = instance {
        let name = (instance.name, instance.clock);
        values.push((3, self::buffer(&mut w, name, instance.pages.iter().enumerate())));
        values.extend(instance.stats.iter().map(|text| (2, text.clone().into_bytes())));
    }
    values.push((3, buffer));
    let mut options = Writer::new(shape);
    for (id, value) in values {
        options.number(id, 2);
        options.number(value.len() as u64, 4);
        options.bytes.extend(value);
    }
    options.number(0, 2);
    options.number(8, 4);
    options.number(0, 8);
    let at = section(&mut w, 0, &options.bytes);
    w.bytes[place..place + 8].copy_from_slice(&number(shape, at));
    w.bytes
}

/// Eight bytes.
fn number(shape: Shape, value: u64) -> Vec<u8> {
    let mut w = Writer::new(shape);
    w.number(value, 8);
    w.bytes
}

/// Writes the pages of a buffer; returns its option.
fn buffer<'p>(
    w: &mut Writer,
    (name, clock): (&str, &str),
    pages: impl ExactSizeIterator<Item = (usize, &'p Vec<u8>)>,
) -> Vec<u8> {
    let mut buffer = Writer::new(w.shape);
    buffer.number(0, 8);
    buffer.text(name);
    buffer.text(clock);
    buffer.number(PAGE as u64, 4);
    buffer.number(pages.len() as u64, 4);
    for (cpu, page) in pages {
        w.pad_to(PAGE);
        buffer.number(cpu as u64, 4);
        buffer.number(w.bytes.len() as u64, 8);
        let before = w.bytes.len();
        if w.shape.compression == "none" {
            w.bytes.extend(page);
        } else {
            w.number(1, 4);
            chunk(w, page);
        }
        buffer.number((w.bytes.len() - before) as u64, 8);
    }
    buffer.bytes
}
