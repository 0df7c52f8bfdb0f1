//! The process, under the names that Prometheus' own clients use. Where the system has no `/proc`,
//! only its start time is exported.

use std::fs;

use engine::exposition::{Exposition, MetricKind};

/// How many parts of a second Linux counts CPU time in, for programs (`USER_HZ`): the same on every
/// machine that Weir runs on.
const TICKS: f64 = 100.0;

/// Writes the system's figures on this process.
pub(super) fn write(started: u64, text: &mut Exposition) {
    text.gauge(
        "process_start_time_seconds",
        "Start time, as a Unix timestamp in seconds.",
        started,
    );
    if let Some(seconds) = cpu_seconds(&read("stat")) {
        let values: [(&[_], f64); 1] = [(&[], seconds)];
        text.numbers(
            "process_cpu_seconds_total",
            "CPU time in user and system mode.",
            MetricKind::Counter,
            values,
        );
    }
    let status = read("status");
    if let Some(kilobytes) = number(&status, "VmRSS:") {
        text.gauge("process_resident_memory_bytes", "Resident memory.", kilobytes * 1024);
    }
    if let Some(kilobytes) = number(&status, "VmSize:") {
        text.gauge("process_virtual_memory_bytes", "Virtual memory.", kilobytes * 1024);
    }
    if let Some(threads) = number(&status, "Threads:") {
        text.gauge("process_threads", "Threads of the operating system.", threads);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is read.
        text.gauge("process_open_fds", "Open files and sockets.", files.count().saturating_sub(1));
    }
    if let Some(most) = number(&read("limits"), "Max open files") {
        text.gauge("process_max_fds", "Limit on open files and sockets.", most);
    }
}

/// A file about this process; empty where there is none.
fn read(name: &str) -> String {
    fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default()
}

/// The first number after `field`, at the start of a line.
fn number(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// The fields `utime` and `stime` (proc(5)). The name before them may have spaces, and ends with
/// the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_files_are_parsed() {
        let stat = "42 (we) ir) S 1 42 42 0 -1 4194560 1843 0 0 0 250 50 0 0 20 0 5 0 8000 1000000 900 184467";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(number(limits, "Max open files"), Some(1024));
        assert_eq!(number("Name:\tweir\nVmRSS:\t   5120 kB\n", "VmRSS:"), Some(5120));
        assert_eq!((cpu_seconds(""), number("", "VmRSS:")), (None, None));
    }
}
