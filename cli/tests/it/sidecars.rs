//! What a sidecar says and the recording contradicts: a note, and an answer all the same.

use crate::{resched, scratch};

const TRACE: &str = "\
# tracer: nop
#
 <idle>-0 [000] d..2. 10.000000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=tog next_pid=5 next_prio=120
 tog-5 [000] d..2. 10.001000: sched_switch: prev_comm=tog prev_pid=5 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
 <idle>-0 [000] d.h2. 10.002000: sched_waking: comm=tog pid=5 prio=120 target_cpu=000
 <idle>-0 [000] d..2. 10.003000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=tog next_pid=5 next_prio=120
 tog-5 [000] d..2. 10.004000: sched_switch: prev_comm=tog prev_pid=5 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
";

#[test]
fn an_affinity_that_changed_is_said_and_replayed() {
    let folder = scratch("affinity");
    std::fs::write(folder.join("t.txt"), TRACE).expect("written");
    let note = |allowed: &str| {
        let host = format!(r#"{{"cpus": [0, 1], "tasks": [{{"tid": 5, "affinity": {allowed}}}]}}"#);
        std::fs::write(folder.join("t.txt.host.json"), host).expect("written");
        for command in ["replay", "explain", "compare"] {
            let run = resched(&folder, &[command, "t.txt"]);
            assert_eq!(run.code, 3, "{command}: no lock events: {}", run.err);
            assert!(
                run.err.starts_with("note: t.txt: the sidecar allows tog (5) on "),
                "{}",
                run.err
            );
        }
        resched(&folder, &["replay", "t.txt"]).err
    };
    assert!(
        note("[1]").contains("on CPU 1, and the recording shows it on CPU 0: an affinity that")
    );
    assert!(note("[]").contains("on no CPU at all, and the recording has none of these: taken as"));
    assert!(note("[7, 8]").contains("on CPUs 7-8, and the recording has none of these: taken as"));
}
