//! Prints lines.
use model::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&a[1]).unwrap();
    let mut r = trace_formats::read(&bytes).unwrap();
    let host = std::fs::read_to_string(format!("{}.host.json", a[1]))
        .ok()
        .map(|t| Host::from_json(&t).unwrap());
    r.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    let t = assemble(&r, host.as_ref());
    let (from, to): (f64, f64) = (a[3].parse().unwrap(), a[4].parse().unwrap());
    for (id, l) in &t.locks {
        if !id.to_string().ends_with(&a[2]) {
            continue;
        }
        for s in &l.ownership {
            let (x, y) = (s.from.0 as f64 / 1e9, s.to.0 as f64 / 1e9);
            if y < from || x > to {
                continue;
            }
            let o = match s.owner {
                Ownership::Held(t2) => format!("{}/{}", t.name(t2), t.task(t2).info.tid.0),
                o => format!("{o:?}"),
            };
            println!("{x:.6}..{y:.6} {o} {:?} {}", s.basis, s.permille);
        }
    }
}
