//! Scores owners without contended_release against those with.
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
    r.events.retain(|e| !matches!(e.kind, SchedEvent::ContendedRelease { .. }));
    let without = assemble(&r, host.as_ref());
    let mut score: BTreeMap<(String, u16, String), f64> = BTreeMap::new();
    let mut shown = 0;
    for (x, y) in with.waits.iter().zip(&without.waits) {
        if x.kind != LockKind::Mutex {
            continue;
        }
        for sx in &x.ownership {
            for sy in &y.ownership {
                let (f, t) = (sx.from.max(sy.from), sx.to.min(sy.to));
                if f >= t {
                    continue;
                }
                let k = match (sx.owner, sy.owner) {
                    (a, b) if a == b => "right",
                    (Ownership::Free, Ownership::Held(_)) => "said held, free",
                    (Ownership::Held(_), Ownership::Free) => "said free, held",
                    (_, Ownership::Unknown) => "unknown",
                    (Ownership::Unknown, _) => "?",
                    _ => "wrong owner",
                };
                let ms = t.since(f).0 as f64 / 1e6;
                *score.entry((format!("{:?}", sx.basis), sy.permille, k.into())).or_default() += ms;
                if ms > 0.05 && k != "right" && shown < 30 && a.len() > 2 && k.contains(&a[2]) {
                    shown += 1;
                    let n = |o: Ownership| match o {
                        Ownership::Held(t) => {
                            format!("{}/{}", with.name(t), with.task(t).info.tid.0)
                        }
                        o => format!("{o:?}"),
                    };
                    println!(
                        "wait {:.6} {:.6}..{:.6} {}/{} until {:.6}: is {} said {} ({}) {k}",
                        x.begin.0 as f64 / 1e9,
                        f.0 as f64 / 1e9,
                        t.0 as f64 / 1e9,
                        with.name(x.waiter),
                        with.task(x.waiter).info.tid.0,
                        x.until.0 as f64 / 1e9,
                        n(sx.owner),
                        n(sy.owner),
                        sy.permille
                    );
                }
            }
        }
    }
    for (k, v) in score {
        println!("{k:?} {v:.1} ms");
    }
}
