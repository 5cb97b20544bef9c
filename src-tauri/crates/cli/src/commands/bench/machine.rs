//! The machine that figures belong to, and what its processors did.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Ticks of a second in `/proc`, on every architecture that Linux runs on today.
const TICKS: u64 = 100;

#[derive(Serialize)]
pub struct Machine {
    processor: Option<String>,
    cores: usize,
    memory_bytes: Option<u64>,
    version: &'static str,
}

impl Machine {
    pub fn look() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal")
            .and_then(|size| size.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: cores(),
            memory_bytes: memory.map(|kilobytes| kilobytes * 1024),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processor = self.processor.as_deref().unwrap_or("unknown processor");
        write!(
            f,
            "Docent {}, {processor}, {} cores",
            self.version, self.cores
        )?;
        match self.memory_bytes {
            Some(bytes) => write!(f, ", {:.0} GB", bytes as f64 / 1e9),
            None => Ok(()),
        }
    }
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processes that wanted a core in the last minute, on average; `None` where the system does not
/// tell.
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Has the peak of this process's memory count from here on. `false` where the system cannot.
pub fn forget_peak_memory() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most bytes of memory that this process held since [`forget_peak_memory`].
pub fn peak_memory() -> Option<u64> {
    memory("VmHWM:")
}

fn memory(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processor time of this process and its descendants so far, also of those that have ended. `None`
/// where the system does not tell.
pub fn processor_time() -> Option<Duration> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while it is looked at.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        if let Some(process) = Process::parse(&stat) {
            processes.insert(id, process);
        }
    }
    let ticks = family_ticks(std::process::id(), &processes)?;
    Some(Duration::from_secs_f64(ticks as f64 / TICKS as f64))
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Its own, and that of children that it has waited for.
    ticks: u64,
}

impl Process {
    /// From a line of `/proc/PID/stat`; see proc_pid_stat(5).
    fn parse(stat: &str) -> Option<Self> {
        // The program's name may hold spaces and brackets.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields
            .get(11..15)?
            .iter()
            .map(|field| field.parse::<u64>().ok())
            .sum::<Option<u64>>()?;
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks,
        })
    }
}

fn family_ticks(first: u32, processes: &HashMap<u32, Process>) -> Option<u64> {
    let mut ticks = processes.get(&first)?.ticks;
    for (&id, process) in processes {
        if process.parent == first && id != first {
            ticks += family_ticks(id, processes)?;
        }
    }
    Some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_the_whole_family() {
        let parsed = Process::parse(
            "7 (a (strange) name) S 3 7 7 0 -1 0 0 0 0 0 11 5 2 1 20 0 1 0 0 0 0 0 0",
        );
        let expected = Process {
            parent: 3,
            ticks: 19,
        };
        assert_eq!(parsed, Some(expected));
        assert_eq!(Process::parse("7 (cut off"), None);

        let process = |parent, ticks| Process { parent, ticks };
        let processes = HashMap::from([
            (1, process(0, 1000)),
            (3, process(1, 20)),
            (7, process(3, 19)),
            (8, process(7, 4)),
            (9, process(1, 500)),
        ]);
        assert_eq!(family_ticks(3, &processes), Some(43));
        assert_eq!(family_ticks(5, &processes), None);
    }
}
