//! Writes trace.dat version 7: what `trace-cmd report` reads.
//!
//! A file is a head, then sections, each with an id, flags, a description (none here) and a
//! size. Options at the end of the head say where the sections are; their last one points to
//! more options behind the CPU buffers, and is the only thing that is patched afterwards.

use crate::chunk::whole_chunks;
use crate::folder::{Access, Folder};
use crate::page::PAGE;
use crate::refusal::Refusal;
use crate::request::Compression;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

/// Section and option numbers of the format.
mod id {
    pub(super) const DONE: u16 = 0;
    pub(super) const CPU_STAT: u16 = 2;
    pub(super) const BUFFER: u16 = 3;
    pub(super) const CLOCK: u16 = 4;
    pub(super) const UNAME: u16 = 5;
    pub(super) const CPU_COUNT: u16 = 8;
    pub(super) const VERSION: u16 = 9;
    pub(super) const TRACE_ID: u16 = 11;
    pub(super) const HEADER_INFO: u16 = 16;
    pub(super) const FTRACE_EVENTS: u16 = 17;
    pub(super) const EVENT_FORMATS: u16 = 18;
    pub(super) const KALLSYMS: u16 = 19;
    pub(super) const PRINTK: u16 = 20;
    pub(super) const TASK_NAMES: u16 = 21;
}

/// Everything that describes the records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Formats {
    /// The text of `events/header_page`.
    pub header_page: String,
    /// The text of `events/header_event`.
    pub header_event: String,
    /// Formats of ftrace's own events.
    pub ftrace: Vec<String>,
    /// Systems and the formats of their events.
    pub systems: Vec<(String, Vec<String>)>,
    /// Kernel functions that events name by address, as lines of `/proc/kallsyms`.
    pub kallsyms: String,
    /// `Linux HOST RELEASE MACHINE`.
    pub uname: String,
    /// The text of `trace_clock`.
    pub clock: String,
    /// CPUs that may have a buffer.
    pub n_cpus: u32,
    /// Distinguishes recordings.
    pub trace_id: u64,
}

/// One CPU's pages in a file of their own.
#[derive(Clone, Debug)]
pub(crate) struct CpuFile {
    pub cpu: u32,
    /// In the folder of the recording.
    pub name: String,
}

/// A buffer: all CPUs of the top one, or of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// Empty for the top one.
    pub name: &'static str,
    pub cpus: Vec<CpuFile>,
}

/// What stands behind the buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// Lines `TID NAME`.
    pub task_names: String,
    /// The kernel's `stats` of each CPU's buffer, with a first line `CPU: N`.
    pub stats: Vec<String>,
}

fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Zstd(_) => "zstd",
    }
}

/// The head of a file: all that is known before the first record.
///
/// Its last eight bytes are the place of the options behind the buffers: none yet.
pub(crate) fn head(formats: &Formats, compression: Compression) -> Result<Vec<u8>> {
    let mut out = b"\x17\x08\x44tracing7\0\0\x08".to_vec();
    out.extend_from_slice(&u32::try_from(PAGE)?.to_le_bytes());
    for text in [compression_name(compression), zstd::zstd_safe::version_string()] {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    let first_options = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut options = Options::default();
    let mut section = |id: u16, data: Vec<u8>| -> Result<()> {
        options.add(id, &(out.len() as u64).to_le_bytes())?;
        write_section(&mut out, id, &data, compression)
    };
    section(id::HEADER_INFO, header_info(formats))?;
    section(id::FTRACE_EVENTS, texts(&formats.ftrace)?)?;
    section(id::EVENT_FORMATS, event_formats(&formats.systems)?)?;
    section(id::KALLSYMS, sized(&formats.kallsyms)?)?;
    section(id::PRINTK, sized("")?)?;
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    options.add(id::CLOCK, &text(&formats.clock))?;
    options.add(id::UNAME, &text(&formats.uname))?;
    options.add(id::VERSION, &text(concat!("resched ", env!("CARGO_PKG_VERSION"))))?;
    options.add(id::TRACE_ID, &formats.trace_id.to_le_bytes())?;
    options.add(id::CPU_COUNT, &formats.n_cpus.to_le_bytes())?;
    let place = (out.len() as u64).to_le_bytes();
    out[first_options..first_options + 8].copy_from_slice(&place);
    options.write(&mut out, 0)?;
    Ok(out)
}

/// Options that are collected for one section.
#[derive(Debug, Default)]
struct Options(Vec<u8>);

impl Options {
    fn add(&mut self, id: u16, data: &[u8]) -> Result<()> {
        self.0.extend_from_slice(&id.to_le_bytes());
        self.0.extend_from_slice(&u32::try_from(data.len())?.to_le_bytes());
        self.0.extend_from_slice(data);
        Ok(())
    }

    /// Appends the section; the last option points to the next one.
    fn write(mut self, out: &mut Vec<u8>, next: u64) -> Result<()> {
        self.add(id::DONE, &next.to_le_bytes())?;
        section_head(out, id::DONE, 0, self.0.len() as u64);
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

fn section_head(out: &mut Vec<u8>, id: u16, flags: u16, size: u64) {
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&size.to_le_bytes());
}

fn write_section(out: &mut Vec<u8>, id: u16, data: &[u8], compression: Compression) -> Result<()> {
    if compression == Compression::None {
        section_head(out, id, 0, data.len() as u64);
        out.extend_from_slice(data);
        return Ok(());
    }
    let mut packed = Vec::new();
    crate::chunk::Packer::new(compression)?.pack(data, &mut packed)?;
    section_head(out, id, 1, packed.len() as u64);
    out.extend_from_slice(&packed);
    Ok(())
}

fn header_info(formats: &Formats) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in
        [("header_page", &formats.header_page), ("header_event", &formats.header_event)]
    {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn texts(texts: &[String]) -> Result<Vec<u8>> {
    let mut out = u32::try_from(texts.len())?.to_le_bytes().to_vec();
    for text in texts {
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    Ok(out)
}

fn event_formats(systems: &[(String, Vec<String>)]) -> Result<Vec<u8>> {
    let mut out = u32::try_from(systems.len())?.to_le_bytes().to_vec();
    for (name, formats) in systems {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(&texts(formats)?);
    }
    Ok(out)
}

fn sized(text: &str) -> Result<Vec<u8>> {
    let mut out = u32::try_from(text.len())?.to_le_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    Ok(out)
}

/// The part that perf.data embeds too: formats in the order of trace.dat version 6.
pub(crate) fn tracing_data(formats: &Formats) -> Result<Vec<u8>> {
    let mut out = b"\x17\x08\x44tracing0.6\0\0\x08".to_vec();
    out.extend_from_slice(&u32::try_from(PAGE)?.to_le_bytes());
    out.extend_from_slice(&header_info(formats));
    // perf knows the fields of no event that it has not recorded.
    out.extend_from_slice(&texts(&[])?);
    out.extend_from_slice(&event_formats(&formats.systems)?);
    out.extend_from_slice(&sized(&formats.kallsyms)?);
    out.extend_from_slice(&sized("")?);
    // Task names, with a size of eight bytes.
    out.extend_from_slice(&0u64.to_le_bytes());
    Ok(out)
}

/// Writes a whole file from its head, the pages of each buffer and the rest, all in one folder.
pub(crate) fn assemble(
    folder: &Folder,
    name: &str,
    head: &[u8],
    compression: Compression,
    buffers: &[Buffer],
    tail: &Tail,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, folder.begin(name)?);
    let write = |out: &mut BufWriter<File>| -> Result<()> {
        out.write_all(head)?;
        let mut options = Options::default();
        for buffer in buffers {
            let option = write_buffer(out, folder, buffer, compression)?;
            options.add(id::BUFFER, &option)?;
        }
        for stat in &tail.stats {
            options.add(id::CPU_STAT, &[stat.as_bytes(), b"\0"].concat())?;
        }
        let mut bytes = Vec::new();
        let names = [&(tail.task_names.len() as u64).to_le_bytes(), tail.task_names.as_bytes()];
        write_section(&mut bytes, id::TASK_NAMES, &names.concat(), compression)?;
        options.add(id::TASK_NAMES, &out.stream_position()?.to_le_bytes())?;
        out.write_all(&bytes)?;
        let place = out.stream_position()?;
        bytes.clear();
        options.write(&mut bytes, 0)?;
        out.write_all(&bytes)?;
        out.seek(SeekFrom::Start(head.len() as u64 - 8))?;
        out.write_all(&place.to_le_bytes())?;
        out.flush()?;
        Ok(())
    };
    write(&mut out).map_err(|error| {
        // Half of it only takes room, of which there may be too little.
        folder.discard(name);
        match error.downcast::<io::Error>() {
            Ok(error) => {
                let purpose = "put the recording together";
                Refusal::new(&folder.path(name), "written", purpose, error).into()
            }
            Err(error) => error,
        }
    })
}

/// Writes one buffer's section; returns its option.
fn write_buffer(
    out: &mut BufWriter<File>,
    folder: &Folder,
    buffer: &Buffer,
    compression: Compression,
) -> Result<Vec<u8>> {
    let section = out.stream_position()?;
    let flags = u16::from(compression != Compression::None);
    let mut head = Vec::new();
    section_head(&mut head, id::BUFFER, flags, 0);
    out.write_all(&head)?;
    let mut option = section.to_le_bytes().to_vec();
    option.extend_from_slice(format!("{}\0mono\0", buffer.name).as_bytes());
    option.extend_from_slice(&u32::try_from(PAGE)?.to_le_bytes());
    option.extend_from_slice(&u32::try_from(buffer.cpus.len())?.to_le_bytes());
    for cpu in &buffer.cpus {
        // Readers map the pages of uncompressed buffers.
        let at = out.stream_position()?.next_multiple_of(PAGE as u64);
        pad_to(out, at)?;
        let pages = folder.open(&cpu.name, Access::Read)?;
        let size = copy_pages(out, pages, compression)
            .with_context(|| format!("copying {}", folder.path(&cpu.name).display()))?;
        option.extend_from_slice(&cpu.cpu.to_le_bytes());
        option.extend_from_slice(&at.to_le_bytes());
        option.extend_from_slice(&size.to_le_bytes());
    }
    let end = out.stream_position()?;
    out.seek(SeekFrom::Start(section + 8))?;
    out.write_all(&(end - section - 16).to_le_bytes())?;
    out.seek(SeekFrom::Start(end))?;
    Ok(option)
}

fn pad_to(out: &mut BufWriter<File>, at: u64) -> io::Result<()> {
    let missing = usize::try_from(at - out.stream_position()?).unwrap_or(0);
    out.write_all(&vec![0; missing])
}

/// Copies the whole chunks, or whole pages, of one CPU; returns the size that the format states,
/// which leaves out the count of chunks.
fn copy_pages(
    out: &mut BufWriter<File>,
    mut file: File,
    compression: Compression,
) -> io::Result<u64> {
    let size = if compression == Compression::None {
        let size = file.seek(SeekFrom::End(0))?;
        size - size % PAGE as u64
    } else {
        let (count, size) = whole_chunks(&mut file)?;
        if count == 0 {
            return Ok(0);
        }
        out.write_all(&count.to_le_bytes())?;
        size
    };
    file.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut file.take(size), out)?;
    if copied == size { Ok(size) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Packer;
    use crate::page::PageWriter;

    const SWITCH: &str = "name: sched_process_exec\nID: 7\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:pid_t old_pid;\toffset:12;\tsize:4;\tsigned:1;\n\n\
        print fmt: \"pid=%d old_pid=%d\", REC->pid, REC->old_pid\n";

    fn write(compression: Compression) -> Vec<u8> {
        let name = format!("resched-dat-{}-{compression:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (around, name) = Folder::around(&path).expect("a folder");
        let folder = around.make(&name, &path).expect("a writable folder");
        let formats = Formats {
            systems: vec![("sched".to_owned(), vec![SWITCH.to_owned()])],
            uname: "Linux box 6.18.0 x86_64".to_owned(),
            clock: "local [mono] boot\n".to_owned(),
            n_cpus: 3,
            ..Formats::default()
        };
        let cpu_file = |buffer: &str, cpu: u32, events: u64| {
            let (mut writer, mut pages) = (PageWriter::new(), Vec::new());
            for n in 0..events {
                let mut record = [0; 16];
                record[0] = 7;
                record[8] = u8::try_from(n % 100).expect("small");
                writer
                    .push(1000 * n + u64::from(cpu), &record, |page| pages.extend_from_slice(page));
            }
            writer.close(|page| pages.extend_from_slice(page));
            let (mut packer, mut packed) = (Packer::new(compression).expect("zstd"), Vec::new());
            for chunk in pages.chunks(2 * PAGE) {
                packer.pack(chunk, &mut packed).expect("packs");
            }
            let name = format!("{buffer}{cpu}");
            folder.begin(&name).expect("a file").write_all(&packed).expect("written");
            CpuFile { cpu, name }
        };
        let buffers = [
            Buffer { name: "", cpus: vec![cpu_file("a", 0, 900), cpu_file("a", 2, 0)] },
            Buffer { name: "resched", cpus: vec![cpu_file("b", 0, 5)] },
        ];
        let stats = vec!["CPU: 0\noverrun: 0\ndropped events: 0\n".to_owned()];
        let tail = Tail { task_names: "7 seven\n".to_owned(), stats };
        let head = head(&formats, compression).expect("a head");
        assemble(&folder, "file", &head, compression, &buffers, &tail).expect("a file");
        let bytes = std::fs::read(folder.path("file")).expect("the file");
        around.remove(&name, &folder).expect("removable");
        bytes
    }

    #[test]
    fn what_is_written_is_read_back_packed_or_not() {
        for compression in [Compression::None, Compression::Zstd(1), Compression::Zstd(-3)] {
            let recording = trace_formats::read(&write(compression)).expect("a trace.dat");
            assert_eq!(recording.counts.get("sched_process_exec"), Some(&905), "{compression:?}");
            assert_eq!(recording.oddities, []);
            assert_eq!(recording.lost, []);
            let format = recording.format.expect("a format");
            assert_eq!(format.clock.as_deref(), Some("mono"));
            assert_eq!(format.kernel.as_deref(), Some("6.18.0"));
        }
    }
}
