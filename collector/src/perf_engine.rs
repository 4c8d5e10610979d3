//! Records through the buffers of `perf_event_open`, one a CPU, emptied by one thread in turn.

use crate::bpf::{OwnRecord, RecordRing};
use crate::chunk::Packer;
use crate::control::{Control, Stop};
use crate::describe::{self, Systems};
use crate::drain::Setting;
use crate::engine::{Around, Ended};
use crate::limits;
use crate::own_events::OwnEvents;
use crate::perf_data::{CpuEventId, Description, FileEvent, Writer};
use crate::perf_event::{self, LOST, Moment, PerfEvent, Ring, SAMPLE, Tasks};
use crate::plan::Plan;
use crate::priority::Urgency;
use crate::probes::Probes;
use crate::request::{Compression, Via};
use crate::spool::{Manifest, Spool};
use crate::stream::{Lost, Memory};
use crate::trace_dat;
use crate::tracefs::Tracefs;
use crate::tracefs_engine::{own_kib, wait_events, watch};
use crate::watch::{LocksSeen, Watch};
use anyhow::{Context, Result};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// A recording through perf's buffers.
pub(crate) struct PerfEngine {
    running: Option<JoinHandle<Result<Drain>>>,
    ready: Option<Drain>,
    /// The events of each CPU, the owner of its buffer first.
    cpus: Vec<CpuEvents>,
    memories: Vec<Arc<Mutex<Memory>>>,
    description: Description,
    manifest: Manifest,
    compression: Compression,
    control: Arc<Control>,
}

struct CpuEvents {
    cpu: u32,
    events: Vec<PerfEvent>,
}

impl PerfEngine {
    /// Makes everything ready; nothing is recorded yet.
    pub(crate) fn prepare(around: &Around<'_>, probes: &Probes) -> Result<Self> {
        let Around { plan, tracefs, spool, me, control } = *around;
        limits::allow_many_files();
        let mut cpus = Vec::new();
        for cpu in describe::online_cpus()? {
            cpus.push(CpuEvents { cpu, events: open_cpu(plan, probes, cpu)? });
        }
        let mut rings = Vec::new();
        let mut memories = Vec::new();
        for cpu in &cpus {
            rings.push(map(plan, probes, cpu)?);
            if let Some(flight) = plan.flight {
                memories.push(Arc::new(Mutex::new(Memory::new(flight.last))));
            }
        }
        let description = describe_file(plan, tracefs, probes, &cpus)?;
        let manifest = Manifest {
            version: 1,
            via: Via::Perf.name().to_owned(),
            zstd: plan.compression.level(),
            cpus: cpus.iter().map(|cpu| cpu.cpu).collect(),
            own_cpus: Vec::new(),
            pid: me.0,
            start_ticks: me.1,
            in_memory: plan.flight.is_some(),
        };
        spool.write("tasks", describe::names_text(&describe::task_names()).as_bytes())?;
        spool.write_manifest(&manifest)?;
        let sink = if plan.flight.is_some() {
            Sink::Memory(memories.clone(), Packer::new(Compression::Zstd(1))?, Vec::new())
        } else {
            Sink::File(begin_file(spool, &description, plan.compression)?)
        };
        let setting = Setting {
            control: Arc::clone(control),
            buffer_kib: plan.buffer_kib,
            own_kib: own_kib(plan),
            realtime: plan.realtime,
            watch: watch(plan).map(Arc::new),
            flight: plan.flight.is_some(),
            waits: wait_events(plan),
        };
        let ready = Some(Drain {
            rings,
            sink,
            locks: LocksSeen::new(setting.waits),
            setting,
            lost: Vec::new(),
            taken: 0,
            events: 0,
            own: None,
            copy: Vec::new(),
            begun_at: perf_event::now(),
            closed_at: 0,
        });
        let control = Arc::clone(control);
        let compression = plan.compression;
        Ok(Self {
            running: None,
            ready,
            cpus,
            memories,
            description,
            manifest,
            compression,
            control,
        })
    }

    fn events(&self) -> impl Iterator<Item = &PerfEvent> {
        self.cpus.iter().flat_map(|cpu| &cpu.events)
    }

    /// Begins to record.
    pub(crate) fn start(&mut self, own: &Arc<OwnEvents>) -> Result<()> {
        let mut drain = self.ready.take().context("a recording starts once")?;
        drain.own = Some(Arc::clone(own)).filter(|own| !own.is_empty());
        let thread = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
            let control = Arc::clone(&drain.setting.control);
            let result = drain.run();
            if result.is_err() {
                control.stop(Stop::Failed);
            }
            result.map(|()| drain)
        });
        self.running = Some(thread.context("a thread that empties buffers cannot be started")?);
        self.events().try_for_each(PerfEvent::enable)
    }

    /// Lets no more events in.
    pub(crate) fn stop(&self) -> Result<()> {
        self.events().try_for_each(PerfEvent::disable)
    }

    /// Waits for the thread, which has been told to stop, and counts.
    pub(crate) fn finish(&mut self) -> Ended {
        let mut ended = Ended::default();
        let Some(thread) = self.running.take() else { return ended };
        let mut drain = match thread.join() {
            Ok(Ok(drain)) => drain,
            Ok(Err(error)) => {
                ended.failures.push(error);
                return ended;
            }
            Err(_) => {
                ended.failures.push(anyhow::anyhow!("a thread of the recorder panicked"));
                return ended;
            }
        };
        for cpu in &self.cpus {
            for event in &cpu.events {
                let Some(lost) = event.lost() else { continue };
                ended.kernel.entry(cpu.cpu).or_default().overrun += lost;
                let id = CpuEventId { cpu: cpu.cpu, id: event.id };
                if let Sink::File(writer) = &mut drain.sink
                    && lost > 0
                {
                    ended.failures.extend(writer.lost(lost, id).err());
                }
            }
        }
        let dropped = match drain.own.as_ref().map_or(Ok(Vec::new()), |own| own.dropped()) {
            Ok(dropped) => dropped,
            Err(error) => {
                ended.failures.push(error);
                return ended;
            }
        };
        for (cpu, lost) in (0..).zip(&dropped).filter(|(_, lost)| **lost > 0) {
            if let Sink::File(writer) = &mut drain.sink {
                let id = CpuEventId { cpu, id: own_id(0, cpu) };
                ended.failures.extend(writer.lost(*lost, id).err());
            }
        }
        // A CPU that came later has no events of ours.
        let late = describe::online_cpus().unwrap_or_default().into_iter();
        let late = late.filter(|cpu| self.cpus.iter().all(|known| known.cpu != *cpu));
        let (after, before) = (drain.begun_at, drain.closed_at);
        ended.lost.extend(late.map(|cpu| Lost { cpu, records: None, after, before }));
        // What was lost after the last record that fitted, no record tells.
        for ring in &drain.rings {
            let told = drain.lost.iter().filter(|lost| lost.cpu == ring.cpu);
            let told: u64 = told.filter_map(|lost| lost.records).sum();
            let overrun = ended.kernel.get(&ring.cpu).map_or(0, |count| count.overrun);
            let counted = overrun + dropped.get(ring.cpu as usize).copied().unwrap_or(0);
            let untold = counted.checked_sub(told).filter(|untold| *untold > 0);
            ended.lost.extend(untold.map(|records| Lost {
                cpu: ring.cpu,
                records: Some(records),
                after: ring.newest,
                before: drain.closed_at.max(ring.newest),
            }));
        }
        ended.taken = drain.taken;
        ended.events = drain.events;
        ended.lost.extend(drain.lost);
        ended.locks = drain.locks.locks.into_iter().collect();
        ended
    }

    /// Writes what a flight recorder holds into a spool of its own.
    pub(crate) fn dump(&self, spool: &Spool) -> Result<()> {
        let mut writer = begin_file(spool, &self.description, self.compression)?;
        for memory in &self.memories {
            let chunks = memory.lock().unwrap_or_else(PoisonError::into_inner).bytes();
            for chunk in chunks {
                let plain = chunk.get(4..8).and_then(|size| size.try_into().ok());
                let plain = u32::from_le_bytes(plain.unwrap_or_default()) as usize;
                let packed = chunk.get(8..).unwrap_or_default();
                writer.records(&zstd::bulk::decompress(packed, plain).context("zstd")?)?;
            }
        }
        spool.write_manifest(&Manifest { in_memory: false, ..self.manifest.clone() })
    }
}

impl Drop for PerfEngine {
    fn drop(&mut self) {
        // After a failure events may still come in, and the thread waits for the end of them.
        for event in self.events() {
            let _ = event.disable();
        }
        self.control.close();
        if let Some(thread) = self.running.take() {
            let _ = thread.join();
        }
    }
}

fn begin_file(spool: &Spool, d: &Description, compression: Compression) -> Result<Writer> {
    let mut writer = Writer::create(spool.folder(), "data", d, compression)?;
    for (tid, name) in describe::task_names() {
        // The thread id stands for the process too: readers ask for names by thread.
        writer.task(tid, tid, &name)?;
    }
    Ok(writer)
}

fn open_cpu(plan: &Plan, probes: &Probes, cpu: u32) -> Result<Vec<PerfEvent>> {
    let mut events: Vec<PerfEvent> = Vec::new();
    for planned in &plan.events {
        let tasks = if events.is_empty() { Tasks::Told } else { Tasks::Untold };
        let attr = perf_event::attribute(planned.id, tasks);
        let event = PerfEvent::open(attr, cpu)
            .with_context(|| format!("{} cannot be recorded", planned.event))?;
        if let Some(filter) = &planned.filter {
            event.filter(filter)?;
        }
        events.push(event);
    }
    for dynamic in probes.dynamic() {
        let attr = perf_event::attribute(dynamic.id, Tasks::Untold);
        let event = PerfEvent::open(attr, cpu);
        events.push(event.with_context(|| format!("{} cannot be recorded", dynamic.name))?);
    }
    Ok(events)
}

/// Maps the buffers of a CPU; all of the kernel's events share one.
fn map(plan: &Plan, probes: &Probes, cpu: &CpuEvents) -> Result<CpuRing> {
    let owner = cpu.events.first().context("a plan without events")?;
    let ring = Ring::map(owner, plan.buffer_kib)?;
    // Only a buffer that is mapped can be shared.
    cpu.events.iter().skip(1).try_for_each(|event| event.share(owner))?;
    let own = if probes.own.is_empty() {
        None
    } else {
        Some(OwnRing { ring: probes.own.open(cpu.cpu, own_kib(plan))?, told_lost: 0 })
    };
    Ok(CpuRing { cpu: cpu.cpu, ring, own, newest: 0 })
}

/// The number of our records of a kind on a CPU; the kernel's own numbers are small.
fn own_id(place: usize, cpu: u32) -> u64 {
    1 << 48 | (place as u64) << 32 | u64::from(cpu)
}

/// Every event with its number, in the order in which `open_cpu` opens them.
fn events(plan: &Plan, probes: &Probes) -> (Systems, Vec<(String, u16)>) {
    let mut systems = Systems::new();
    let mut events = Vec::new();
    let planned = plan.events.iter().map(|e| (e.event.system, e.event.name, e.id));
    let dynamic = probes.dynamic().iter().map(|e| (e.group.as_str(), e.name.as_str(), e.id));
    for (system, name, id) in planned.chain(dynamic) {
        systems.entry(system.to_owned()).or_default().push(name.to_owned());
        events.push((format!("{system}:{name}"), id));
    }
    (systems, events)
}

fn describe_file(
    plan: &Plan,
    tracefs: &Tracefs,
    probes: &Probes,
    cpus: &[CpuEvents],
) -> Result<Description> {
    let (systems, names) = events(plan, probes);
    let file_event = |name: String, number: u16, tasks: Tasks, ids: Vec<CpuEventId>| {
        let attr = perf_event::attribute(number, tasks);
        FileEvent { name, attribute: perf_event::attribute_bytes(&attr), ids }
    };
    let mut events = Vec::new();
    for (index, (name, number)) in names.into_iter().enumerate() {
        let tasks = if index == 0 { Tasks::Told } else { Tasks::Untold };
        let id = |cpu: &CpuEvents| Some(CpuEventId { cpu: cpu.cpu, id: cpu.events.get(index)?.id });
        events.push(file_event(name, number, tasks, cpus.iter().filter_map(id).collect()));
    }
    for (place, own) in probes.own.kinds.iter().enumerate() {
        let name = format!("{}:{}", crate::bpf::SYSTEM, own.kind.name);
        let ids =
            cpus.iter().map(|c| CpuEventId { cpu: c.cpu, id: own_id(place, c.cpu) }).collect();
        events.push(file_event(name, own.id, Tasks::Untold, ids));
    }
    let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let n_cpus = u32::try_from(cpus.len())?;
    let clock = "mono".to_owned();
    let mut formats = describe::formats(tracefs, &systems, &kallsyms, clock, n_cpus)?;
    formats.systems.extend(probes.own.formats());
    Ok(Description {
        events,
        tracing_data: trace_dat::tracing_data(&formats)?,
        host: describe::kernel("hostname"),
        release: describe::kernel("osrelease"),
        arch: std::env::consts::ARCH.to_owned(),
        n_cpus,
        command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        buffer_bytes: u32::try_from(plan.buffer_kib * 1024).unwrap_or(u32::MAX),
    })
}

enum Sink {
    File(Writer),
    Memory(Vec<Arc<Mutex<Memory>>>, Packer, Vec<u8>),
}

struct CpuRing {
    cpu: u32,
    ring: Ring,
    /// What our own programs write.
    own: Option<OwnRing>,
    /// Time of the last sample that was looked at.
    newest: u64,
}

struct OwnRing {
    ring: RecordRing,
    /// Records lost, as far as a later record has said so.
    told_lost: u64,
}

impl OwnRing {
    /// Writes its records as the kernel would have written them; returns the bytes they took.
    fn empty(&mut self, cpu: u32, own: &OwnEvents, to: &mut Vec<u8>) -> u64 {
        let Self { ring, told_lost } = self;
        ring.read(|record| {
            let Some((place, bytes)) = own.record(&record) else { return };
            let OwnRecord { process, thread, at, .. } = record;
            let (id, moment) = (own_id(place, cpu), Moment { process, thread, at, cpu });
            if record.lost > *told_lost {
                perf_event::push_lost(to, id, record.lost - *told_lost, moment);
                *told_lost = record.lost;
            }
            perf_event::push_sample(to, id, moment, bytes);
        })
    }
}

struct Drain {
    rings: Vec<CpuRing>,
    sink: Sink,
    locks: LocksSeen,
    setting: Setting,
    lost: Vec<Lost>,
    taken: u64,
    events: u64,
    own: Option<Arc<OwnEvents>>,
    /// Room for records of our own.
    copy: Vec<u8>,
    /// When it was made ready, nanoseconds of the monotonic clock.
    begun_at: u64,
    /// When no more records came in, nanoseconds of the monotonic clock.
    closed_at: u64,
}

impl Drain {
    fn run(&mut self) -> Result<()> {
        let mut urgency = Urgency::at_start(self.setting.realtime);
        urgency.apply()?;
        let mut pause = self.setting.longest_pause() / 10;
        let mut last = Instant::now();
        while !self.setting.control.is_closed() {
            self.setting.control.pause(pause);
            let most = self.visit()?;
            let next = urgency.for_fill(most, self.setting.buffer_kib);
            if next != urgency {
                urgency = next;
                urgency.apply()?;
            }
            pause = self.setting.next_pause(most, last.elapsed(), self.setting.buffer_kib);
            last = Instant::now();
        }
        self.closed_at = perf_event::now();
        self.visit().map(|_| ())
    }

    /// Empties all buffers once; returns the most bytes that one of them held.
    fn visit(&mut self) -> Result<u64> {
        let mut most = 0;
        for index in 0..self.rings.len() {
            most = most.max(self.empty(index)?);
        }
        if let Sink::File(writer) = &mut self.sink {
            writer.round()?;
        }
        if let Some(watch) = &self.setting.watch {
            watch.report(&self.setting.control);
        }
        Ok(most)
    }

    fn empty(&mut self, index: usize) -> Result<u64> {
        let Self { rings, own, copy, sink, .. } = self;
        let Some(cpu) = rings.get_mut(index) else { return Ok(0) };
        let parts = cpu.ring.records();
        let length = parts.0.len() + parts.1.len();
        let mut seen = Seen { newest: cpu.newest, lost: &mut self.lost, events: 0 };
        seen.look(parts, &mut self.locks, self.setting.watch.as_deref());
        sink.write(index, parts, seen.newest)?;
        self.taken += length as u64;
        copy.clear();
        let mut own_length = 0;
        if let (Some(own), Some(ring)) = (own, &mut cpu.own) {
            own_length = ring.empty(cpu.cpu, own, copy);
            seen.look((copy, &[]), &mut self.locks, None);
            sink.write(index, (copy, &[]), seen.newest)?;
            self.taken += own_length;
        }
        (cpu.newest, self.events) = (seen.newest, self.events + seen.events);
        cpu.ring.release(length);
        // Our ring is half as large: it counts twice.
        Ok((2 * own_length).max(length as u64))
    }
}

/// What is noted of records on their way.
struct Seen<'d> {
    newest: u64,
    events: u64,
    lost: &'d mut Vec<Lost>,
}

impl Seen<'_> {
    fn look(&mut self, parts: (&[u8], &[u8]), locks: &mut LocksSeen, watch: Option<&Watch>) {
        walk(parts, |kind, record| match kind {
            LOST => self.lost.extend(loss(&record(), self.newest)),
            SAMPLE => {
                self.events += 1;
                let record = record();
                let Some((at, raw)) = perf_event::sample(&record) else { return };
                self.newest = self.newest.max(at);
                locks.record(raw);
                if let Some(watch) = watch {
                    watch.record(at, raw);
                }
            }
            _ => {}
        });
    }
}

impl Sink {
    /// Takes records of the CPU at `index`, the last of them from `newest`.
    fn write(&mut self, index: usize, parts: (&[u8], &[u8]), newest: u64) -> Result<()> {
        if parts.0.is_empty() && parts.1.is_empty() {
            return Ok(());
        }
        match self {
            Self::File(writer) => {
                writer.records(parts.0)?;
                writer.records(parts.1)
            }
            Self::Memory(memories, packer, packed) => {
                packed.clear();
                packer.pack(&[parts.0, parts.1].concat(), packed)?;
                if let Some(memory) = memories.get(index) {
                    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                    memory.push(newest, packed);
                }
                Ok(())
            }
        }
    }
}

/// Shows the kind of every record, and the record itself to who wants it.
///
/// The buffer's end may cut a record in two, but never its header.
pub(crate) fn walk<'b>(
    (first, second): (&'b [u8], &'b [u8]),
    mut see: impl FnMut(u32, &dyn Fn() -> Cow<'b, [u8]>),
) {
    let mut at = 0;
    let from = |at: usize| match at.checked_sub(first.len()) {
        Some(at) => second.get(at..).unwrap_or_default(),
        None => &first[at..],
    };
    while let Some((kind, size)) = perf_event::record_head(from(at)) {
        let record = || match from(at).get(..size) {
            Some(whole) => Cow::Borrowed(whole),
            None => {
                let begin = from(at);
                let rest = second.get(..size - begin.len()).unwrap_or_default();
                Cow::Owned([begin, rest].concat())
            }
        };
        see(kind, &record);
        at += size;
    }
}

/// What a record of the kernel says was lost.
pub(crate) fn loss(record: &[u8], newest: u64) -> Option<Lost> {
    // Header, id, count; then task, time, CPU.
    let word = |at: usize| Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let cpu = u32::from_ne_bytes(record.get(40..44)?.try_into().ok()?);
    let (records, before) = (Some(word(16)?), word(32)?);
    Some(Lost { cpu, records, after: newest.min(before), before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_walked_across_the_end_of_the_buffer() {
        let record = |kind: u8, body: &[u8]| {
            let size = u8::try_from(8 + body.len()).expect("short");
            [&[kind, 0, 0, 0, 0, 0, size, 0], body].concat()
        };
        let mut lost = record(2, &[0; 40]);
        lost[16] = 7;
        lost[32] = 99;
        lost[40] = 3;
        let all = [record(9, &[1; 8]), lost, record(9, &[2; 16])].concat();
        // Wherever the end falls, the same records are seen.
        for cut in (0..=all.len()).step_by(8) {
            let mut seen = Vec::new();
            let mut losses = Vec::new();
            walk(all.split_at(cut), |kind, record| {
                seen.push((kind, record().len()));
                if kind == LOST {
                    losses.extend(loss(&record(), 50));
                }
            });
            assert_eq!(seen, [(9, 16), (2, 48), (9, 24)], "cut at {cut}");
            assert_eq!(losses, [Lost { cpu: 3, records: Some(7), after: 50, before: 99 }]);
        }
    }
}
