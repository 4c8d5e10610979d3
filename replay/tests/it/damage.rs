//! Whatever a damaged recording still says can be replayed: no panic, no endless loop.

use fixtures::Dice;
use model::{Demand, Host};
use replay::{Options, Policy};
use trace_formats::{Limits, read_with};

/// Reads, extracts and replays under every policy; how many of the two came to a schedule.
fn replayed(bytes: &[u8], host: Option<&Host>) -> u32 {
    let Ok(recording) = read_with(bytes, &Limits { unpacked: 64 << 20 }) else { return 0 };
    let (demand, _) = model::demand::extract(&recording, host);
    // Whether it gives back what is left is not the question here.
    let _ = replay::recorded(&demand, &recording);
    let mut schedules = 0;
    for policy in [Policy::None, Policy::Pe73] {
        let schedule = replay::replay(&demand, policy, &Options::default());
        schedules += u32::from(!schedule.recording.events.is_empty());
    }
    schedules
}

#[test]
fn damaged_recordings_are_replayed_as_far_as_they_go() {
    let mut dice = Dice::new(11);
    let mut schedules = 0;
    for name in [
        "classic3-contention.dat",
        "localhandoff-full.dat",
        "localhandoff-contention.v6.dat",
        "localhandoff-full.report.txt",
        "affine-full-2cpus.dat",
        "pipe-inversion.perf.data",
        "pipe-inversion.txt",
    ] {
        let bytes = fixtures::bytes(&format!("recorded/{name}"));
        let sidecar = fixtures::path(&format!("recorded/{name}.host.json"));
        let host = std::fs::read_to_string(sidecar).ok();
        let host = host.map(|text| Host::from_json(&text).expect("a sidecar"));
        for _ in 0..3 {
            schedules += replayed(&bytes[..dice.position(bytes.len())], host.as_ref());
        }
        for _ in 0..8 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + dice.roll(40) {
                // The events, not the formats in front of them.
                let at = damaged.len() / 3 + dice.position(damaged.len() * 2 / 3);
                damaged[at] = dice.byte();
            }
            schedules += replayed(&damaged, host.as_ref());
        }
    }
    assert!(schedules > 60, "only {schedules} of 154 replays had anything to schedule");
}

/// So is a scenario out of which a program has cut pieces: here what `forked` says is missing.
#[test]
fn who_has_come_does_not_come_again() {
    for text in [
        "end 9\nA  run 1  fork B  run 1\nB\n",
        "end 9\nA  run 1  fork B  run 1\nB  forked  run 1\nC  run 3  fork B\n",
        "end 9\nA  fork B  run 4\nB  cpu 0  at 2  run 1\n",
        "end 9\nA  run 1  fork A  run 1\n",
        "end 9\nA  fork B  run 2  wake B\nB  asleep  wait D  run 1\n",
        "end 9\nA  run 2  fork C\nB  run 5  wake C\nC  wait D\n",
    ] {
        let demand = Demand::from_script(&trace_formats::script::parse(text).expect("a script"));
        for policy in [Policy::None, Policy::Pe73] {
            let times = replay::replay(&demand, policy, &Options::default()).times;
            let asked = demand.tasks.iter().map(|task| {
                let span = |op: &model::Op| match op {
                    model::Op::Compute(span) => span.0,
                    _ => 0,
                };
                task.ops.iter().map(span).sum()
            });
            let got: Vec<u64> = times.iter().map(|time| time.executed.0).collect();
            assert_eq!(got, asked.collect::<Vec<u64>>(), "{text} under {policy}");
        }
    }
}
