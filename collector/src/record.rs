//! Carries a plan out: from the first reading of the machine to the finished file.

use crate::bpf::Attached;
use crate::control::{Control, Orders, Stop};
use crate::describe;
use crate::drain::LONGEST_FLIGHT_PAUSE;
use crate::dynamic::DynamicEvents;
use crate::engine::{Around, Ended, Engine};
use crate::host::{self, Roots, Snapshot};
use crate::instance::KernelCount;
use crate::leftovers;
use crate::limits::Limits;
use crate::lock_users::{self, LockUsers};
use crate::offer::{CallProbe, Offer};
use crate::own_events::OwnEvents;
use crate::plan::{Plan, plan};
use crate::probes::Probes;
use crate::request::{Detail, Futex, Request, Target, Via};
use crate::spool::{self, Spool, with_suffix};
use crate::stream::Lost;
use crate::trace_dat::Tail;
use crate::tracefs::{self, Tracefs};
use crate::workload;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trace_formats::Host;

/// What a recording has to say while it runs.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Something the user must know.
    Remark(String),
    /// Recording has begun.
    Started,
    /// A stretch was written.
    Dumped {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A finished recording.
#[derive(Debug)]
pub struct Summary {
    /// The files, the sidecars aside: one, or each stretch of a flight recorder.
    pub files: Vec<PathBuf>,
    /// Bytes in all files.
    pub size: u64,
    /// How it was recorded.
    pub via: Via,
    /// How every mutex call was seen.
    pub call_probe: Option<CallProbe>,
    /// From the first to the last event let in.
    pub elapsed: Duration,
    /// Why it ended.
    pub stop: Stop,
    /// Records that were taken from the kernel's buffers.
    pub events: u64,
    /// Bytes that left the kernel's buffers.
    pub taken: u64,
    /// Losses that the buffers say, in the order of CPU and time.
    pub lost: Vec<Lost>,
    /// What the kernel counted, by CPU.
    pub kernel: BTreeMap<u32, KernelCount>,
    /// Times that a program of ours did not run, because it was already running on that CPU.
    pub skipped: u64,
    /// CPU time of the recorder itself while it recorded.
    pub own_cpu_time: Duration,
}

/// Reads what this kernel offers for `request`.
fn look(tracefs: &Tracefs, request: &Request) -> Result<Offer> {
    let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let mut offer = Offer {
        events: crate::offer::events(tracefs)?,
        timer_functions: crate::offer::timer_functions(&kallsyms),
        memory_kib: std::fs::read_to_string("/proc/meminfo")
            .map_or(0, |text| crate::offer::memory_kib(&text)),
        n_cpus: describe::online_cpus()?.len() as u64,
        ..Offer::default()
    };
    crate::check::engines(tracefs, &mut offer);
    if request.detail > Detail::Contention || request.futex == Futex::Yes {
        crate::check::probes(tracefs, &mut offer);
    }
    if request.detail == Detail::Sections {
        crate::check::contended_calls(&mut offer);
    }
    Ok(offer)
}

/// Records.
///
/// # Errors
///
/// When something that the recording needs is refused; the message names the file, the purpose
/// and the way out. What was recorded until a failure is kept, and the error says where.
pub fn record(
    request: &Request,
    control: &Arc<Control>,
    mut notice: impl FnMut(Notice),
) -> Result<Summary> {
    let limits = Limits::own();
    let mounts = tracefs::read(Path::new("/proc/self/mounts"), "find tracefs")?;
    let tracefs = Tracefs::find(&mounts)?;
    for ended in leftovers::end(&tracefs, tracefs::is_alive) {
        notice(Notice::Remark(ended.to_string()));
    }
    let plan = plan(request, &look(&tracefs, request)?)?;
    for remark in &plan.remarks {
        notice(Notice::Remark(remark.clone()));
    }
    let pid = std::process::id();
    let me = (pid, tracefs::start_ticks(pid).unwrap_or(0));
    let spool = Spool::create(&request.output)?;
    let session =
        Session { request, plan: &plan, tracefs: &tracefs, spool: &spool, me, control, limits };
    let started = session.start(&mut notice).inspect_err(|_| {
        // Nothing was recorded, so nothing is left behind.
        let _ = spool.remove();
    })?;
    session.run(started, &mut notice).with_context(|| {
        format!(
            "what was recorded is in {}: finish it with `resched record --recover {}`",
            spool::folder(&request.output).display(),
            request.output.display()
        )
    })
}

struct Session<'r> {
    request: &'r Request,
    plan: &'r Plan,
    tracefs: &'r Tracefs,
    spool: &'r Spool,
    me: (u32, u64),
    control: &'r Arc<Control>,
    /// Those that the command gets.
    limits: Option<Limits>,
}

/// A recording that runs.
struct Started {
    // Dropped from top to bottom: an event goes away only when nobody records it.
    attached: Vec<Attached>,
    engine: Engine,
    own: Arc<OwnEvents>,
    lock_users: Result<LockUsers>,
    machine: Snapshot,
    _dynamic: Option<DynamicEvents>,
    call_probe: Option<CallProbe>,
    begin: Instant,
    own_cpu_time: Duration,
}

impl Session<'_> {
    fn start(&self, notice: &mut impl FnMut(Notice)) -> Result<Started> {
        let Self { plan, tracefs, spool, me, control, .. } = *self;
        let roots = Roots::default();
        let machine = Snapshot::take(&roots);
        // What a recovered recording will have, should this process be killed.
        let mut unfinished = at_start(&machine);
        unfinished.interrupted = true;
        unfinished.some_tasks_only = plan.target != Target::System;
        spool.write("host.json", &sidecar_text(&unfinished)?)?;
        let mut probes = Probes::prepare(plan, tracefs, me)?;
        for remark in std::mem::take(&mut probes.remarks) {
            notice(Notice::Remark(remark));
        }
        let engine = Engine::prepare(&Around { plan, tracefs, spool, me, control }, &probes)?;
        let (begin, own_cpu_time) = (Instant::now(), own_cpu_time());
        let Probes { own, dynamic, call_probe, .. } = probes;
        // Declared behind the dynamic events, so dropped before them when something fails.
        let mut engine = engine;
        let own = Arc::new(own);
        let attached = own.attach()?;
        own.begin();
        engine.start(&own)?;
        let lock_users = self.look_at_lock_users();
        notice(Notice::Started);
        workload::start(&self.request.command, self.limits, control)?;
        Ok(Started {
            attached,
            engine,
            own,
            lock_users,
            machine,
            _dynamic: dynamic,
            call_probe,
            begin,
            own_cpu_time,
        })
    }

    /// The recording can do without, so a refusal only ends up in the sidecar.
    fn look_at_lock_users(&self) -> Result<LockUsers> {
        let begin = self.plan.events.iter().find(|e| e.event.name == "contention_begin");
        let begin = begin.context("this kernel has no contention_begin")?;
        LockUsers::start(begin.id, &describe::online_cpus()?, self.control)
    }

    fn run(&self, mut started: Started, notice: &mut impl FnMut(Notice)) -> Result<Summary> {
        let mut files = Vec::new();
        let mut last = None;
        let stop = self.wait(started.begin, |why| {
            if self.plan.flight.is_none() {
                notice(Notice::Remark(format!("{why} writes out nothing without `--flight`")));
                return Ok(0);
            }
            // A long wait behind one that has just been written is in that file already.
            let kept = self.plan.flight.map_or(Duration::ZERO, |flight| flight.last);
            if last.is_some_and(|last: Instant| last.elapsed() < kept) {
                return Ok(files.len());
            }
            // Other CPUs' buffers are emptied a moment later.
            std::thread::sleep(LONGEST_FLIGHT_PAUSE);
            match self.dump(&started, files.len()) {
                Ok((path, remark)) => {
                    notice(Notice::Dumped { path: path.clone(), why });
                    remark.into_iter().for_each(|remark| notice(Notice::Remark(remark)));
                    files.push(path);
                    last = Some(Instant::now());
                }
                // What is in memory may be written yet.
                Err(error) => {
                    notice(Notice::Remark(format!("a stretch is not written: {error:#}")));
                }
            }
            Ok(files.len())
        })?;
        started.own.end();
        started.engine.stop()?;
        started.attached.clear();
        self.control.close();
        let (dropped, skipped) = (started.own.dropped()?, started.own.skipped()?);
        let elapsed = started.begin.elapsed();
        let mut ended = started.engine.finish();
        let own_cpu_time = own_cpu_time().saturating_sub(started.own_cpu_time);
        if let Some(failure) = ended.failures.pop() {
            return Err(failure);
        }
        for (cpu, dropped) in (0..).zip(dropped).filter(|(_, dropped)| *dropped > 0) {
            ended.kernel.entry(cpu).or_default().dropped += dropped;
        }
        if self.plan.flight.is_some() && stop != Stop::Dumps {
            started.engine.dump(self.spool)?;
        }
        self.finish_sidecar(started.machine, started.lock_users, &ended, skipped)?;
        let size = self.close(std::mem::take(&mut ended.stats), &stop, &mut files)?;
        self.spool.clear().into_iter().for_each(|remark| notice(Notice::Remark(remark)));
        Ok(Summary {
            files,
            size,
            via: self.plan.via,
            call_probe: started.call_probe,
            elapsed,
            stop,
            events: ended.events,
            taken: ended.taken,
            lost: ended.lost,
            kernel: ended.kernel,
            skipped,
            own_cpu_time,
        })
    }

    /// Waits until the recording is to end, and carries out what is ordered meanwhile.
    fn wait(&self, begin: Instant, mut dump: impl FnMut(String) -> Result<usize>) -> Result<Stop> {
        let wanted = self.plan.flight.map_or(usize::MAX, |flight| flight.dumps as usize);
        loop {
            let left = self.request.duration.map(|all| all.saturating_sub(begin.elapsed()));
            if left == Some(Duration::ZERO) {
                self.control.stop(Stop::Duration);
            }
            let at_most = left.unwrap_or(Duration::from_secs(3600));
            let Orders { stop, dumps } = self.control.wait(at_most);
            for why in dumps {
                if dump(why)? >= wanted {
                    self.control.stop(Stop::Dumps);
                    break;
                }
            }
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Writes a stretch; returns its path, and what is to be said about it.
    fn dump(&self, started: &Started, number: usize) -> Result<(PathBuf, Option<String>)> {
        let path = numbered(&self.request.output, number + 1);
        let spool = self.spool.create_beside(&path)?;
        let written = || {
            started.engine.dump(&spool)?;
            // The machine as it was at the start: reading it again would be seen in the recording.
            let mut host = at_start(&started.machine);
            host.some_tasks_only = self.plan.target != Target::System;
            spool.write("host.json", &sidecar_text(&host)?)?;
            let names = describe::names_text(&describe::task_names());
            spool.finish(&Tail { task_names: names, stats: Vec::new() })
        };
        match written() {
            Ok(_) => Ok((path, spool.clear())),
            Err(error) => {
                let _ = spool.remove();
                Err(error)
            }
        }
    }

    /// Compares the machine with what it was at the start, and names the locks.
    fn finish_sidecar(
        &self,
        start: Snapshot,
        users: Result<LockUsers>,
        ended: &Ended,
        skipped: u64,
    ) -> Result<()> {
        let roots = Roots::default();
        let mut host = start.finish(Snapshot::take(&roots));
        host.clock = Some("mono".to_owned());
        host.some_tasks_only = self.plan.target != Target::System;
        let locks: Vec<u64> = ended.locks.iter().copied().collect();
        host::name_locks(&roots, &locks, &mut host);
        if skipped > 0 {
            let why = format!("{skipped} were not seen: a program does not run twice on a CPU");
            host.add_unreadable("mutex calls or owners", &why);
        }
        match users {
            Ok(users) => {
                let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
                let named = lock_users::names(&users.finish(), &kallsyms);
                let key = |lock: u64| format!("{lock:#x}");
                host.lock_users = named.into_iter().map(|(lock, by)| (key(lock), by)).collect();
            }
            Err(error) => host.add_unreadable("call chains of lock waits", &format!("{error:#}")),
        }
        Ok(self.spool.write("host.json", &sidecar_text(&host)?)?)
    }

    /// Gives the file its name, unless a flight recorder has written all that it should.
    fn close(&self, stats: Vec<String>, stop: &Stop, files: &mut Vec<PathBuf>) -> Result<u64> {
        let mut size = 0;
        if self.plan.flight.is_none() || *stop != Stop::Dumps {
            let task_names = describe::names_text(&describe::task_names());
            let tail = Tail { task_names, stats };
            size += self.spool.finish(&tail)?;
            files.push(self.request.output.clone());
        }
        Ok(size)
    }
}

/// The sidecar as far as the start tells it.
fn at_start(machine: &Snapshot) -> Host {
    let mut host = machine.clone().finish(machine.clone());
    host.clock = Some("mono".to_owned());
    host
}

fn sidecar_text(host: &Host) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(host).context("the sidecar")?;
    text.push(b'\n');
    Ok(text)
}

/// `run.dat` becomes `run.1.dat`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    match path.extension() {
        Some(extension) => path.with_extension(format!("{number}.{}", extension.to_string_lossy())),
        None => with_suffix(path, &format!(".{number}")),
    }
}

/// User and system time of this process, the command aside.
#[expect(unsafe_code, reason = "the C library has no safe form of it")]
fn own_cpu_time() -> Duration {
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let span = |time: libc::timeval| {
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + Duration::from_micros(micros)
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}
