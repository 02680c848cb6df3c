//! Reads how much of this machine is in use: all of it, not only what muster runs. Decides nothing by
//! it.

use std::fs;

/// Remembers what the kernel had counted at the last look.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Time in all, and idle, in the kernel's ticks.
    before: Option<(u64, u64)>,
}

impl Gauge {
    /// What part of the CPU since the last look, or of the memory now, whichever is more, is in use;
    /// none when the kernel does not say.
    pub(super) fn part_in_use(&mut self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let memory = fs::read_to_string("/proc/meminfo").ok()?;
        self.of(&stat, &memory)
    }

    fn of(&mut self, stat: &str, memory: &str) -> Option<f64> {
        let memory = memory_in_use(memory)?;
        let now = cpu_time(stat)?;
        let (all, idle) = self.before.replace(now).unwrap_or(now);
        let (all, idle) = (now.0.saturating_sub(all), now.1.saturating_sub(idle));
        let cpu = if all == 0 { 0.0 } else { 1.0 - idle.min(all) as f64 / all as f64 };
        Some(cpu.max(memory))
    }
}

/// Ticks in all and idle, of all CPUs: idle and waiting for a disk are the fourth and fifth number.
/// Time of guests, the ninth and tenth, is in that of users already.
fn cpu_time(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Option<Vec<u64>> =
        line.split_whitespace().take(8).map(|number| number.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() >= 5)?;
    Some((ticks.iter().sum(), ticks[3] + ticks[4]))
}

fn memory_in_use(text: &str) -> Option<f64> {
    let value = |key: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let (all, available) = (value("MemTotal:")?, value("MemAvailable:")?);
    (all > 0.0).then(|| 1.0 - available / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_in_use_counts() {
        let memory =
            |free| format!("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  {free} kB\n");
        let mut gauge = Gauge::default();
        let first = gauge.of("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1\n", &memory(900));
        assert!((first.unwrap() - 0.1).abs() < 1e-9, "no time has passed: {first:?}");
        let busy = gauge.of("cpu  170 0 110 715 105 0 0 0 60 0\n", &memory(900));
        assert!((busy.unwrap() - 0.8).abs() < 1e-9, "{busy:?}");
        let full = gauge.of("cpu  170 0 110 815 105 0 0 0 60 0\n", &memory(50));
        assert!((full.unwrap() - 0.95).abs() < 1e-9, "{full:?}");
    }

    #[test]
    fn this_kernel_says_so_and_a_strange_one_is_no_reason_to_panic() {
        assert!(Gauge::default().part_in_use().is_some());
        for (stat, memory) in [("", ""), ("cpu  a b\n", "MemTotal: 1 kB"), ("cpu  1 2\n", "x")] {
            assert_eq!(Gauge::default().of(stat, memory), None);
        }
    }
}
