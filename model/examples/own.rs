//! Scores owners.
use model::*;
use std::collections::BTreeMap;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&a[1]).unwrap();
    let mut r = trace_formats::read(&bytes).unwrap();
    let host = std::fs::read_to_string(format!("{}.host.json", a[1]))
        .ok()
        .map(|t| Host::from_json(&t).unwrap());
    let with = assemble(&r, host.as_ref());
    r.events.retain(|e| !matches!(e.kind, SchedEvent::LockOwner { .. }));
    let without = assemble(&r, host.as_ref());
    let mut score: BTreeMap<(String, u16, String), u32> = BTreeMap::new();
    let mut shown = 0;
    let key = |t: &Trace, w: &LockWait| (w.begin, t.task(w.waiter).info.tid, w.lock);
    let ys: BTreeMap<_, _> = without.waits.iter().map(|w| (key(&without, w), w)).collect();
    for x in &with.waits {
        let Some(y) = ys.get(&key(&with, x)) else { continue };

        if x.kind != LockKind::Mutex {
            continue;
        }
        for p in &x.phases {
            let (Some(sx), Some(sy)) = (x.owner_at(p.from), y.owner_at(p.from)) else { continue };
            if sx.basis != Basis::Exact {
                continue;
            }
            let k = match (sx.owner, sy.owner) {
                (Ownership::Held(a), Ownership::Held(b))
                    if with.task(a).info.tid == without.task(b).info.tid =>
                {
                    "right"
                }
                (Ownership::Free, Ownership::Free) => "right",
                (Ownership::Free, Ownership::Held(_)) => "said held, free",
                (Ownership::Held(_), Ownership::Free) => "said free, held",
                (_, Ownership::Unknown) => "unknown",
                _ => "wrong owner",
            };
            *score.entry((format!("{:?}", p.kind), sy.permille, k.into())).or_default() += 1;
            if k != "right" && shown < 40 && a.len() > 2 && k.contains(&a[2]) {
                shown += 1;
                let n = |o: Ownership| match o {
                    Ownership::Held(t) => format!("{}/{}", with.name(t), with.task(t).info.tid.0),
                    o => format!("{o:?}"),
                };
                println!(
                    "{:.6} {}/{} {:?} until {:.6}: is {} said {} ({}) {k}",
                    p.from.0 as f64 / 1e9,
                    with.name(x.waiter),
                    with.task(x.waiter).info.tid.0,
                    p.kind,
                    x.until.0 as f64 / 1e9,
                    n(sx.owner),
                    n(sy.owner),
                    sy.permille
                );
            }
        }
    }
    for (k, v) in score {
        println!("{k:?} {v}");
    }
}
