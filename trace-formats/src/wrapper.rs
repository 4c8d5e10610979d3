//! zstd and gzip around a whole trace.

use crate::limits::Limits;
use crate::{Error, ErrorKind, Position};
use std::io::Read;

/// What was inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub bytes: Vec<u8>,
    /// The wrapper's name.
    pub name: &'static str,
    /// Why it ends early, if it does.
    pub damage: Option<String>,
}

/// `None` when there is no wrapper.
pub(crate) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Option<Unpacked>, Error> {
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
        let decoder = decoder.map_err(|e| invalid(format!("zstd does not start: {e}")))?;
        return drain(decoder, "zstd", limits).map(Some);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return drain(flate2::read::MultiGzDecoder::new(bytes), "gzip", limits).map(Some);
    }
    Ok(None)
}

fn invalid(what: String) -> Error {
    Error { kind: ErrorKind::Invalid { what }, at: Position::Whole }
}

fn drain(decoder: impl Read, name: &'static str, limits: &Limits) -> Result<Unpacked, Error> {
    let mut bytes = Vec::new();
    let read = decoder.take(limits.unpacked.saturating_add(1)).read_to_end(&mut bytes);
    if bytes.len() as u64 > limits.unpacked {
        return Err(invalid(format!(
            "the {name} file unpacks to more than {} bytes; unpack it yourself, or raise the limit",
            limits.unpacked
        )));
    }
    match read {
        Ok(_) => Ok(Unpacked { bytes, name, damage: None }),
        Err(error) if bytes.is_empty() => {
            Err(invalid(format!("the {name} file cannot be unpacked ({error}): it is damaged")))
        }
        Err(error) => {
            let damage = format!(
                "it is damaged or cut ({error}); the {} bytes before that were read",
                bytes.len()
            );
            Ok(Unpacked { bytes, name, damage: Some(damage) })
        }
    }
}
