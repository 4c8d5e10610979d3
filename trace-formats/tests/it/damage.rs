//! Damaged traces: what can be read is read, and nothing panics.

use fixtures::Dice;
use trace_formats::{Limits, Recording, read, read_with};

fn is_trace(name: &str) -> bool {
    [".dat", ".data", ".txt"].iter().any(|end| name.ends_with(end))
}

fn traces() -> Vec<(String, Vec<u8>)> {
    let names = fixtures::list("recorded").into_iter().filter(|name| is_trace(name));
    names.map(|name| (name.clone(), fixtures::bytes(&name))).collect()
}

fn is_said(recording: &Recording) -> bool {
    !recording.oddities.is_empty()
}

/// Cut at every 4 KiB: never more than the whole has, never less than a shorter cut had, and
/// always with a word about it.
#[test]
fn a_cut_file_gives_what_is_before_the_cut() {
    for (name, bytes) in traces() {
        let whole = read(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut best = 0;
        for cut in (4096..bytes.len()).step_by(4096) {
            let part = match read(&bytes[..cut]) {
                Ok(part) => part,
                Err(error) => {
                    assert_eq!(best, 0, "{name} cut at {cut} after events were read: {error}");
                    continue;
                }
            };
            assert!(part.total() >= best, "{name} cut at {cut}: {} < {best}", part.total());
            assert!(part.total() <= whole.total(), "{name} cut at {cut}");
            // A text that is cut between two lines is a shorter text.
            let is_shorter = part.total() < whole.total() && bytes[cut - 1] != b'\n';
            assert!(!is_shorter || is_said(&part), "{name} cut at {cut} says nothing");
            best = part.total();
        }
    }
}

/// Uncompressed pages before a cut are worth exactly what they hold.
#[test]
fn half_a_file_gives_the_events_of_that_half() {
    for name in ["localhandoff-contention.v6.dat", "localhandoff-full.report.txt"] {
        let bytes = fixtures::bytes(&format!("recorded/{name}"));
        let whole = read(&bytes).expect("a fixture");
        let half = read(&bytes[..bytes.len() / 2]).expect("headers are before the half");
        let n = half.events.len();
        assert!(n > whole.events.len() / 4, "{name}: {n} of {}", whole.events.len());
        // Names are numbered as they are met, the same in both.
        assert_eq!(half.events[..], whole.events[..n], "{name}");
    }
}

/// Random bytes in random places: any answer but a panic.
#[test]
fn random_damage_is_survived() {
    let mut dice = Dice::new(7);
    let limits = Limits { unpacked: 64 << 20 };
    let mut outcomes = [0u32; 2];
    for (_, bytes) in traces() {
        for round in 0..12 {
            let mut damaged = bytes.clone();
            // Half the rounds aim at the headers, which steer the rest.
            let reach = if round % 2 == 0 { damaged.len().min(8192) } else { damaged.len() };
            for _ in 0..1 + dice.roll(8) {
                let at = dice.position(reach);
                damaged[at] = dice.byte();
            }
            match read_with(&damaged, &limits) {
                Ok(_) => outcomes[0] += 1,
                Err(error) => {
                    outcomes[1] += 1;
                    assert!(error.to_string().len() > 20, "{error}");
                }
            }
        }
    }
    assert!(outcomes.iter().all(|n| *n >= 5), "read and refused: {outcomes:?}");
}
