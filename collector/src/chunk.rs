//! Chunks of ring-buffer pages, packed as trace.dat version 7 keeps them.

use crate::request::Compression;
use anyhow::{Context, Result};
use std::io::{self, Read, Seek, SeekFrom};

/// Pages that are packed together: enough for zstd to find what repeats, little to lose.
pub(crate) const PAGES: usize = 64;

/// Packs chunks of one stream.
pub(crate) struct Packer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd(level) => {
                Some(zstd::bulk::Compressor::new(level).context("zstd cannot be set up")?)
            }
        };
        Ok(Self { compressor })
    }

    /// Appends `pages` to `out`: with compression the packed size, the plain size and the data,
    /// without the bare pages.
    pub(crate) fn pack(&mut self, pages: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let Some(compressor) = &mut self.compressor else {
            out.extend_from_slice(pages);
            return Ok(());
        };
        let head = out.len();
        out.resize(head + 8 + zstd::zstd_safe::compress_bound(pages.len()), 0);
        let packed = compressor
            .compress_to_buffer(pages, &mut out[head + 8..])
            .context("zstd cannot pack a chunk")?;
        out.truncate(head + 8 + packed);
        let size = |n: usize| u32::try_from(n).context("a chunk of more than 4 GiB");
        out[head..head + 4].copy_from_slice(&size(packed)?.to_le_bytes());
        out[head + 4..head + 8].copy_from_slice(&size(pages.len())?.to_le_bytes());
        Ok(())
    }
}

/// How many whole chunks a stream holds, and how many bytes they take.
///
/// A recorder that was killed may have left half a chunk at the end; it is not counted.
pub(crate) fn whole_chunks(stream: &mut (impl Read + Seek)) -> io::Result<(u32, u64)> {
    let end = stream.seek(SeekFrom::End(0))?;
    let (mut count, mut at) = (0u32, 0u64);
    while let Some(body) = at.checked_add(8).filter(|body| *body <= end) {
        stream.seek(SeekFrom::Start(at))?;
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let next = body + u64::from(u32::from_le_bytes(head));
        if next > end {
            break;
        }
        (count, at) = (count + 1, next);
    }
    Ok((count, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_counted_up_to_the_first_that_is_cut() {
        let mut packer = Packer::new(Compression::Zstd(1)).expect("zstd");
        let mut out = Vec::new();
        packer.pack(&[7; 8192], &mut out).expect("packs");
        let first = out.len() as u64;
        packer.pack(&[8; 4096], &mut out).expect("packs");
        let all = out.len();
        let count = |bytes: &[u8]| whole_chunks(&mut io::Cursor::new(bytes)).expect("memory");
        assert_eq!(count(&out), (2, all as u64));
        assert_eq!(count(&out[..all - 1]), (1, first));
        assert_eq!(count(&out[..7]), (0, 0));
        assert_eq!(&out[4..8], &8192u32.to_le_bytes());
    }
}
