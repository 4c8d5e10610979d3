//! Kernels that were built and booted in different ways.

use super::*;

/// A kernel: release, `uname -v`, build options (`-` when not readable), command line.
fn boot(release: &str, build: &str, options: &str, command_line: &str) -> Boot {
    let text: String = options.split(' ').map(|o| format!("CONFIG_{o}=y\n")).collect();
    Boot {
        config: (options != "-").then(|| config(&text)),
        parameters: parameters(command_line),
        version: version(release),
        build: build.to_owned(),
    }
}

fn proxy(release: &str, options: &str, command_line: &str) -> Option<bool> {
    proxy_execution(&boot(release, "", options, command_line)).map(|(on, _)| on)
}

#[test]
fn proxy_execution_is_on_where_built_in_unless_refused() {
    let built = "SCHED_PROXY_EXEC";
    assert_eq!(proxy("7.3.0-rc7", built, "quiet"), Some(true));
    for off in ["=0", "=n", "=No", "=off", "=F"] {
        assert_eq!(proxy("7.3.0", built, &format!("sched_proxy_exec{off}")), Some(false), "{off}");
    }
    for on in ["", "=1", "=y", "=on", "=tea", "=2", "=", "=oops"] {
        assert_eq!(proxy("7.3.0", built, &format!("sched_proxy_exec{on}")), Some(true), "{on}");
    }
    assert_eq!(proxy("7.3.0", built, "sched-proxy-exec=0"), Some(false));
    assert_eq!(proxy("7.3.0", built, "sched_proxy_exec=0 sched_proxy_exec=1"), Some(true));
    assert_eq!(proxy("7.3.0", built, "sched_proxy_exec=0 sched_proxy_exec=?"), Some(false));
    assert_eq!(proxy("7.3.0", built, "quiet -- sched_proxy_exec=0"), Some(true));
}

#[test]
fn proxy_execution_is_off_where_not_built_in_and_else_unknown() {
    assert_eq!(proxy("7.3.0", "SMP", "sched_proxy_exec=1"), Some(false));
    assert_eq!(proxy("6.16.12", "-", "sched_proxy_exec=1"), Some(false));
    assert_eq!(proxy("6.17", "-", "sched_proxy_exec=1"), Some(true));
    assert_eq!(proxy("6.17-rc1", "-", "sched_proxy_exec=0"), Some(false));
    assert_eq!(proxy("6.17.1", "-", ""), None);
    assert_eq!(proxy("garbage", "-", ""), None);
}

fn model(boot: &Boot) -> String {
    preemption(boot).map_or("unknown".to_owned(), |(model, how)| format!("{model}: {how}"))
}

#[test]
fn a_dynamic_kernel_preempts_as_asked_else_as_built() {
    let dynamic = "PREEMPT_DYNAMIC PREEMPT_NONE PREEMPT_BUILD";
    let asked = |release, options, line| model(&boot(release, "", options, line));
    assert_eq!(asked("6.18", dynamic, ""), "none: built with CONFIG_PREEMPT_NONE");
    assert_eq!(asked("6.18", dynamic, "preempt=full"), "full: boot parameter preempt=full");
    assert_eq!(
        asked("6.18", dynamic, "preempt=full preempt=voluntary preempt=x"),
        "voluntary: boot parameter preempt=voluntary"
    );
    assert_eq!(asked("6.18", dynamic, "preempt=lazy"), "none: built with CONFIG_PREEMPT_NONE");
    let lazy = "PREEMPT_DYNAMIC PREEMPT_LAZY ARCH_HAS_PREEMPT_LAZY";
    assert_eq!(asked("7.3", lazy, "preempt=lazy"), "lazy: boot parameter preempt=lazy");
    assert_eq!(asked("7.3", lazy, "preempt=none"), "lazy: built with CONFIG_PREEMPT_LAZY");
    assert_eq!(asked("6.19", lazy, "preempt=none"), "none: boot parameter preempt=none");
}

#[test]
fn other_kernels_preempt_as_built_whatever_was_asked() {
    let built = |options| model(&boot("6.12", "", options, "preempt=none"));
    assert_eq!(built("PREEMPT"), "full: built with CONFIG_PREEMPT");
    assert_eq!(built("PREEMPT_VOLUNTARY"), "voluntary: built with CONFIG_PREEMPT_VOLUNTARY");
    assert_eq!(built("PREEMPT_RT"), "full: built with CONFIG_PREEMPT_RT");
    assert_eq!(built("PREEMPT_RT PREEMPT_LAZY"), "lazy: built with CONFIG_PREEMPT_LAZY");
    assert_eq!(built("SMP"), "unknown");
}

#[test]
fn without_build_options_the_build_text_must_do() {
    let said = |build, line| model(&boot("6.12", build, "-", line));
    let dynamic = "#1 SMP PREEMPT_DYNAMIC Thu Jan 1";
    assert_eq!(said(dynamic, "preempt=full"), "full: boot parameter preempt=full");
    assert_eq!(said(dynamic, ""), "unknown");
    assert_eq!(said("#1 SMP PREEMPT Thu Jan 1", "preempt=none"), "full: PREEMPT in uname -v");
    assert_eq!(said("#1 SMP PREEMPT_RT Thu", ""), "full: PREEMPT_RT in uname -v");
    assert_eq!(said("#1 SMP Thu", ""), "unknown");
}

#[test]
fn options_that_do_not_bear_on_scheduling_are_left_out() {
    let text = "# Timers\nCONFIG_HZ=250\n# CONFIG_SCHED_CORE is not set\nCONFIG_EXT4_FS=y\n\
                CONFIG_SCHED_X=\"a=b\"\nCONFIG_NUMA";
    let expected = [("CONFIG_HZ", "250"), ("CONFIG_SCHED_CORE", "n"), ("CONFIG_SCHED_X", "a=b")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(config(text), Config::from(expected));
}

#[test]
fn private_boot_parameters_are_left_out() {
    let line = "root=/dev/sda1 isolcpus=2-3 password=x nohz_full=2 quiet -- preempt=full";
    assert_eq!(parameters(line), ["isolcpus=2-3", "nohz_full=2"]);
}
