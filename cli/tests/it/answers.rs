//! What the commands answer on good input.

use crate::{fixture, resched, scratch};
use expect_test::expect;
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    let run = resched(&scratch(&args.join("_").replace('/', "_")), args);
    assert_eq!(run.code, 0, "{args:?}: {}", run.err);
    serde_json::from_str(&run.out).expect("valid JSON")
}

#[test]
fn the_demo_shows_the_inversion_gone_and_draws_it() {
    let folder = scratch("demo");
    let run = resched(&folder, &["demo"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let row = |name: &str| {
        let found = run.out.lines().find(|l| l.starts_with(name));
        found.unwrap_or_else(|| panic!("no row {name} in\n{}", run.out)).to_owned()
    };
    let inversion = row("inversion");
    assert!([" -99 %", " -100 %"].iter().any(|c| inversion.contains(c)), "{}", run.out);
    assert!(row("high").contains("response mean"), "{}", run.out);
    assert!(run.out.contains("held by low (nice 15)"), "{}", run.out);
    assert!(run.out.contains("trust     replay under none"), "{}", run.out);
    let svg = std::fs::read_to_string(folder.join("resched-demo.svg")).expect("the chart");
    assert!(svg.starts_with("<svg") && svg.contains("inversion"), "{svg}");
}

#[test]
fn the_demo_says_the_same_twice() {
    let folder = scratch("demo-twice");
    let (a, b) = (resched(&folder, &["demo"]), resched(&folder, &["demo"]));
    assert_eq!(a.out, b.out);
}

#[test]
fn info_counts_every_event() {
    let file = fixture("recorded/classic3-full.dat");
    let info = json(&["info", &file, "--json"]);
    let counts = info["counts"].as_object().expect("counts");
    let sum: u64 = counts.values().filter_map(Value::as_u64).sum();
    assert_eq!(info["events"].as_u64(), Some(sum));
    assert_eq!(info["counts"]["sched_switch"], 4755);
    assert_eq!(info["clock"], "mono");
}

/// Rows of a CSV text, split at commas; the fixtures have none inside fields.
fn csv(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines().map(split);
    (lines.next().expect("a head"), lines.collect())
}

#[test]
fn the_parts_of_every_wait_sum_to_the_wait() {
    let folder = scratch("lock-waits");
    let file = fixture("recorded/classic3-full.dat");
    let args = ["analyze", &file, "--table", "lock_waits", "-o", "waits.csv"];
    let run = resched(&folder, &args);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let text = std::fs::read_to_string(folder.join("waits.csv")).expect("the table");
    let (head, rows) = csv(&text);
    let column = |name: &str| {
        head.iter()
            .position(|c| c == name)
            .unwrap_or_else(|| panic!("no column {name} in {head:?}"))
    };
    let (begin, end) = (column("begin_ns"), column("end_ns"));
    for name in ["waiter_tid", "lock", "lock_kind", "owner_tid", "owner_basis"] {
        column(name);
    }
    let parts: Vec<usize> = analysis::Part::ALL.map(|p| column(&format!("{}_ns", p.name()))).into();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows.iter().filter(|r| !r[end].is_empty()) {
        let number = |c: usize| row[c].parse::<u64>().expect("a number");
        let sum: u64 = parts.iter().map(|c| number(*c)).sum();
        assert_eq!(sum, number(end) - number(begin), "{row:?}");
    }
}

#[test]
fn tables_are_written_as_parquet_too() {
    let folder = scratch("parquet");
    let file = fixture("recorded/localhandoff-full.dat");
    let run = resched(&folder, &["analyze", &file, "--table", "responses", "-o", "r.parquet"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let bytes = std::fs::read(folder.join("r.parquet")).expect("the table");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[test]
fn a_replayed_schedule_is_a_trace_and_reads_back() {
    let folder = scratch("replay-out");
    let file = fixture("recorded/classic3-full.dat");
    let args =
        ["replay", &file, "--policy", "pe-7.3", "-o", "out.txt", "--svg", "out.svg", "--json"];
    let run = resched(&folder, &args);
    assert_eq!(run.code, 0, "{}", run.err);
    let told: Value = serde_json::from_str(&run.out).expect("valid JSON");
    let again = resched(&folder, &["analyze", "out.txt", "--json"]);
    let read: Value = serde_json::from_str(&again.out).expect("valid JSON");
    let after = &told["comparison"]["after"];
    for key in ["switches", "migrations", "waits"] {
        assert_eq!(read[key], after[key], "{key}");
    }
}

#[test]
fn a_local_handoff_is_predicted_as_a_loss_for_the_donor() {
    let file = fixture("recorded/localhandoff-full.dat");
    let told = json(&["replay", &file, "--json"]);
    let tasks = told["comparison"]["tasks"].as_array().expect("tasks");
    let donor = tasks.iter().find(|t| t["key"]["name"] == "donor").expect("the donor");
    let max = |side: &str| donor[side]["responses"]["max_ns"].as_u64().expect("a maximum");
    // The former owner computes 8 ms on the FIFO donor's time before anybody reschedules.
    assert!(max("before") < 3_500_000, "{}", max("before"));
    assert!((8_000_000..16_000_000).contains(&max("after")), "{}", max("after"));
}

#[test]
fn recorded_gives_every_recording_back() {
    for name in fixtures::list("recorded") {
        if name.ends_with(".json") || name.contains("proxy-on") {
            continue;
        }
        let run =
            resched(&scratch("recorded"), &["replay", &fixture(&name), "--policy", "recorded"]);
        assert!(run.code == 0 || run.code == 3, "{name}: {}", run.err);
    }
}

#[test]
fn compare_takes_two_traces() {
    let (a, b) =
        (fixture("recorded/classic3-contention.dat"), fixture("recorded/classic3-full.dat"));
    let run = resched(&scratch("compare"), &["compare", &a, &b]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.contains("before") && run.out.contains("high"), "{}", run.out);
}

#[test]
fn explain_names_waiter_owner_and_who_ran_instead() {
    let file = fixture("recorded/classic3-full.dat");
    let list = json(&["explain", &file, "--worst", "3", "--json"]);
    let list = list.as_array().expect("episodes");
    assert_eq!(list.len(), 3);
    for episode in list {
        assert_eq!(
            (&episode["waiter"], &episode["owners"][0]["task"]),
            (&"high".into(), &"low".into())
        );
        assert_eq!(episode["owners"][0]["basis"], "exact");
        let instead = episode["instead"][0]["task"].as_str().expect("a name");
        assert!(instead.starts_with("med"), "{instead}");
    }
}

#[test]
fn every_policy_and_mechanism_is_explained() {
    let run = resched(&scratch("policies"), &["policies"]);
    expect![[r#"
        recorded     answers as the trace did; must reproduce it exactly
        none         the kernel without proxy execution
        pe-6.17      Linux 6.17: a waiter helps only an owner on its own runqueue
        pe-7.1       Linux 7.1: a waiter moves to its owner's CPU, and back when that CPU schedules
        pe-7.3       Linux 7.3: it moves back in its wakeup, and unlock gives it the mutex
        pe-chain     7.3, and a whole chain of waiters moves at once
        pe-sleeping  the full series: waiters stay with a sleeping owner
        pi           classic priority inheritance: the owner gets the waiter's priority

        Each mechanism can be switched: `resched replay --with A,B --without C`.

                               none  pe-6.17  pe-7.1  pe-7.3  pe-chain  pe-sleeping  pi
        proxy-execution           -      yes     yes     yes       yes          yes   -
        inheritance               -        -       -       -         -            - yes
        donor-migration           -        -     yes     yes       yes          yes   -
        chain-migration           -        -       -       -       yes          yes   -
        sleeping-owners           -        -       -       -         -          yes   -
        handoff                   -        -       -     yes       yes          yes   -
        return-in-wakeup          -        -       -     yes       yes          yes   -
        local-handoff-resched     -        -       -       -         -            -   -
        spinning                yes      yes     yes     yes       yes          yes yes
        unlock-window             -        -       -       -         -            -   -

        proxy-execution        mutex waiters lend their place on the runqueue to the owner
        inheritance            a mutex owner gets the priority of its most urgent waiter
        donor-migration        a donor moves to its owner's CPU; else it goes to sleep
        chain-migration        all waiters of a chain move in one step
        sleeping-owners        donors wait with a sleeping owner and come back with it
        handoff                unlock gives the mutex to the donor; else to whoever comes first
        return-in-wakeup       a moved donor goes home in its wakeup; else when next picked
        local-handoff-resched  unlock asks the donor's own CPU to reschedule
        spinning               contenders spin while the owner is on a CPU
        unlock-window          ns in which an unlock can be preempted: unlock-window=NS
    "#]]
    .assert_eq(&run.out);
}

/// Local hand-off is a loss only as long as unlock asks nobody to reschedule.
#[test]
fn a_mechanism_can_be_switched() {
    let folder = scratch("switched");
    let trace = fixture("recorded/localhandoff-full.dat");
    let mean = |args: &[&str]| {
        let run = resched(&folder, &[&["replay", &trace, "--json"], args].concat());
        let json: Value = serde_json::from_str(&run.out).expect("JSON");
        let tasks = json["comparison"]["tasks"].as_array().expect("tasks").clone();
        let donor = tasks.iter().find(|t| t["key"]["name"] == "donor").expect("the donor").clone();
        format!(
            "{}: {} ns\n",
            json["policy"].as_str().expect("a name"),
            donor["after"]["responses"]["mean_ns"]
        )
    };
    let all = mean(&[]) + &mean(&["--with", "local-handoff-resched"]);
    expect![[r#"
        pe-7.3: 1460265.900990099 ns
        pe-7.3+local-handoff-resched: 294717.88118811883 ns
    "#]]
    .assert_eq(&all);
}

/// One unlock that asks nobody to reschedule is found to be what costs the donor its time.
#[test]
fn a_loss_is_laid_at_one_mechanisms_door() {
    let folder = scratch("attributed");
    let trace = fixture("recorded/localhandoff-full.dat");
    let run = resched(&folder, &["replay", &trace, "--attribute", "--draws", "0"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let table = run.out.split("\n\n").last().expect("a table");
    expect![[r#"
                                         responses   inversion  migrations    switches  most changed
        without donor-migration                  =    +0.00 ms          +0          +0
        with chain-migration                     =    +0.00 ms          +0          +0
        with sleeping-owners                     =    +0.00 ms          +0          +0
        without handoff                          =    +0.00 ms          +0          +0
        without return-in-wakeup                 =    +0.00 ms          +0          +0
        with local-handoff-resched           -80 %    +0.00 ms          +0         +31  donor -80 %
        without spinning                         =    +0.00 ms          +0          +0
        each against pe-7.3: what is lost without it, or won with it
        donor-migration alone                    =    +0.00 ms          +0          +0
        chain-migration alone                    =    +0.00 ms          +0          +0
        sleeping-owners alone                    =    +0.00 ms          +0          +0
        handoff alone                            =    +0.00 ms          +0          +0
        return-in-wakeup alone                   =    +0.00 ms          +0          +0
        local-handoff-resched alone          -80 %    +0.00 ms          +0         +31  donor -80 %
        each against proxy execution on one runqueue with none of them
    "#]]
    .assert_eq(table);
    let refused = resched(&folder, &["replay", &trace, "--attribute", "--policy", "none"]);
    assert_eq!(refused.code, 2);
    expect![[r#"
        resched: --attribute takes proxy execution apart, and none has none
    "#]]
    .assert_eq(&refused.err);
}

/// The interval holds what another seed would have answered, and more draws change no prediction.
#[test]
fn predictions_carry_an_interval() {
    let folder = scratch("intervals");
    let trace = fixture("recorded/classic3-full.dat");
    let of = |draws: &str| {
        let run = resched(&folder, &["replay", &trace, "--json", "--draws", draws]);
        serde_json::from_str::<Value>(&run.out).expect("JSON")
    };
    let (none, some) = (of("0"), of("5"));
    assert_eq!(none["comparison"], some["comparison"]);
    assert_eq!(none["intervals"]["tasks"], serde_json::json!([]));
    let tasks = some["intervals"]["tasks"].as_array().expect("tasks").clone();
    let high = tasks.iter().find(|t| t["key"]["name"] == "high").expect("high").clone();
    let end = |end: &str| high["response"][end].as_f64().expect("an end");
    let pairs = some["comparison"]["tasks"].as_array().expect("tasks").clone();
    let pair = pairs.iter().find(|t| t["key"]["name"] == "high").expect("high").clone();
    let mean = |side: &str| pair[side]["responses"]["mean_ns"].as_f64().expect("a mean");
    let change = mean("after") / mean("before") - 1.0;
    assert!(end("low") < change && change < end("high"), "{high}: {change}");
    assert!(end("low") > -1.0 && end("high") < -0.5, "proxy execution cures this: {high}");
}

/// What a replay would take from the recording is said before one asks for a replay.
#[test]
fn info_says_what_is_calibrated() {
    let file = fixture("recorded/classic3-full.dat");
    let run = resched(&scratch("calibrated"), &["info", &file]);
    let lines: Vec<&str> = run.out.lines().filter(|l| l.starts_with("calibrated")).collect();
    expect![[r#"
        calibrated:    --cost wake-busy=19480,wake-idle=15976,wake-deep=16004,slice-end=14256,lock-contended=0,lock-sleep=13564,lock-wake=7548,buffer-sleep=0,buffer-wake=0,buffer-tell=0 (nanoseconds)
        calibrated:    the steadiest loop varies by 0.6 %"#]].assert_eq(&lines.join("\n"));
    let json = json(&["info", &file, "--json"]);
    assert_eq!(json["calibrated"]["hz"], 1000);
}

/// The baseline is compared in more than responses.
#[test]
fn the_baseline_is_compared_with_the_recording() {
    let file = fixture("recorded/classic3-full.dat");
    let run = resched(&scratch("baseline"), &["replay", &file, "--draws", "0"]);
    let line = run.out.lines().find(|l| l.contains("all tasks against")).unwrap_or_default();
    expect!["all tasks against the recording: lock waits +32 %, run delays +4 %, switches -1 %, wakeups -1 %, CPU time +0 %"]
        .assert_eq(line.trim());
}

/// The seed chooses what is drawn and written, and not whether the answer can be trusted.
#[test]
fn trust_is_the_same_with_any_seed() {
    let file = fixture("recorded/classic3-contention.dat");
    let trust = |seed: &str, against: &str| {
        let asked = ["--policy", "pe-7.3", "--draws", "2", "--seed", seed, "--against", against];
        json(&[&["replay", &file][..], &asked, &["--json"]].concat())["trust"].clone()
    };
    let first = trust("0", "none");
    assert_ne!(first["median_response_error"], Value::Null);
    assert_eq!(first, trust("9", "none"));
    assert_eq!(first, trust("9", "pe-7.1"));
}

/// The table shows the ratio of the means of all draws, and each draw has its own seed.
#[test]
fn the_prediction_is_the_mean_of_the_draws() {
    let file = fixture("recorded/classic3-full.dat");
    let means = |draws: &str| {
        let answer = json(&["replay", &file, "--draws", draws, "--json"]);
        let tasks = answer["intervals"]["tasks"].as_array().cloned().unwrap_or_default();
        let high = tasks.into_iter().find(|t| t["key"]["name"] == "high").unwrap_or_default();
        let mean = |side: &str| high["response_mean"][side].as_f64();
        Some((mean("before")?, mean("after")?))
    };
    let (one, three) = (means("1").expect("a mean"), means("3").expect("a mean"));
    assert!(one.0 > one.1 && three.0 > three.1, "{one:?} {three:?}");
    assert!((one.0 - three.0).abs() > 1.0, "other draws, another mean: {one:?} {three:?}");
    assert_eq!(means("0"), None);
    let run = resched(&scratch("means"), &["replay", &file, "--draws", "3"]);
    assert!(run.out.contains("\nmeans of 3 replays each"), "{}", run.out);
    let row = run.out.lines().find(|l| l.starts_with("high")).unwrap_or_default();
    for mean in [three.0, three.1] {
        // Cut off behind the microseconds, as all times are.
        let shown = format!("{:.3} ms", (mean.round() / 1e3).floor() / 1e3);
        assert!(row.contains(&shown), "{shown} in {row}");
    }
    let one = resched(&scratch("no-means"), &["replay", &file, "--draws", "0"]);
    assert!(!one.out.contains("means of"), "{}", one.out);
}
