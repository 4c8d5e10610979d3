//! What works here, found out by trying it.

use crate::bpf;
use crate::describe;
use crate::dynamic;
use crate::leftovers::{self, Leftover};
use crate::offer::{CallProbe, EventName, Offer, REST, SCHEDULE, SYSTEM_CALLS};
use crate::page;
use crate::perf_event::{self, PerfEvent, Tasks};
use crate::plan::{self, missing as missing_event};
use crate::refusal::Refusal;
use crate::tracefs::{self, Tracefs};
use std::fs;
use std::path::Path;

/// Finds out which engines and probes work, and writes it into the offer.
///
/// An instance and a perf event are made and removed; nothing is recorded.
pub(crate) fn engines(mounted: &Tracefs, offer: &mut Offer) {
    offer.instances = instance(mounted).err().map(|error| error_text(&error.into()));
    offer.perf = perf(offer).err().map(|error| error_text(&error));
}

/// Finds out what BPF and dynamic events can do, and writes it into the offer.
pub(crate) fn probes(mounted: &Tracefs, offer: &mut Offer) {
    let number = |event: EventName| mounted.event_id(event.system, event.name).ok().flatten();
    let [enter, exit] = SYSTEM_CALLS.map(number);
    offer.system_calls = enter.zip(exit).map(|(enter, exit)| [enter, exit]);
    let bpf = bpf::check(Path::new(bpf::KERNEL_BTF), offer.system_calls);
    offer.bpf = bpf.owner.err().map(|error| error.to_string());
    offer.futexes = bpf.futexes.err().map(|error| error.to_string());
    offer.transfers = bpf.transfers.err().map(|error| error.to_string());
    let readme = mounted.read("README", "know which dynamic events there are");
    offer.call_probes = dynamic::offered(&readme.unwrap_or_default());
    let fentry = bpf.mutex_calls.err().map(|error| error.to_string());
    offer.call_probes.push((CallProbe::Fentry, fentry));
}

/// Finds out how the calls of contended mutexes can be seen, and writes it into the offer.
pub(crate) fn contended_calls(offer: &mut Offer) {
    let why = |(by, works): (CallProbe, Result<(), bpf::BpfError>)| {
        (by, works.err().map(|error| why_no_calls(by, &error)))
    };
    let tried = bpf::check_contended(Path::new(bpf::KERNEL_BTF));
    offer.contended_calls = tried.into_iter().map(why).collect();
}

/// Why the calls of contended mutexes cannot be seen this way, without a way out: that is another
/// way.
fn why_no_calls(by: CallProbe, error: &bpf::BpfError) -> String {
    match (by, error.errno()) {
        (CallProbe::Fprobe, Some(libc::EOPNOTSUPP)) => {
            "this kernel is built without CONFIG_FPROBE".to_owned()
        }
        (CallProbe::Kprobe, Some(libc::ENOENT)) => {
            "this kernel is built without CONFIG_KPROBE_EVENTS".to_owned()
        }
        _ => {
            let text = error.to_string();
            text.split_once(". ").map_or(text.as_str(), |(says, _)| says).to_owned()
        }
    }
}

fn instance(mounted: &Tracefs) -> Result<(), Refusal> {
    let pid = std::process::id();
    let start = tracefs::start_ticks(pid).unwrap_or(0);
    let dir = mounted.root().join("instances").join(tracefs::own_name(pid, start));
    if page::of_memory() != page::PAGE {
        let error = std::io::Error::from(std::io::ErrorKind::Unsupported);
        let purpose = "have buffers in pages of 4096 bytes, the only ones that resched reads; \
                       this kernel's are larger: use `--via perf`";
        return Err(Refusal::new(&dir, "created", purpose, error));
    }
    fs::create_dir(&dir)
        .and_then(|()| fs::remove_dir(&dir))
        .map_err(|e| Refusal::new(&dir, "created", "have buffers of one's own", e))
}

fn perf(offer: &Offer) -> anyhow::Result<()> {
    let Some(id) = offer.events.values().next() else { return Ok(()) };
    let attr = perf_event::attribute(*id, Tasks::Untold);
    let first = describe::online_cpus()?.first().copied().unwrap_or(0);
    PerfEvent::open(attr, first).map(|_| ())
}

/// The error in one line, its way out behind the last semicolon.
fn error_text(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Refusal>() {
        Some(r) => format!(
            "{}: cannot be {}, to {} ({}); {}",
            r.path.display(),
            r.done,
            r.purpose,
            r.source,
            r.way_out()
        ),
        None => {
            // Causes are printed behind what they caused, and the way out stands in that.
            let text = format!("{error:#}");
            match text
                .rsplit_once("; ")
                .and_then(|(says, rest)| Some((says, rest.rsplit_once(": ")?)))
            {
                Some((says, (way_out, cause))) => format!("{says} ({cause}); {way_out}"),
                None => text,
            }
        }
    }
}

/// One thing that can be recorded, or one source of what comes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: &'static str,
    /// Whether nothing is missing.
    state: State,
    /// What was found.
    pub says: String,
    /// The command, or the setting, that changes it.
    pub way_out: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Works,
    Broken,
    Done,
}

impl Finding {
    /// Whether it can be had.
    #[must_use]
    pub fn works(&self) -> bool {
        self.state != State::Broken
    }

    /// Whether it was put in order just now.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn ended(leftover: Leftover) -> Self {
        let Leftover { says, way_out } = leftover;
        let state = if way_out.is_none() { State::Done } else { State::Broken };
        Self { what: "leftover", state, says, way_out }
    }

    fn of(what: &'static str, works: impl Into<String>, broken: Option<&String>) -> Self {
        match broken {
            None => Self { what, state: State::Works, says: works.into(), way_out: None },
            Some(why) => {
                // The way out stands behind the last semicolon, or behind the first sentence.
                let parts = why.rsplit_once("; ").or_else(|| why.split_once(". "));
                let (says, way_out) = parts.unwrap_or((why, ""));
                let way_out = (!way_out.is_empty()).then(|| way_out.to_owned());
                Self { what, state: State::Broken, says: says.to_owned(), way_out }
            }
        }
    }
}

/// Tries everything that a recording may use, and records nothing; ends what killed recorders
/// left switched on.
#[must_use]
pub fn check() -> Vec<Finding> {
    let mounts = tracefs::read(Path::new("/proc/self/mounts"), "find tracefs");
    let mounted = mounts.map_err(anyhow::Error::from).and_then(|text| Tracefs::find(&text));
    let mounted = match mounted {
        Ok(mounted) => mounted,
        Err(error) => return vec![Finding::of("tracefs", "", Some(&error_text(&error)))],
    };
    let mut offer = Offer::default();
    let left = leftovers::end(&mounted, tracefs::is_alive);
    let mut findings: Vec<Finding> = left.into_iter().map(Finding::ended).collect();
    match crate::offer::events(&mounted) {
        Ok(events) => offer.events = events,
        Err(error) => {
            findings.push(Finding::of("events", "", Some(&error_text(&error.into()))));
        }
    }
    engines(&mounted, &mut offer);
    probes(&mounted, &mut offer);
    contended_calls(&mut offer);
    findings.push(Finding::of(
        "tracefs",
        format!("{}: an instance can be made", mounted.root().display()),
        offer.instances.as_ref(),
    ));
    findings.push(Finding::of("perf", "perf_event_open, on every CPU", offer.perf.as_ref()));
    if !offer.events.is_empty() {
        findings.extend(events(&offer));
    }
    let owners = "the owner of a mutex or rwsem is read with BPF (--detail owner)";
    findings.push(Finding::of("lock owners", owners, offer.bpf.as_ref()));
    let transfers = "what goes through pipes and Unix sockets is read with BPF (--detail owner)";
    findings.push(Finding::of("transfers", transfers, offer.transfers.as_ref()));
    let futexes = "futex calls and owners of user-space mutexes are read with BPF (--detail owner)";
    findings.push(Finding::of("futexes", futexes, offer.futexes.as_ref()));
    let works = |(_, broken): &&(CallProbe, Option<String>)| broken.is_none();
    let sections = "every call of contended mutexes (--detail sections)";
    findings.push(match offer.contended_calls.iter().find(works) {
        Some((by, _)) => Finding::of("sections", format!("{}: {sections}", by.name()), None),
        None => Finding::of("sections", "", Some(&plan::no_way(&offer.contended_calls))),
    });
    for (probe, broken) in &offer.call_probes {
        let works = format!("{}: every mutex call (--detail full)", probe.name());
        let broken = broken.as_ref().map(|why| format!("{}: {why}", probe.name()));
        findings.push(Finding::of("mutex calls", works, broken.as_ref()));
    }
    findings.push(sidecar());
    findings
}

/// Whether these findings allow any recording at all.
#[must_use]
pub fn can_record(findings: &[Finding]) -> bool {
    let is_engine = |f: &&Finding| f.what == "tracefs" || f.what == "perf";
    let has_events = findings.iter().any(|f| f.what == "schedule" && f.works());
    has_events && findings.iter().filter(is_engine).any(Finding::works)
}

/// The kernel's own events: those that a schedule needs, and the others one by one.
fn events(offer: &Offer) -> Vec<Finding> {
    let lacks = |event: &&EventName| !offer.events.contains_key(event);
    let schedule: Vec<String> = SCHEDULE.iter().filter(lacks).map(EventName::to_string).collect();
    let missing = (!schedule.is_empty())
        .then(|| format!("no {}; a kernel with CONFIG_EVENT_TRACING has it", schedule.join(", ")));
    let mut findings =
        vec![Finding::of("schedule", "sched:sched_switch, sched:sched_waking", missing.as_ref())];
    for event in REST.iter().filter(lacks) {
        findings.push(Finding::of(
            "event",
            "",
            Some(&missing_event(*event).replacen(": ", "; ", 1)),
        ));
    }
    findings
}

/// What of the machine cannot be read; what a machine does not have is nothing to read.
fn sidecar() -> Finding {
    let host = crate::host::read_machine(&crate::host::Roots::default());
    let is_refused = |u: &&trace_formats::Unreadable| !u.error.contains("os error 2)");
    let mut refused: Vec<String> = Vec::new();
    for unread in host.unreadable.iter().filter(is_refused) {
        // The numbered error of the system adds nothing to its name.
        let error = unread.error.split(" (os error").next().unwrap_or_default();
        refused.push(format!("{} ({error})", unread.path));
    }
    let missing = (!refused.is_empty()).then(|| {
        format!(
            "cannot be read: {}; the replay assumes what is usual instead, and says so",
            refused.join(", ")
        )
    });
    Finding::of("machine", "everything that the replay asks for can be read", missing.as_ref())
}
