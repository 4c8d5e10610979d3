//! Records through ftrace's buffers, in an instance of our own.

use crate::describe::{self, Systems};
use crate::drain::{self, Drained, Setting};
use crate::engine::{Around, Ended};
use crate::instance::{Instance, KernelCount};
use crate::limits;
use crate::own_drain::{self, OwnCpu};
use crate::own_events::OwnEvents;
use crate::plan::Plan;
use crate::probes::Probes;
use crate::request::{Target, Via};
use crate::spool::{Manifest, OWN_BUFFER, Spool, cpu_file};
use crate::stream::{Memory, Sink, Stream, write_chunks};
use crate::trace_dat;
use crate::watch::{WaitEvents, Watch};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A recording through tracefs.
pub(crate) struct TracefsEngine {
    running: Vec<JoinHandle<Drained>>,
    ready: Vec<(File, Stream)>,
    own_running: Option<JoinHandle<(Vec<OwnCpu>, Result<()>)>>,
    own_ready: Vec<OwnCpu>,
    memories: BTreeMap<(&'static str, u32), Arc<Mutex<Memory>>>,
    instance: Instance,
    setting: Arc<Setting>,
    head: Vec<u8>,
    manifest: Manifest,
}

impl TracefsEngine {
    /// Makes everything ready; nothing is recorded yet.
    pub(crate) fn prepare(around: &Around<'_>, probes: &Probes) -> Result<Self> {
        let Around { plan, tracefs, spool, me, control } = around;
        limits::allow_many_files();
        let name = crate::tracefs::own_name(me.0, me.1);
        let instance = Instance::create(tracefs, &name, plan.buffer_kib)?;
        let systems = enable(&instance, plan, probes, me.0)?;
        let cpus = instance.cpus()?;
        let online = describe::online_cpus()?;
        let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let n_cpus = u32::try_from(cpus.len()).context("the number of CPUs")?;
        let clock = instance.clock()?;
        let mut formats = describe::formats(tracefs, &systems, &kallsyms, clock, n_cpus)?;
        formats.systems.extend(probes.own.formats());
        let head = trace_dat::head(&formats, plan.compression)?;
        let manifest = Manifest {
            version: 1,
            via: Via::Tracefs.name().to_owned(),
            zstd: plan.compression.level(),
            cpus: cpus.clone(),
            own_cpus: if probes.own.is_empty() { Vec::new() } else { online.clone() },
            pid: me.0,
            start_ticks: me.1,
            in_memory: plan.flight.is_some(),
        };
        spool.write("head", &head)?;
        spool.write("tasks", describe::names_text(&describe::task_names()).as_bytes())?;
        spool.write_manifest(&manifest)?;
        let setting = Arc::new(Setting {
            control: Arc::clone(control),
            buffer_kib: plan.buffer_kib,
            own_kib: own_kib(plan),
            realtime: plan.realtime,
            watch: watch(plan).map(Arc::new),
            flight: plan.flight.is_some(),
            waits: wait_events(plan),
        });
        let mut engine = Self {
            running: Vec::new(),
            ready: Vec::new(),
            own_running: None,
            own_ready: Vec::new(),
            memories: BTreeMap::new(),
            instance,
            setting,
            head,
            manifest,
        };
        for cpu in cpus {
            let stream = engine.stream(around, "", cpu)?;
            let pages = drain::open(&engine.instance.raw_pages(cpu))?;
            engine.ready.push((pages, stream));
            // Rings take their memory at once: a CPU that comes later has none, and its records
            // are counted as dropped.
            if !probes.own.is_empty() && online.contains(&cpu) {
                let stream = engine.stream(around, OWN_BUFFER, cpu)?;
                let ring = probes.own.open(cpu, own_kib(plan))?;
                engine.own_ready.push(OwnCpu::new(ring, stream));
            }
        }
        Ok(engine)
    }

    fn stream(&mut self, around: &Around<'_>, buffer: &'static str, cpu: u32) -> Result<Stream> {
        let sink = match around.plan.flight {
            None => Sink::file(around.spool.folder(), &cpu_file(buffer, cpu))?,
            Some(flight) => {
                let memory = Arc::new(Mutex::new(Memory::new(flight.last)));
                self.memories.insert((buffer, cpu), Arc::clone(&memory));
                Sink::Memory(memory)
            }
        };
        Stream::new(cpu, sink, around.plan.compression)
    }

    /// Begins to record.
    pub(crate) fn start(&mut self, own: &Arc<OwnEvents>) -> Result<()> {
        for (pages, stream) in self.ready.drain(..) {
            let thread = drain::spawn(pages, stream, Arc::clone(&self.setting))
                .context("a thread that empties a buffer cannot be started")?;
            self.running.push(thread);
        }
        if !self.own_ready.is_empty() {
            let cpus = std::mem::take(&mut self.own_ready);
            let thread = own_drain::spawn(cpus, Arc::clone(own), Arc::clone(&self.setting))
                .context("a thread that empties a buffer cannot be started")?;
            self.own_running = Some(thread);
        }
        Ok(self.instance.start()?)
    }

    /// Lets no more events in.
    pub(crate) fn stop(&self) -> Result<()> {
        Ok(self.instance.stop()?)
    }

    /// Waits for the threads, which have been told to stop, and counts.
    pub(crate) fn finish(&mut self) -> Ended {
        let mut ended = Ended::default();
        for thread in self.running.drain(..) {
            let Ok(Drained { stream, locks, result }) = thread.join() else {
                ended.failures.push(anyhow::anyhow!("a thread of the recorder panicked"));
                continue;
            };
            ended.failures.extend(result.err());
            ended.taken += stream.taken;
            ended.lost.extend(stream.lost);
            ended.locks.extend(locks.locks);
        }
        for cpu in &self.manifest.cpus {
            match self.instance.stats(*cpu) {
                Ok(stats) => {
                    let count = KernelCount::parse(&stats);
                    ended.events += count.read;
                    ended.kernel.entry(*cpu).or_default().add(count);
                    ended.stats.push(format!("CPU: {cpu}\n{stats}"));
                }
                Err(error) => ended.failures.push(error.into()),
            }
        }
        // Before ours come to them, which are counted apart.
        ended.settle_losses();
        self.finish_own(&mut ended);
        ended
    }

    fn finish_own(&mut self, ended: &mut Ended) {
        let Some(thread) = self.own_running.take() else { return };
        let Ok((cpus, result)) = thread.join() else {
            ended.failures.push(anyhow::anyhow!("a thread of the recorder panicked"));
            return;
        };
        ended.failures.extend(result.err());
        ended.stats.push(format!("Buffer: {OWN_BUFFER}\n"));
        for own in cpus {
            ended.stats.push(own.stats());
            let count = KernelCount { read: own.records, ..KernelCount::default() };
            ended.kernel.entry(own.stream.cpu).or_default().add(count);
            ended.events += own.records;
            ended.taken += own.stream.taken;
            ended.lost.extend(own.stream.lost);
        }
    }

    /// Writes what a flight recorder holds into a spool of its own.
    pub(crate) fn dump(&self, spool: &Spool) -> Result<()> {
        spool.write("head", &self.head)?;
        for ((buffer, cpu), memory) in &self.memories {
            let chunks = memory.lock().unwrap_or_else(PoisonError::into_inner).bytes();
            write_chunks(spool.folder(), &cpu_file(buffer, *cpu), &chunks)?;
        }
        spool.write_manifest(&Manifest { in_memory: false, ..self.manifest.clone() })
    }
}

impl Drop for TracefsEngine {
    fn drop(&mut self) {
        // After a failure events may still come in, and the threads wait for the end of them.
        let _ = self.instance.stop();
        // An instance cannot be removed while its files are open.
        self.setting.control.close();
        for thread in self.running.drain(..) {
            let _ = thread.join();
        }
        if let Some(thread) = self.own_running.take() {
            let _ = thread.join();
        }
        self.ready.clear();
    }
}

/// Switches all events of the plan on; returns their names by system.
fn enable(instance: &Instance, plan: &Plan, probes: &Probes, me: u32) -> Result<Systems> {
    let mut systems = Systems::new();
    for planned in &plan.events {
        instance.enable(planned)?;
        let event = planned.event;
        systems.entry(event.system.to_owned()).or_default().push(event.name.to_owned());
    }
    for event in probes.dynamic() {
        instance.enable_dynamic(&event.group, &event.name)?;
        systems.entry(event.group.clone()).or_default().push(event.name.clone());
    }
    match &plan.target {
        // The command is our child: following ourselves is following it.
        Target::Command => instance.follow(&Target::Pids(vec![me]))?,
        target => instance.follow(target)?,
    }
    Ok(systems)
}

/// Our programs write a record for a wait, or for a mutex call: less than the kernel's events.
pub(crate) fn own_kib(plan: &Plan) -> u64 {
    (plan.buffer_kib / 2).max(256)
}

/// The numbers of the two events that bound a lock wait, when both are recorded.
pub(crate) fn wait_events(plan: &Plan) -> Option<WaitEvents> {
    let id = |name: &str| plan.events.iter().find(|e| e.event.name == name).map(|e| e.id);
    Some(WaitEvents { begin: id("contention_begin")?, end: id("contention_end")? })
}

/// The watch that a flight recorder keeps, if it is to look for long waits.
pub(crate) fn watch(plan: &Plan) -> Option<Watch> {
    Some(Watch::new(wait_events(plan)?, plan.flight?.wait?))
}
