//! From what was asked for and what the kernel offers to what will be done; decides, and does nothing.

use crate::offer::{CallProbe, EventName, FUTEX, HRTIMER_START, Offer, REST, SCHEDULE};
use crate::own_events::ProgramSet;
use crate::request::{Compression, Detail, Flight, Futex, Request, Target, Via};
use std::fmt::Write as _;

/// Most that a CPU's buffer takes when nobody says otherwise, KiB.
///
/// Real-time tasks may keep the recorder away for a second or two, in which a busy CPU writes
/// 30 to 60 MB (docs/recording.md).
const MOST_BUFFER_KIB: u64 = 128 * 1024;

/// And least.
const LEAST_BUFFER_KIB: u64 = 1024;

/// All buffers together take this part of the machine's memory, within these bounds.
const PART_OF_MEMORY: u64 = 64;

/// The buffer of each CPU for a machine of so much memory.
fn usual_buffer_kib(memory_kib: u64, n_cpus: u64) -> u64 {
    (memory_kib / PART_OF_MEMORY / n_cpus.max(1)).clamp(LEAST_BUFFER_KIB, MOST_BUFFER_KIB)
}

/// A recording, decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Through which buffers.
    pub via: Via,
    /// How much of locking.
    pub detail: Detail,
    /// The kernel's own events.
    pub events: Vec<PlannedEvent>,
    /// Sets of our own programs in the kernel.
    pub(crate) program_sets: Vec<ProgramSet>,
    /// Ways to see every mutex call, in the order in which they are tried; empty below `full`.
    pub call_probes: Vec<CallProbe>,
    /// Whose events.
    pub target: Target,
    /// Kernel buffer of each CPU, KiB.
    pub buffer_kib: u64,
    /// Packing of the file.
    pub compression: Compression,
    /// Keeps only the last stretch.
    pub flight: Option<Flight>,
    /// `SCHED_FIFO` priority of the recorder's threads.
    pub realtime: Option<i32>,
    /// What the recording will not have, and what that means.
    pub remarks: Vec<String>,
}

/// One event that will be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    /// Which.
    pub event: EventName,
    /// Its number in this kernel.
    pub id: u16,
    /// Which of its records, as a filter of the kernel's.
    pub filter: Option<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum NoPlan {
    /// An event without which a recording says nothing.
    #[error(
        "this kernel has no event {event}, without which there is no schedule to record; \
         it needs CONFIG_TRACEPOINTS and CONFIG_EVENT_TRACING"
    )]
    NoEvent {
        /// Which.
        event: EventName,
    },
    /// Neither engine works.
    #[error(
        "neither engine works here. tracefs: {tracefs}. perf: {perf}. \
         `resched record --check` says more"
    )]
    NoEngine {
        /// Why not tracefs.
        tracefs: String,
        /// Why not perf.
        perf: String,
    },
    /// The engine that was asked for does not work.
    #[error("`--via {}` does not work here: {why}; leave it out to record through the other", via.name())]
    NotThisEngine {
        /// Which.
        via: Via,
        /// Why.
        why: String,
    },
    /// BPF is needed and does not work.
    #[error("`--detail {}` needs {what}, which cannot be had here: {why}", detail.name())]
    NoBpf {
        /// For which detail.
        detail: Detail,
        /// What is read.
        what: &'static str,
        /// Why it does not work.
        why: String,
    },
    /// Events of a command alone cannot be told from others by this engine.
    #[error(
        "`--only command` follows the children of the command, which perf's buffers cannot; \
         use `--via tracefs`"
    )]
    CommandThroughPerf,
    /// There is no command.
    #[error("`--only command` needs a command: add `-- COMMAND`")]
    NoCommand,
    /// A buffer no kernel would give.
    #[error("a buffer of {kib} KiB for each CPU: give 64 KiB to 1 TiB")]
    Buffer {
        /// As asked.
        kib: u64,
    },
}

/// Decides.
///
/// # Errors
///
/// When what was asked for cannot be had here; the message names the way out.
pub fn plan(request: &Request, offer: &Offer) -> Result<Plan, NoPlan> {
    let via = engine(request, offer)?;
    let mut remarks = Vec::new();
    for event in &SCHEDULE {
        if !offer.events.contains_key(event) {
            return Err(NoPlan::NoEvent { event: *event });
        }
    }
    if request.target == Target::Command {
        match (via, request.command.is_empty()) {
            (_, true) => return Err(NoPlan::NoCommand),
            (Via::Perf, false) => return Err(NoPlan::CommandThroughPerf),
            (Via::Tracefs, false) => {}
        }
    }
    let usual = usual_buffer_kib(offer.memory_kib, offer.n_cpus);
    let buffer_kib = request.buffer_kib.unwrap_or(usual);
    if !(64..=1 << 30).contains(&buffer_kib) {
        return Err(NoPlan::Buffer { kib: buffer_kib });
    }
    let call_probes = call_probes(request.detail, offer)?;
    let mut program_sets = program_sets(request.detail, offer, &mut remarks)?;
    let reads_futexes = request.detail > Detail::Contention || request.futex == Futex::Yes;
    let futexes = reads_futexes.then(|| futexes(offer));
    let futex_events: &[EventName] = match futexes {
        Some(Ok(set)) => {
            program_sets.push(set);
            &[]
        }
        // The kernel's own events tell the calls, though not who has a lock.
        Some(Err(why)) => {
            remarks.push(format!("who has user-space locks is not seen here: {why}"));
            if request.futex == Futex::Yes { &FUTEX } else { &[] }
        }
        None => &[],
    };
    let events = events(request, (via, futex_events), offer, &mut remarks);
    if request.target != Target::System {
        remarks.push(
            "only some tasks are recorded: the schedule has gaps, so this recording can be looked \
             at, not replayed"
                .to_owned(),
        );
    }
    Ok(Plan {
        via,
        detail: request.detail,
        events,
        program_sets,
        call_probes,
        target: request.target.clone(),
        buffer_kib,
        compression: request.compression,
        flight: request.flight,
        realtime: request.realtime,
        remarks,
    })
}

/// The engine asked for, else tracefs, which costs the recorded machine least
/// (docs/recording.md), else perf.
fn engine(request: &Request, offer: &Offer) -> Result<Via, NoPlan> {
    let broken = |via| match via {
        Via::Tracefs => offer.instances.as_ref(),
        Via::Perf => offer.perf.as_ref(),
    };
    if let Some(via) = request.via {
        return match broken(via) {
            None => Ok(via),
            Some(why) => Err(NoPlan::NotThisEngine { via, why: why.clone() }),
        };
    }
    match (broken(Via::Tracefs), broken(Via::Perf)) {
        (None, _) => Ok(Via::Tracefs),
        (Some(_), None) => Ok(Via::Perf),
        (Some(tracefs), Some(perf)) => {
            Err(NoPlan::NoEngine { tracefs: tracefs.clone(), perf: perf.clone() })
        }
    }
}

/// The owners of locks, and what goes through pipes and sockets, are read from detail `owner` on.
///
/// Beside every mutex call they are worth having, for rwsems, but not indispensable.
///
/// At `sections` the calls of mutexes that were waited for are seen too.
fn program_sets(
    detail: Detail,
    offer: &Offer,
    remarks: &mut Vec<String>,
) -> Result<Vec<ProgramSet>, NoPlan> {
    match (detail, &offer.bpf) {
        (Detail::Contention, _) => Ok(Vec::new()),
        (_, None) => {
            let mut sets = vec![ProgramSet::Owners];
            if detail == Detail::Sections {
                sets.push(ProgramSet::ContendedCalls { by: contended_calls(offer)? });
            }
            match at_calls(offer.transfers.as_ref(), offer) {
                Ok(at) => sets.push(ProgramSet::Transfers { at }),
                Err(why) => remarks
                    .push(format!("what goes through pipes and sockets is not seen here: {why}")),
            }
            Ok(sets)
        }
        (Detail::Owner | Detail::Sections, Some(why)) => {
            Err(NoPlan::NoBpf { detail, what: "the owners of locks", why: why.clone() })
        }
        (Detail::Full, Some(why)) => {
            remarks.push(format!("owners of rwsems are inferred: BPF does not work here: {why}"));
            Ok(Vec::new())
        }
    }
}

/// Where programs at system calls run, if they work.
fn at_calls<'o>(broken: Option<&'o String>, offer: &'o Offer) -> Result<[u16; 2], &'o str> {
    match (broken, offer.system_calls) {
        (None, Some(at)) => Ok(at),
        (why, _) => Err(why.map_or("this kernel has no raw_syscalls:sys_enter", String::as_str)),
    }
}

/// The programs that see futex calls, and the owners of mutexes.
fn futexes(offer: &Offer) -> Result<ProgramSet, &str> {
    at_calls(offer.bpf.as_ref().or(offer.futexes.as_ref()), offer)
        .map(|at| ProgramSet::Futexes { at })
}

fn call_probes(detail: Detail, offer: &Offer) -> Result<Vec<CallProbe>, NoPlan> {
    if detail < Detail::Full {
        return Ok(Vec::new());
    }
    let works = |(probe, broken): &(CallProbe, Option<String>)| broken.is_none().then_some(*probe);
    let found: Vec<CallProbe> = offer.call_probes.iter().filter_map(works).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let why = no_way(&offer.call_probes);
    Err(NoPlan::NoBpf { detail, what: "every mutex call", why })
}

/// How the calls of contended mutexes are seen.
fn contended_calls(offer: &Offer) -> Result<CallProbe, NoPlan> {
    let works = offer.contended_calls.iter().find(|(_, broken)| broken.is_none());
    works.map(|(by, _)| *by).ok_or_else(|| NoPlan::NoBpf {
        detail: Detail::Sections,
        what: "every call of contended mutexes",
        why: no_way(&offer.contended_calls),
    })
}

/// Why none of these ways works, and what does.
pub(crate) fn no_way(tried: &[(CallProbe, Option<String>)]) -> String {
    let mut why = String::new();
    for (probe, broken) in tried {
        let broken = broken.as_deref().unwrap_or("untried");
        let _ = write!(why, "{}{}: {broken}", if why.is_empty() { "" } else { "; " }, probe.name());
    }
    why + "; `--detail owner` needs none of them"
}

fn events(
    request: &Request,
    (via, futex): (Via, &[EventName]),
    offer: &Offer,
    remarks: &mut Vec<String>,
) -> Vec<PlannedEvent> {
    let mut planned = Vec::new();
    for event in SCHEDULE.iter().chain(&REST).chain(futex) {
        match offer.events.get(event) {
            Some(id) => {
                let filter = filter(*event, via, request, offer);
                planned.push(PlannedEvent { event: *event, id: *id, filter });
            }
            None => remarks.push(missing(*event)),
        }
    }
    planned
}

/// What a recording without this event cannot say.
pub(crate) fn missing(event: EventName) -> String {
    let loses = match event.name {
        "contention_begin" | "contention_end" => "lock waits are not seen (Linux 5.19 has it)",
        "contended_release" => {
            "the releaser of a lock is inferred or read with `--detail owner` (Linux 7.3 has it)"
        }
        "hrtimer_start" => "whether a sleep is periodic is guessed from its regularity",
        "sys_enter_futex" | "sys_exit_futex" => "futex calls are not seen (CONFIG_FTRACE_SYSCALLS)",
        _ => "answers that need it say so",
    };
    format!("this kernel has no {event}: {loses}")
}

fn filter(event: EventName, via: Via, request: &Request, offer: &Offer) -> Option<String> {
    let mut all = Vec::new();
    if event == HRTIMER_START && !offer.timer_functions.is_empty() {
        let ors: Vec<String> =
            offer.timer_functions.iter().map(|at| format!("function == {at:#x}")).collect();
        all.push(ors.join(" || "));
    }
    // tracefs has a list of its own for that, which follows forks.
    if let (Via::Perf, Target::Pids(pids)) = (via, &request.target) {
        let fields: &[&str] = match event.name {
            "sched_switch" => &["prev_pid", "next_pid"],
            "sched_waking" | "sched_wakeup" | "sched_wakeup_new" => &["common_pid", "pid"],
            "sched_process_fork" => &["common_pid", "child_pid"],
            "sched_migrate_task" | "sched_pi_setprio" => &["common_pid", "pid"],
            _ => &["common_pid"],
        };
        let ors: Vec<String> = pids
            .iter()
            .flat_map(|pid| fields.iter().map(move |field| format!("{field} == {pid}")))
            .collect();
        all.push(ors.join(" || "));
    }
    let and: Vec<String> = all.iter().map(|part| format!("({part})")).collect();
    (!and.is_empty()).then(|| and.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Compression;
    use std::path::PathBuf;
    use std::time::Duration;

    fn request() -> Request {
        Request {
            via: None,
            detail: Detail::Contention,
            target: Target::System,
            futex: Futex::No,
            duration: None,
            buffer_kib: None,
            compression: Compression::Zstd(1),
            flight: None,
            realtime: None,
            output: PathBuf::from("run.dat"),
            command: Vec::new(),
        }
    }

    /// A kernel that has everything.
    fn offer() -> Offer {
        let events = SCHEDULE.iter().chain(&REST).chain(&FUTEX);
        Offer {
            events: events.zip(100..).map(|(event, id)| (*event, id)).collect(),
            memory_kib: 24 << 20,
            n_cpus: 8,
            call_probes: vec![(CallProbe::Fprobe, None), (CallProbe::Fentry, None)],
            contended_calls: vec![(CallProbe::Fprobe, None)],
            timer_functions: vec![0x10, 0x20],
            system_calls: Some([1, 2]),
            ..Offer::default()
        }
    }

    fn refusal(request: &Request, offer: &Offer) -> String {
        plan(request, offer).expect_err("no plan").to_string()
    }

    #[test]
    fn tracefs_is_taken_unless_it_does_not_work_or_the_other_is_asked_for() {
        let via = |request: &Request, offer: &Offer| plan(request, offer).expect("a plan").via;
        assert_eq!(via(&request(), &offer()), Via::Tracefs);
        let broken = Offer { instances: Some("EPERM".to_owned()), ..offer() };
        assert_eq!(via(&request(), &broken), Via::Perf);
        assert_eq!(via(&Request { via: Some(Via::Perf), ..request() }, &offer()), Via::Perf);
        let asked = Request { via: Some(Via::Tracefs), ..request() };
        assert_eq!(
            refusal(&asked, &broken),
            "`--via tracefs` does not work here: EPERM; leave it out to record through the other"
        );
        let neither = Offer { perf: Some("ENOSYS".to_owned()), ..broken };
        assert_eq!(
            refusal(&request(), &neither),
            "neither engine works here. tracefs: EPERM. perf: ENOSYS. `resched record --check` \
             says more"
        );
    }

    #[test]
    fn missing_events_are_remarks_unless_there_is_no_schedule_without_them() {
        let mut offer = offer();
        let release = EventName { system: "lock", name: "contended_release" };
        offer.events.remove(&release);
        let planned = plan(&request(), &offer).expect("a plan");
        assert!(planned.events.iter().all(|planned| planned.event != release));
        assert_eq!(planned.remarks.len(), 1);
        assert!(planned.remarks[0].starts_with("this kernel has no lock:contended_release: "));
        offer.events.remove(&SCHEDULE[0]);
        assert!(refusal(&request(), &offer).starts_with("this kernel has no event sched:sched_sw"));
    }

    #[test]
    fn each_detail_takes_what_it_needs() {
        let of = |detail, offer: &Offer| plan(&Request { detail, ..request() }, offer);
        let sets = |detail| of(detail, &offer()).expect("a plan").program_sets;
        assert_eq!(sets(Detail::Contention), []);
        let transfers = ProgramSet::Transfers { at: [1, 2] };
        let futexes = ProgramSet::Futexes { at: [1, 2] };
        assert_eq!(sets(Detail::Owner), [ProgramSet::Owners, transfers, futexes]);
        let contended = ProgramSet::ContendedCalls { by: CallProbe::Fprobe };
        let sections = sets(Detail::Sections);
        assert_eq!(sections, [ProgramSet::Owners, contended, transfers, futexes]);
        let full = of(Detail::Full, &offer()).expect("a plan");
        assert_eq!(full.call_probes, [CallProbe::Fprobe, CallProbe::Fentry]);
        let no_bpf = Offer { bpf: Some("no BTF".to_owned()), ..offer() };
        let owner = of(Detail::Owner, &no_bpf).expect_err("no plan").to_string();
        assert_eq!(
            owner,
            "`--detail owner` needs the owners of locks, which cannot be had here: no BTF"
        );
        // Every mutex call can be seen without BPF; owners of rwsems are then inferred.
        let full = of(Detail::Full, &no_bpf).expect("a plan");
        assert_eq!((full.program_sets.len(), full.remarks.len()), (0, 2));
        let blind =
            Offer { call_probes: vec![(CallProbe::Kprobe, Some("no".to_owned()))], ..offer() };
        let full = of(Detail::Full, &blind).expect_err("no plan").to_string();
        assert!(full.ends_with("kprobe events: no; `--detail owner` needs none of them"), "{full}");
    }

    #[test]
    fn sections_need_a_way_to_see_calls_and_say_what_was_tried() {
        let why = |text: &str| Some(text.to_owned());
        let contended_calls =
            vec![(CallProbe::Fprobe, why("no fprobe")), (CallProbe::Fentry, why("locked down"))];
        let request = Request { detail: Detail::Sections, ..request() };
        assert_eq!(
            refusal(&request, &Offer { contended_calls, ..offer() }),
            "`--detail sections` needs every call of contended mutexes, which cannot be had here: \
             fprobe events: no fprobe; BPF fentry and fexit: locked down; `--detail owner` needs \
             none of them"
        );
    }

    #[test]
    fn futex_calls_are_read_with_bpf_or_told_by_the_kernels_events() {
        let request = Request { futex: Futex::Yes, ..request() };
        let is_futex = |planned: &PlannedEvent| FUTEX.contains(&planned.event);
        let planned = plan(&request, &offer()).expect("a plan");
        assert_eq!(planned.program_sets, [ProgramSet::Futexes { at: [1, 2] }]);
        assert!(!planned.events.iter().any(is_futex));
        let no_bpf = Offer { bpf: Some("no BTF".to_owned()), ..offer() };
        let planned = plan(&request, &no_bpf).expect("a plan");
        assert_eq!(planned.program_sets, []);
        assert_eq!(planned.events.iter().filter(|p| is_futex(p)).count(), 2);
        assert_eq!(planned.remarks, ["who has user-space locks is not seen here: no BTF"]);
    }

    #[test]
    fn filters_leave_out_timers_of_nobody_and_other_tasks() {
        let filters = |via, target| {
            let request = Request { via: Some(via), target, ..request() };
            let planned = plan(&request, &offer()).expect("a plan").events;
            let text = |name| {
                let found = planned.iter().find(|planned| planned.event.name == name);
                found.and_then(|planned| planned.filter.clone()).unwrap_or_default()
            };
            [text("sched_switch"), text("hrtimer_start")]
        };
        let timers = "(function == 0x10 || function == 0x20)";
        assert_eq!(filters(Via::Tracefs, Target::Pids(vec![7])), ["", timers]);
        assert_eq!(
            filters(Via::Perf, Target::Pids(vec![7])),
            [
                "(prev_pid == 7 || next_pid == 7)".to_owned(),
                format!("{timers} && (common_pid == 7)")
            ]
        );
    }

    #[test]
    fn buffers_share_a_part_of_the_memory() {
        let of = |memory_kib, n_cpus| {
            let offer = Offer { memory_kib, n_cpus, ..offer() };
            plan(&request(), &offer).expect("a plan").buffer_kib
        };
        assert_eq!([of(24 << 20, 2), of(8 << 20, 8), of(0, 4)], [128 << 10, 16 << 10, 1 << 10]);
        let absurd = Request { buffer_kib: Some(3), ..request() };
        assert_eq!(
            refusal(&absurd, &offer()),
            "a buffer of 3 KiB for each CPU: give 64 KiB to 1 TiB"
        );
    }

    #[test]
    fn a_command_alone_needs_a_command_and_tracefs() {
        let only = Request { target: Target::Command, ..request() };
        assert!(refusal(&only, &offer()).contains("add `-- COMMAND`"));
        let command = vec!["true".to_owned()];
        let perf = Request { via: Some(Via::Perf), command: command.clone(), ..only.clone() };
        assert!(refusal(&perf, &offer()).ends_with("use `--via tracefs`"));
        let flight = Some(Flight { last: Duration::from_secs(1), wait: None, dumps: 1 });
        let planned = plan(&Request { command, flight, ..only }, &offer()).expect("a plan");
        assert!(planned.remarks[0].contains("not replayed"));
        assert_eq!(planned.flight, flight);
    }
}
