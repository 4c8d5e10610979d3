//! Does `recorded` give these recordings back? One line for each.

#![expect(clippy::disallowed_methods, reason = "recordings are files, and arguments name them")]
#![expect(clippy::print_stdout, reason = "a program for the shell")]

use model::Host;

fn main() {
    for path in std::env::args().skip(1) {
        println!("{path}: {}", answer(&path));
    }
}

fn answer(path: &str) -> String {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) => return e.to_string(),
    };
    let recording = match trace_formats::read(&bytes) {
        Ok(recording) => recording,
        Err(e) => return format!("not read: {e}"),
    };
    let sidecar = std::fs::read_to_string(format!("{path}.host.json")).ok();
    let host = sidecar.and_then(|text| Host::from_json(&text).ok());
    let (demand, _) = model::demand::extract(&recording, host.as_ref());
    let (schedule, divergence) = replay::recorded(&demand, &recording);
    match divergence {
        Some(divergence) => divergence.to_string(),
        None if schedule.recording.events == recording.events => {
            format!("{} events, identical", recording.events.len())
        }
        None => "not identical, and nothing says so".to_owned(),
    }
}
