//! perf.data: tracepoint samples as `perf record` writes them, into a file or a pipe.

mod attr;
mod bits;
mod feature;
mod header;
mod losses;
mod records;
mod session;

use crate::limits::Limits;
use crate::merge::merge;
use crate::{Error, FormatInfo, Oddity, Position, Recording};
use header::{Medium, Place};
use records::Walk;

pub(crate) use header::{MAGIC_BIG, MAGIC_LITTLE};

/// Reads a whole file.
///
/// # Errors
///
/// When the header cannot be read. Damage behind it becomes oddities.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Recording, Error> {
    let (mut session, place) = header::read(bytes)?;
    let (data, base, medium) = match place {
        Place::File { start, size } => {
            let from = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
            let rest = &bytes[from..];
            let data = usize::try_from(size).ok().and_then(|n| rest.get(..n)).unwrap_or(rest);
            let missing = size - data.len() as u64;
            // perf writes the size last.
            let data = if size == 0 { rest } else { data };
            if size == 0 && !rest.is_empty() {
                let text = "the recording was not closed: all that follows is taken for records";
                session.odd(Position::Byte(start), text.to_owned());
            } else if missing > 0 {
                let text = format!("the file ends {missing} bytes before its records do");
                session.odd(Position::Byte(bytes.len() as u64), text);
            }
            (data, start, Medium::File)
        }
        Place::Pipe { start } => {
            (bytes.get(start..).unwrap_or_default(), start as u64, Medium::Pipe)
        }
    };
    let mut walk = Walk::new(session.endian, limits.unpacked, medium);
    walk.run(data, base, &mut session);
    Ok(finish(session, medium))
}

fn finish(mut session: session::Session, medium: Medium) -> Recording {
    let counts = session.counts();
    let lost = session.losses.finish(session.span);
    let mut oddities = session.oddities;
    oddities.extend(session.tally.iter().map(|(what, n)| Oddity {
        place: "in the samples".to_owned(),
        text: format!("{n} {what}"),
    }));
    let name = match (medium, session.compression) {
        (Medium::File, None) => "perf.data".to_owned(),
        (Medium::File, Some(how)) => format!("perf.data ({how})"),
        (Medium::Pipe, None) => "perf.data (pipe)".to_owned(),
        (Medium::Pipe, Some(how)) => format!("perf.data (pipe, {how})"),
    };
    let clock = session.attrs.first().map(|attr| match attr.clock_id {
        None => "perf".to_owned(),
        Some(0) => "realtime".to_owned(),
        Some(1) => "mono".to_owned(),
        Some(4) => "mono_raw".to_owned(),
        Some(7) => "boot".to_owned(),
        Some(11) => "tai".to_owned(),
        Some(other) => format!("clock {other}"),
    });
    let cpus = session.streams.keys().copied().collect();
    // Several buffers of one CPU may be interleaved: going back in time is no oddity here.
    let (events, _) = merge(session.streams.into_values().collect());
    Recording {
        format: Some(FormatInfo { name, clock, kernel: session.kernel }),
        events,
        names: session.names,
        cpus,
        counts,
        records: session.records,
        span: session.span,
        lost,
        oddities,
    }
}
