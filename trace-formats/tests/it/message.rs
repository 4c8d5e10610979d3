//! What a user is told about a file that cannot be read.

use crate::build::{Shape, page, trace_dat};
use expect_test::{Expect, expect};
use trace_formats::{Limits, read, read_with};

const V6: Shape = Shape { version: b'6', is_big: false, long_size: 8, compression: "none" };
const V7: Shape = Shape { version: b'7', ..V6 };
const ZLIB: Shape = Shape { compression: "zlib", ..V7 };

fn refused(bytes: &[u8], expected: Expect) {
    let error = read(bytes).expect_err("not readable");
    expected.assert_eq(&error.to_string());
}

fn file(shape: Shape) -> Vec<u8> {
    trace_dat(shape, &[page(shape, (10, 11))])
}

#[test]
fn no_trace_at_all() {
    refused(b"", expect!["in the input: the input is empty"]);
    refused(
        b"\0\x01\x02",
        expect![
            "at byte 0: this is no trace that resched knows; it reads trace.dat v6 and v7, perf.data and ftrace text"
        ],
    );
    refused(
        b"hello\nworld\n",
        expect![
            "in the input: this is no trace that resched knows; it reads trace.dat v6 and v7, perf.data and ftrace text"
        ],
    );
}

#[test]
fn formats_that_are_not_built() {
    refused(
        b"\xc1\x1f\xfc\xc1....",
        expect![
            "at byte 0: a CTF trace (LTTng) is not read yet; record with `trace-cmd record` or `perf record` instead"
        ],
    );
    refused(
        b"/* CTF 1.8 */",
        expect![
            "at byte 0: a CTF trace (LTTng) is not read yet; record with `trace-cmd record` or `perf record` instead"
        ],
    );
    refused(
        b"{\"traceEvents\":[]}",
        expect![
            "at byte 0: a JSON trace is not read yet; give resched the recording that it was made from"
        ],
    );
    refused(
        b"<!DOCTYPE html>",
        expect![
            "at byte 0: an HTML page (systrace) is not read yet; record text with `atrace` without `--html`, or with `trace-cmd record`"
        ],
    );
    refused(
        b"PERFFILE",
        expect![
            "at byte 0: perf.data version 1 is not read yet; record it again with a perf of Linux 2.6.32 or later"
        ],
    );
    refused(
        b"\x0a\x02\x08\x01\x0a",
        expect![
            "at byte 0: a Perfetto trace is not read yet; convert it with Perfetto's `traceconv systrace FILE OUT.txt` and give resched that text"
        ],
    );
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    refused(
        &tar,
        expect![
            "at byte 0: a tar archive is not read yet; unpack it with `tar -xf` and give resched a trace inside it"
        ],
    );
}

#[test]
fn headers_of_trace_dat() {
    let mut bytes = file(V6);
    bytes[10] = b'5';
    refused(
        &bytes,
        expect![[
            r#"at byte 12: trace.dat version "5"; versions 6 and 7 are read: convert it with `trace-cmd convert --file-version 7`"#
        ]],
    );
    let mut bytes = file(V6);
    bytes[12] = 9;
    refused(
        &bytes,
        expect!["at byte 13: byte order 9 where 0 or 1 was expected: the header is damaged"],
    );
    let mut bytes = file(V6);
    bytes[13] = 3;
    refused(
        &bytes,
        expect!["at byte 14: a long of 3 bytes where 4 or 8 was expected: the header is damaged"],
    );
    let mut bytes = file(V6);
    bytes[14..18].fill(0xff);
    refused(
        &bytes,
        expect![
            "at byte 18: a page of 4294967295 bytes where 64 to 16 Mi was expected: the header is damaged"
        ],
    );
    let mut bytes = file(V6);
    bytes[20] = b'_';
    refused(
        &bytes,
        expect![
            "at byte 30: `he_der_page` stands where `header_page` belongs: the headers are damaged"
        ],
    );
    refused(&file(V6)[..40], expect!["at byte 38: the input ends inside the page format"]);
    let bytes = file(V7);
    let text = String::from_utf8_lossy(&bytes).replace("none\0", "lzma\0").into_bytes();
    refused(
        &text,
        expect![
            "at byte 24: compression `lzma`; none, zlib and zstd are read: convert it with `trace-cmd convert --compression zstd`"
        ],
    );
    let mut bytes = file(V7);
    bytes[24] ^= 0x10;
    refused(
        &bytes,
        expect!["at byte 8224: section 16 stands where section 0 belongs: the file is damaged"],
    );
}

/// What is wrong behind the headers is told beside the events.
#[test]
fn damage_behind_the_headers() {
    let oddities = |bytes: &[u8]| {
        let recording = read(bytes).expect("headers are whole");
        let told = recording.oddities.iter().map(|o| format!("{}: {}\n", o.place, o.text));
        format!("{} events\n{}", recording.total(), told.collect::<String>())
    };
    let bytes = file(V6);
    expect![[r#"
        1 events
        in the buffer of CPU 0, from byte 4096: the file ends 3996 bytes before this buffer does
        in the buffer of CPU 0, from byte 4096: 1 pages end early; what they held before that was read
    "#]].assert_eq(&oddities(&bytes[..bytes.len() - 4096 + 100]));
    let mut bytes = file(V6);
    let at = bytes.len() - 4096 + 20;
    bytes[at] = 0xff;
    expect![[r#"
        2 events
        in the buffer of CPU 0, from byte 4096: 1 records of kinds that the file does not describe; they are only counted
    "#]].assert_eq(&oddities(&bytes));
    let mut bytes = file(ZLIB);
    let at = 4096 + 16;
    bytes[at] ^= 0xff;
    expect![[r#"
        2 events
        in the buffer of CPU 0, from byte 4096: at byte 4108: a chunk cannot be unpacked beyond 2048 bytes (corrupt deflate stream); chunk 1 of 1 and what follows is lost
    "#]].assert_eq(&oddities(&bytes));
}

#[test]
fn growth_is_bounded() {
    let limits = Limits { unpacked: 1000 };
    let recording = read_with(&file(ZLIB), &Limits { unpacked: 4095 }).expect("headers are small");
    let told: String = recording.oddities.iter().map(|o| o.text.as_str()).collect();
    expect!["at byte 4108: more than 4095 bytes would be unpacked; raise the limit to read on; chunk 1 of 1 and what follows is lost"].assert_eq(&told);
    let packed = zstd::bulk::compress(&file(V6), 3).expect("memory");
    let error = read_with(&packed, &limits).expect_err("too large");
    expect!["in the input: the zstd file unpacks to more than 1000 bytes; unpack it yourself, or raise the limit"].assert_eq(&error.to_string());
}

#[test]
fn wrappers_that_are_cut() {
    let packed = zstd::bulk::compress(&file(V6), 3).expect("memory");
    refused(
        &packed[..6],
        expect!["in the input: the zstd file cannot be unpacked (incomplete frame): it is damaged"],
    );
    refused(
        &[0x1f, 0x8b, 8, 0],
        expect![
            "in the input: the gzip file cannot be unpacked (unexpected end of file): it is damaged"
        ],
    );
}

#[test]
fn headers_of_perf_data() {
    let bytes = fixtures::bytes("recorded/pipe-inversion.perf.data");
    refused(&bytes[..20], expect!["at byte 16: the input ends inside the header"]);
    refused(&bytes[..110], expect!["at byte 280: the input ends inside the event attributes"]);
    let mut damaged = bytes.clone();
    damaged[16..24].fill(0x7f);
    refused(
        &damaged,
        expect![
            "at byte 280: event attributes of 9187201950435737471 bytes; 64 to 4096 were expected: the header is damaged"
        ],
    );
}
