//! Boot parameters and build options of the kernel, and what follows from the two.

use std::collections::BTreeMap;

/// Build options by `CONFIG_` name; `n` for those said to be unset.
pub(super) type Config = BTreeMap<String, String>;

/// Options that bear on scheduling: names that begin so.
const RELEVANT: [&str; 17] = [
    "CONFIG_SCHED_",
    "CONFIG_PREEMPT",
    "CONFIG_ARCH_HAS_PREEMPT_LAZY",
    "CONFIG_HZ",
    "CONFIG_NO_HZ",
    "CONFIG_HIGH_RES_TIMERS",
    "CONFIG_FAIR_GROUP_SCHED",
    "CONFIG_CGROUP_SCHED",
    "CONFIG_CFS_BANDWIDTH",
    "CONFIG_RT_",
    "CONFIG_MUTEX_SPIN_ON_OWNER",
    "CONFIG_RWSEM_SPIN_ON_OWNER",
    "CONFIG_LOCK_SPIN_ON_OWNER",
    "CONFIG_UCLAMP",
    "CONFIG_NUMA_BALANCING",
    "CONFIG_SMP",
    "CONFIG_NUMA",
];

/// Boot parameters that bear on scheduling: names that begin so. The rest may be private.
const PARAMETERS: [&str; 9] = [
    "sched",
    "preempt",
    "isolcpus",
    "nohz",
    "noautogroup",
    "threadirqs",
    "rcu_nocbs",
    "nosmt",
    "maxcpus",
];

/// The options that bear on scheduling.
pub(super) fn config(text: &str) -> Config {
    let option = |line: &str| {
        let unset = line.strip_prefix("# ").and_then(|l| l.strip_suffix(" is not set"));
        let (name, value) = unset.map(|name| (name, "n")).or_else(|| line.split_once('='))?;
        let is_relevant = RELEVANT.iter().any(|r| name.starts_with(r));
        is_relevant.then(|| (name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(|line| option(line.trim_end())).collect()
}

/// Whether an option is built in.
pub(super) fn has(config: &Config, name: &str) -> bool {
    config.get(name).is_some_and(|value| value == "y")
}

/// The parameters that bear on scheduling, as given. Those behind `--` are not the kernel's.
pub(super) fn parameters(command_line: &str) -> Vec<String> {
    let all = command_line.split_ascii_whitespace().take_while(|p| *p != "--");
    all.filter(|p| PARAMETERS.iter().any(|name| p.starts_with(name))).map(str::to_owned).collect()
}

/// Major and minor number of a release.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.trim().split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What a kernel says of itself before it is asked about scheduling.
#[derive(Clone, Debug, Default)]
pub(super) struct Boot {
    /// `None` when it could not be read.
    pub(super) config: Option<Config>,
    /// As [`parameters`] gives them.
    pub(super) parameters: Vec<String>,
    /// As [`version`] gives it.
    pub(super) version: Option<(u32, u32)>,
    /// The text of `uname -v`.
    pub(super) build: String,
}

/// Whether proxy execution is on, and how that is known; `None` when it is not.
///
/// No file of a running kernel tells: debugfs lists it neither under `features` nor elsewhere.
///
/// # Source
///
/// `setup_proxy_exec` in `kernel/sched/core.c`, Linux 7.3: on by default where
/// `CONFIG_SCHED_PROXY_EXEC` is set, a parameter that is no boolean changes nothing, the last
/// of several decides. The option came with 6.17.
pub(super) fn proxy_execution(boot: &Boot) -> Option<(bool, &'static str)> {
    let parameter = boot.parameters.iter().filter_map(|p| proxy_parameter(p)).next_back();
    let is_older = boot.version.is_some_and(|v| v < (6, 17));
    let built = boot.config.as_ref().map(|c| has(c, "CONFIG_SCHED_PROXY_EXEC"));
    match (built, parameter) {
        (Some(false), _) => Some((false, "built without CONFIG_SCHED_PROXY_EXEC")),
        (Some(true), Some(on)) => Some((on, "boot parameter sched_proxy_exec")),
        (Some(true), None) => Some((true, "CONFIG_SCHED_PROXY_EXEC and no boot parameter")),
        (None, _) if is_older => Some((false, "kernels before 6.17 cannot")),
        (None, Some(on)) => {
            Some((on, "boot parameter sched_proxy_exec; the build options are not readable"))
        }
        (None, None) => None,
    }
}

/// The value of `sched_proxy_exec`, as `kstrtobool` reads it.
fn proxy_parameter(parameter: &str) -> Option<bool> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, "1"));
    if name.replace('-', "_") != "sched_proxy_exec" {
        return None;
    }
    match value.as_bytes() {
        [b'y' | b'Y' | b't' | b'T' | b'1', ..] | [b'o' | b'O', b'n' | b'N', ..] => Some(true),
        [b'n' | b'N' | b'f' | b'F' | b'0', ..] | [b'o' | b'O', b'f' | b'F', ..] => Some(false),
        _ => None,
    }
}

/// The preemption model where debugfs does not tell, and how it is known.
///
/// # Source
///
/// `sched_dynamic_mode`, `preempt_dynamic_init` in `kernel/sched/core.c`, Linux 7.3: with
/// `CONFIG_PREEMPT_DYNAMIC` the last valid `preempt=` decides, else the option chosen when
/// building; `lazy` needs `CONFIG_ARCH_HAS_PREEMPT_LAZY`, and with that kernels from 7.0 on
/// have neither `none` nor `voluntary`.
pub(super) fn preemption(boot: &Boot) -> Option<(&'static str, String)> {
    let is_dynamic = match &boot.config {
        Some(config) => has(config, "CONFIG_PREEMPT_DYNAMIC"),
        None => boot.build.contains("PREEMPT_DYNAMIC"),
    };
    if is_dynamic {
        let asked = boot.parameters.iter().filter_map(|p| p.strip_prefix("preempt="));
        if let Some(model) = asked.filter_map(|name| allowed_model(boot, name)).next_back() {
            return Some((model, format!("boot parameter preempt={model}")));
        }
    }
    let Some(config) = &boot.config else {
        let is_full = |word| matches!(word, "PREEMPT" | "PREEMPT_RT");
        return match boot.build.split_ascii_whitespace().find(|w| w.starts_with("PREEMPT")) {
            Some(word) if is_full(word) => Some(("full", format!("{word} in uname -v"))),
            Some("PREEMPT_LAZY") => Some(("lazy", "PREEMPT_LAZY in uname -v".to_owned())),
            // The default of a dynamic kernel, and whether one without the word is voluntary,
            // only its build options tell.
            _ => None,
        };
    };
    let built = [
        ("CONFIG_PREEMPT_LAZY", "lazy"),
        ("CONFIG_PREEMPT_RT", "full"),
        ("CONFIG_PREEMPT_NONE", "none"),
        ("CONFIG_PREEMPT_VOLUNTARY", "voluntary"),
        ("CONFIG_PREEMPT", "full"),
    ];
    let chosen = built.into_iter().find(|(option, _)| has(config, option));
    chosen.map(|(option, model)| (model, format!("built with {option}")))
}

/// The model of that name, if the kernel lets a parameter choose it.
fn allowed_model(boot: &Boot, name: &str) -> Option<&'static str> {
    let config = boot.config.as_ref();
    let is_set = |option| config.map(|c| has(c, option));
    let has_lazy = is_set("CONFIG_ARCH_HAS_PREEMPT_LAZY");
    let is_recent = boot.version.is_some_and(|v| v >= (7, 0));
    let is_coarse =
        is_set("CONFIG_PREEMPT_RT") == Some(true) || (is_recent && has_lazy == Some(true));
    match name {
        "full" => Some("full"),
        "none" if !is_coarse => Some("none"),
        "voluntary" if !is_coarse => Some("voluntary"),
        "lazy" if has_lazy != Some(false) => Some("lazy"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
