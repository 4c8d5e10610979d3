//! The kernel: release, build options, preemption model, what its scheduler is set to.

use super::boot::{self, Boot};
use super::source::{Sources, not_understood};
use trace_formats::Host;

const DEBUG: &str = "/sys/kernel/debug/sched";

/// Fills in what the kernel says of itself and its scheduler.
pub(super) fn read(sources: &mut Sources<'_>, host: &mut Host) {
    let release = sources.text("/proc/sys/kernel/osrelease").map(|t| t.trim().to_owned());
    let boot = Boot {
        config: build_options(sources, release.as_deref()),
        parameters: sources.text("/proc/cmdline").map_or_else(Vec::new, |t| boot::parameters(&t)),
        version: release.as_deref().and_then(boot::version),
        build: sources.text("/proc/sys/kernel/version").unwrap_or_default(),
    };
    host.kernel = release;
    hz(sources, &boot, host);
    preemption(sources, &boot, host);
    if let Some((on, how)) = boot::proxy_execution(&boot) {
        host.proxy_execution = Some(on);
        derive(host, "proxy_execution", how);
    }
    settings(sources, host);
    host.config = boot.config.unwrap_or_default();
    host.boot_parameters = boot.parameters;
}

fn derive(host: &mut Host, field: &str, how: &str) {
    host.derived.insert(field.to_owned(), how.to_owned());
}

/// Build options, from the first place that has them.
fn build_options(sources: &mut Sources<'_>, release: Option<&str>) -> Option<boot::Config> {
    let mut places = vec!["/proc/config.gz".to_owned()];
    // A release is part of a path here.
    if let Some(release) = release.filter(|r| !r.is_empty() && !r.contains('/')) {
        places.push(format!("/boot/config-{release}"));
        places.push(format!("/lib/modules/{release}/config"));
    }
    for place in &places {
        let text = sources.try_bytes(place).map_err(|e| e.to_string());
        let text = text.and_then(|b| Host::config_text(&b).map_err(|e| e.kind.to_string()));
        let options = text.map(|t| boot::config(&t));
        match options {
            Ok(options) if !options.is_empty() => return Some(options),
            Ok(_) => sources.list(place, "no option of the scheduler is in it"),
            Err(_) if !sources.resolve(place).exists() => {}
            Err(error) => sources.list(place, &error),
        }
    }
    sources.list(&places.join(", "), "none has the kernel's build options");
    None
}

/// Ticks per second: as built, else from the resolution of the clock that only ticks advance.
fn hz(sources: &mut Sources<'_>, boot: &Boot, host: &mut Host) {
    let built = boot.config.as_ref().and_then(|c| c.get("CONFIG_HZ")?.parse().ok());
    host.hz = built.filter(|hz| *hz > 0);
    if host.hz.is_some() {
        return;
    }
    let tick =
        (sources.roots.calls.tick_ns)().ok().filter(|ns| (100_000..=100_000_000).contains(ns));
    let rounded = tick.map(|ns| (1_000_000_000 + ns / 2) / ns);
    host.hz = rounded.and_then(|hz| u32::try_from(hz).ok());
    if host.hz.is_some() {
        derive(host, "hz", "resolution of CLOCK_MONOTONIC_COARSE");
    }
}

fn preemption(sources: &mut Sources<'_>, boot: &Boot, host: &mut Host) {
    let path = format!("{DEBUG}/preempt");
    if let Some(text) = sources.probe(&path) {
        host.preemption = chosen(&text).map(str::to_owned);
        if host.preemption.is_none() {
            sources.list(&path, &not_understood(&text));
        }
    }
    if host.preemption.is_none()
        && let Some((model, how)) = boot::preemption(boot)
    {
        host.preemption = Some(model.to_owned());
        derive(host, "preemption", &how);
    }
    let realtime = sources.probe("/sys/kernel/realtime").map(|t| t.trim() == "1");
    let built = boot.config.as_ref().map(|c| boot::has(c, "CONFIG_PREEMPT_RT"));
    let said = boot.build.split_ascii_whitespace().any(|w| w == "PREEMPT_RT").then_some(true);
    host.preempt_rt = realtime.filter(|on| *on).or(built).or(said);
}

/// The word in parentheses: `none voluntary (full)`.
fn chosen(text: &str) -> Option<&str> {
    let word = text.split_once('(')?.1.split_once(')')?.0;
    matches!(word, "none" | "voluntary" | "full" | "lazy").then_some(word)
}

/// What the scheduler is set to, in debugfs and among the sysctls.
fn settings(sources: &mut Sources<'_>, host: &mut Host) {
    let path = format!("{DEBUG}/features");
    if let Some(text) = sources.text(&path) {
        match features(&text) {
            Some(features) => host.features = features,
            None => sources.list(&path, &not_understood(&text)),
        }
    }
    host.base_slice_ns = sources.number(&format!("{DEBUG}/base_slice_ns"));
    host.migration_cost_ns = sources.number(&format!("{DEBUG}/migration_cost_ns"));
    host.nr_migrate = sources.number(&format!("{DEBUG}/nr_migrate"));
    host.rt_period_us = sources.number("/proc/sys/kernel/sched_rt_period_us");
    host.rt_runtime_us = sources.number("/proc/sys/kernel/sched_rt_runtime_us");
    host.rr_timeslice_ms = sources.number("/proc/sys/kernel/sched_rr_timeslice_ms");
    host.autogroup = autogroup(sources);
}

/// Off where the kernel has no such setting.
fn autogroup(sources: &mut Sources<'_>) -> Option<bool> {
    let folder = "/proc/sys/kernel";
    let path = format!("{folder}/sched_autogroup_enabled");
    let is_absent = !sources.resolve(&path).exists() && sources.resolve(folder).is_dir();
    if is_absent {
        return Some(false);
    }
    sources.number::<u8>(&path).map(|n| n != 0)
}

/// `PLACE_LAG NO_HRTICK`: the names in lower case, false with `NO_`.
fn features(text: &str) -> Option<std::collections::BTreeMap<String, bool>> {
    let is_name = |word: &str| {
        word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let feature = |word: &str| {
        let off = word.strip_prefix("NO_");
        is_name(word).then(|| (off.unwrap_or(word).to_lowercase(), off.is_none()))
    };
    let features: Option<std::collections::BTreeMap<_, _>> =
        text.split_ascii_whitespace().map(feature).collect();
    features.filter(|f| !f.is_empty())
}
