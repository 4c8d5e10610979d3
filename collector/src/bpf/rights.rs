//! Whether this process may load BPF programs, as far as its capabilities tell.

/// Capabilities are necessary, not sufficient: containers and lockdown can still refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`.
    Enough,
    /// Not these.
    Missing,
    /// `/proc` does not tell.
    Unknown,
}

// Numbers from `include/uapi/linux/capability.h`.
const SYS_ADMIN: u64 = 1 << 21;
const BPF_AND_PERFMON: u64 = 1 << 38 | 1 << 39;

impl Rights {
    /// Those in effect now.
    #[must_use]
    pub fn of_this_process() -> Self {
        std::fs::read_to_string("/proc/self/status").map_or(Self::Unknown, |text| Self::of(&text))
    }

    /// Reads the line `CapEff` of a `/proc/PID/status`.
    fn of(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let Some(effective) = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        else {
            return Self::Unknown;
        };
        let enough = effective & SYS_ADMIN != 0 || effective & BPF_AND_PERFMON == BPF_AND_PERFMON;
        if enough { Self::Enough } else { Self::Missing }
    }
}

#[cfg(test)]
mod tests {
    use super::Rights;

    #[test]
    fn root_and_the_two_capabilities_suffice_one_of_them_does_not() {
        let of = |bits: &str| Rights::of(&format!("Name:\tx\nCapEff:\t{bits}\nCapBnd:\t0\n"));
        assert_eq!(of("000001ffffffffff"), Rights::Enough);
        assert_eq!(of("000000c000000000"), Rights::Enough);
        assert_eq!(of("0000000000200000"), Rights::Enough);
        assert_eq!(of("0000004000000000"), Rights::Missing);
        assert_eq!(of("0000000000000000"), Rights::Missing);
        assert_eq!(of("many"), Rights::Unknown);
        assert_eq!(Rights::of(""), Rights::Unknown);
    }
}
