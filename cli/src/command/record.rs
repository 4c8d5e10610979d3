//! `resched record`: asks this machine's kernel for a trace.

use super::{print, print_json};
use crate::args::{self, Record};
use crate::outcome::{Outcome, say};
use crate::render::recording;
use anyhow::Result;
use collector::{Compression, Control, Detail, Flight, Futex, Notice, Request, Target, Via};
use serde_json::json;
use std::sync::Arc;

pub(super) fn run(args: &Record) -> Result<Outcome> {
    if args.check {
        return check(args);
    }
    if let Some(output) = &args.recover {
        let recovered = collector::recover(output, |notice| tell(&notice))?;
        print(&recording::recovered(output, &recovered))?;
        return Ok(Outcome::Done);
    }
    let control = Arc::new(Control::default());
    collector::listen(&control)?;
    let is_open = args.command.is_empty() && args.duration.is_none();
    let summary = collector::record(&request(args), &control, |notice| match notice {
        Notice::Started if is_open => say("recording; Ctrl-C ends it"),
        other => tell(&other),
    })?;
    if args.json {
        print_json(&recording::as_json(&summary))?;
    } else {
        print(&recording::as_text(&summary))?;
    }
    Ok(Outcome::Done)
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Remark(text) => say(&format!("note: {text}")),
        Notice::Started => {}
        Notice::Dumped { path, why } => say(&format!("wrote {}: {why}", path.display())),
    }
}

fn request(args: &Record) -> Request {
    Request {
        via: args.via.map(|via| match via {
            args::Via::Tracefs => Via::Tracefs,
            args::Via::Perf => Via::Perf,
        }),
        detail: match args.detail {
            args::Detail::Contention => Detail::Contention,
            args::Detail::Owner => Detail::Owner,
            args::Detail::Sections => Detail::Sections,
            args::Detail::Full => Detail::Full,
        },
        target: match (args.only, &args.pid[..]) {
            (Some(args::Only::Command), _) => Target::Command,
            (None, []) => Target::System,
            (None, pids) => Target::Pids(pids.to_vec()),
        },
        futex: if args.futex { Futex::Yes } else { Futex::No },
        duration: args.duration,
        buffer_kib: args.buffer.map(|size| size.as_u64() / 1024),
        compression: match args.compress {
            args::Compression::None => Compression::None,
            args::Compression::Zstd(level) => Compression::Zstd(level),
        },
        flight: args.flight.map(|last| Flight { last, wait: args.wait, dumps: args.dumps }),
        realtime: args.realtime,
        output: args.output.clone(),
        command: args.command.clone(),
    }
}

fn check(args: &Record) -> Result<Outcome> {
    let findings = collector::check();
    if args.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "works": f.works(), "says": f.says, "way_out": f.way_out }))
            .collect();
        print_json(&findings)?;
    } else {
        print(&recording::findings(&findings))?;
    }
    let can_record = collector::can_record(&findings);
    Ok(if can_record { Outcome::Done } else { Outcome::Inconclusive })
}
