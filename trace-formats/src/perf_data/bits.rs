//! Numbers that perf.data's records are made of.

/// `PERF_SAMPLE_*`: what a sample holds.
pub(super) mod sample_type {
    pub(in super::super) const IP: u64 = 1;
    pub(in super::super) const TID: u64 = 1 << 1;
    pub(in super::super) const TIME: u64 = 1 << 2;
    pub(in super::super) const ADDR: u64 = 1 << 3;
    pub(in super::super) const READ: u64 = 1 << 4;
    pub(in super::super) const CALLCHAIN: u64 = 1 << 5;
    pub(in super::super) const ID: u64 = 1 << 6;
    pub(in super::super) const CPU: u64 = 1 << 7;
    pub(in super::super) const PERIOD: u64 = 1 << 8;
    pub(in super::super) const STREAM_ID: u64 = 1 << 9;
    pub(in super::super) const RAW: u64 = 1 << 10;
    pub(in super::super) const IDENTIFIER: u64 = 1 << 16;
}

/// `PERF_RECORD_*`: kinds of records that are more than counted.
pub(super) mod record {
    pub(in super::super) const LOST: u32 = 2;
    pub(in super::super) const SAMPLE: u32 = 9;
    pub(in super::super) const LOST_SAMPLES: u32 = 13;
    pub(in super::super) const ATTR: u32 = 64;
    pub(in super::super) const TRACING_DATA: u32 = 66;
    pub(in super::super) const ID_INDEX: u32 = 69;
    pub(in super::super) const AUXTRACE: u32 = 71;
    pub(in super::super) const EVENT_UPDATE: u32 = 78;
    pub(in super::super) const FEATURE: u32 = 80;
    pub(in super::super) const COMPRESSED: u32 = 81;
    pub(in super::super) const COMPRESSED2: u32 = 83;
}

/// `HEADER_*`: features that are read.
pub(super) mod feature {
    pub(in super::super) const TRACING_DATA: u32 = 1;
    pub(in super::super) const OSRELEASE: u32 = 4;
    pub(in super::super) const EVENT_DESC: u32 = 12;
}

/// What is used of a sample, or of another record's identification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample<'b> {
    /// The event's id, in identifications only.
    pub id: Option<u64>,
    pub time: Option<u64>,
    pub cpu: Option<u32>,
    pub raw: Option<&'b [u8]>,
}

/// The name of a record kind, as `perf report --stats` shows it.
pub(super) fn record_name(kind: u32) -> String {
    const KERNEL: [&str; 22] = [
        "",
        "MMAP",
        "LOST",
        "COMM",
        "EXIT",
        "THROTTLE",
        "UNTHROTTLE",
        "FORK",
        "READ",
        "SAMPLE",
        "MMAP2",
        "AUX",
        "ITRACE_START",
        "LOST_SAMPLES",
        "SWITCH",
        "SWITCH_CPU_WIDE",
        "NAMESPACES",
        "KSYMBOL",
        "BPF_EVENT",
        "CGROUP",
        "TEXT_POKE",
        "AUX_OUTPUT_HW_ID",
    ];
    const TOOL: [&str; 20] = [
        "ATTR",
        "EVENT_TYPE",
        "TRACING_DATA",
        "BUILD_ID",
        "FINISHED_ROUND",
        "ID_INDEX",
        "AUXTRACE_INFO",
        "AUXTRACE",
        "AUXTRACE_ERROR",
        "THREAD_MAP",
        "CPU_MAP",
        "STAT_CONFIG",
        "STAT",
        "STAT_ROUND",
        "EVENT_UPDATE",
        "TIME_CONV",
        "FEATURE",
        "COMPRESSED",
        "FINISHED_INIT",
        "COMPRESSED2",
    ];
    let index = usize::try_from(kind).unwrap_or(usize::MAX);
    let known = KERNEL.get(index).or_else(|| TOOL.get(index.checked_sub(64)?));
    known
        .filter(|name| !name.is_empty())
        .map_or_else(|| format!("type {kind}"), |n| (*n).to_owned())
}
