//! Black-box tests of the built programs.

pub mod webdriver;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

/// Where the models are; `cargo xtask test` fetches them.
#[must_use]
pub fn models_dir() -> PathBuf {
    cached("DOCENT_MODELS_DIR", "models")
}

/// Where the public documents are; `cargo xtask corpus` makes them.
#[must_use]
pub fn corpus_dir() -> PathBuf {
    cached("DOCENT_CORPUS_DIR", "corpus")
}

fn cached(variable: &str, folder: &str) -> PathBuf {
    if let Some(chosen) = std::env::var_os(variable) {
        return chosen.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cache")))
        .unwrap_or_default();
    cache.join("docent").join(folder)
}

/// TCP ports on which a process or one of its descendants listens. Linux only.
pub fn listening_sockets(process: u32) -> Result<Vec<u16>> {
    let mut sockets = BTreeSet::new();
    for process in family(process)? {
        // A process may end while it is looked at.
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
            continue;
        };
        sockets.extend(files.flatten().filter_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse::<u64>().ok()
        }));
    }
    let mut ports = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for row in fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .skip(1)
        {
            let columns: Vec<&str> = row.split_whitespace().collect();
            let (Some(local), Some(&state), Some(inode)) =
                (columns.get(1), columns.get(3), columns.get(9))
            else {
                continue;
            };
            // 0A is LISTEN.
            if state == "0A" && inode.parse().is_ok_and(|inode| sockets.contains(&inode)) {
                let port = local.rsplit(':').next().unwrap_or_default();
                ports.push(u16::from_str_radix(port, 16)?);
            }
        }
    }
    Ok(ports)
}

/// A process and its descendants. Linux only.
pub fn family(process: u32) -> Result<BTreeSet<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name in parentheses may hold spaces; the parent is the second field after it.
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((id, parent));
        }
    }
    let mut family = BTreeSet::from([process]);
    loop {
        let before = family.len();
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| family.contains(parent))
                .map(|(id, _)| *id)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            return Ok(family);
        }
    }
}

/// The process id of the worker that plays `role` for a process, if there is one. Linux only.
pub fn worker(process: u32, role: &str) -> Result<Option<u32>> {
    Ok(family(process)?.into_iter().find(|candidate| {
        fs::read(format!("/proc/{candidate}/cmdline")).is_ok_and(|line| {
            let mut arguments = line.split(|byte| *byte == 0).skip(1);
            arguments.next() == Some(b"worker") && arguments.next() == Some(role.as_bytes())
        })
    }))
}

/// The most memory that a process has had at once, in bytes; `None` once it has ended. Linux only.
#[must_use]
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
