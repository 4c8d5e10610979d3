//! What was recorded, and what can be.

use collector::{Finding, KernelCount, Lost, Recovered, Stop, Summary};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// A recording as text.
pub(crate) fn as_text(summary: &Summary) -> String {
    let mut out = String::new();
    let files: Vec<String> = summary.files.iter().map(|file| file.display().to_string()).collect();
    let loss = match total_lost(summary) {
        0 => "nothing lost".to_owned(),
        n => format!("{n} LOST"),
    };
    let _ = writeln!(
        out,
        "{} · {} · {:.3} s · {} events · {}{} · {loss}",
        files.join(", "),
        summary.via.name(),
        summary.elapsed.as_secs_f64(),
        summary.events,
        bytesize::ByteSize(summary.size),
        per_event(summary),
    );
    let _ = writeln!(out, "ended: {}", ended(&summary.stop));
    if let Some(probe) = summary.call_probe {
        let _ = writeln!(out, "mutex calls: seen with {}", probe.name());
    }
    let percent =
        summary.own_cpu_time.as_secs_f64() * 100.0 / summary.elapsed.as_secs_f64().max(1e-9);
    let _ = writeln!(
        out,
        "recorder: {:.3} s of CPU time, {percent:.1} % of one CPU",
        summary.own_cpu_time.as_secs_f64()
    );
    losses(summary, &mut out);
    if let [file] = &files[..] {
        let _ = writeln!(out, "next: resched info {file}; resched replay {file}");
    }
    out
}

fn per_event(summary: &Summary) -> String {
    match summary.events {
        0 => String::new(),
        #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
        n if summary.size > 0 => format!(" ({:.1} B an event)", summary.size as f64 / n as f64),
        _ => String::new(),
    }
}

fn ended(stop: &Stop) -> &str {
    match stop {
        Stop::Asked => "as asked",
        Stop::Command(how) => how,
        Stop::Duration => "after --duration",
        Stop::Dumps => "all --dumps are written",
        Stop::Failed => "a thread of the recorder failed",
    }
}

fn kernel_lost(summary: &Summary) -> u64 {
    summary.kernel.values().map(|count| count.lost()).sum()
}

fn told(lost: &[Lost]) -> u64 {
    lost.iter().filter_map(|lost| lost.records).sum()
}

/// The kernel's count, or what the buffers told where that is more.
fn total_lost(summary: &Summary) -> u64 {
    kernel_lost(summary).max(told(&summary.lost)).max(u64::from(!summary.lost.is_empty()))
}

/// Most gaps that are printed; `resched info` lists all.
const GAPS: usize = 5;

fn losses(summary: &Summary, out: &mut String) {
    for (cpu, count) in summary.kernel.iter().filter(|(_, count)| count.lost() > 0) {
        let gaps: Vec<&Lost> = summary.lost.iter().filter(|lost| lost.cpu == *cpu).collect();
        let KernelCount { overrun, dropped, .. } = count;
        let _ = writeln!(
            out,
            "CPU {cpu}: the kernel counts {overrun} overwritten and {dropped} not written; the \
             buffer tells {} of them in {} gaps",
            gaps.iter().filter_map(|lost| lost.records).sum::<u64>(),
            gaps.len()
        );
        for lost in gaps.iter().take(GAPS) {
            let records = lost.records.map_or("some".to_owned(), |n| n.to_string());
            let at = |ns: u64| format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000);
            let _ = writeln!(out, "  {records} between {} and {}", at(lost.after), at(lost.before));
        }
    }
    if total_lost(summary) > 0 {
        let _ = writeln!(
            out,
            "to lose less: a larger --buffer, --realtime 1, or less --detail; every number of \
             resched that a gap touches says so"
        );
    }
    if summary.skipped > 0 {
        let _ = writeln!(
            out,
            "{} mutex calls or owners were not seen: the program was running already on that CPU",
            summary.skipped
        );
    }
}

/// A recording as JSON.
pub(crate) fn as_json(summary: &Summary) -> Value {
    let lost: Vec<Value> = summary
        .lost
        .iter()
        .map(|l| json!({ "cpu": l.cpu, "events": l.records, "after_ns": l.after, "before_ns": l.before }))
        .collect();
    let kernel: Vec<Value> = summary
        .kernel
        .iter()
        .map(|(cpu, c)| json!({ "cpu": cpu, "overrun": c.overrun, "dropped": c.dropped, "read": c.read }))
        .collect();
    json!({
        "files": summary.files,
        "bytes": summary.size,
        "via": summary.via.name(),
        "mutex_calls": summary.call_probe.map(|probe| probe.name()),
        "elapsed_ns": u64::try_from(summary.elapsed.as_nanos()).unwrap_or(u64::MAX),
        "ended": ended(&summary.stop),
        "events": summary.events,
        "bytes_from_kernel": summary.taken,
        "lost": lost,
        "lost_by_kernel": kernel,
        "programs_skipped": summary.skipped,
        "recorder_cpu_ns": u64::try_from(summary.own_cpu_time.as_nanos()).unwrap_or(u64::MAX),
    })
}

/// A recording that was finished after its recorder died.
pub(crate) fn recovered(output: &Path, recovered: &Recovered) -> String {
    let size = bytesize::ByteSize(recovered.size);
    let mut out = format!(
        "{} · {size} · recovered: it ends where its recorder was killed\n",
        output.display()
    );
    if recovered.cut > 0 {
        let _ = writeln!(out, "{} bytes of a half-written chunk were left out", recovered.cut);
    }
    let _ = writeln!(out, "next: resched info {}", output.display());
    out
}

/// What can be recorded here.
pub(crate) fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let state = match (finding.is_done(), finding.works()) {
            (true, _) => "done",
            (false, true) => "works",
            (false, false) => "no",
        };
        indented(&mut out, &format!("{:<12} {state:<6}", finding.what), &finding.says);
        if let Some(way_out) = &finding.way_out {
            indented(&mut out, &format!("{:<12} {:<6}", "", "  ->"), way_out);
        }
    }
    out
}

/// Text behind a head, in lines of at most 100 columns, each as far in as the first.
fn indented(out: &mut String, head: &str, text: &str) {
    let width = head.chars().count();
    let mut line = head.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            let _ = writeln!(out, "{line}");
            line = " ".repeat(width);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
