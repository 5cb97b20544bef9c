//! How a worker process is started, and what it may use.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Overrides the program that workers are started from; for tests, whose own binary is no worker.
const PROGRAM_VARIABLE: &str = "DOCENT_WORKER_EXE";

#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub limits: Limits,
}

/// Limits that the operating system enforces on the process; `None` leaves one as it is. Unix only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Private writable memory (`RLIMIT_DATA`); files mapped for reading don't count.
    pub data_bytes: Option<u64>,
    /// Processor time over the life of the process; beyond it the process is killed.
    pub cpu_seconds: Option<u64>,
    /// Size of any file it writes.
    pub file_bytes: Option<u64>,
    pub open_files: Option<u64>,
    /// Added to the parent's: 19 yields to everything else.
    pub niceness: Option<i32>,
}

impl Launch {
    /// This binary once more, as `worker ROLE`.
    pub fn of_this_binary(role: &str) -> io::Result<Self> {
        let program = match std::env::var_os(PROGRAM_VARIABLE) {
            Some(program) => program.into(),
            None => std::env::current_exe()?,
        };
        Ok(Self {
            program,
            args: vec!["worker".into(), role.into()],
            env: Vec::new(),
            limits: Limits::default(),
        })
    }

    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the process with all three streams piped. Must run on a thread that outlives the
    /// child: Linux delivers the parent-death signal when the starting *thread* ends.
    pub(crate) fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            // A handler's panic is reported with its message; a backtrace would bury the last words
            // of what aborts.
            .env("RUST_BACKTRACE", "0")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        confine(&mut command, self.limits);
        command.spawn()
    }
}

/// Limits a process that is about to be started, and has it killed when its parent ends. What
/// [`Launch`] does, for workers that start other programs. The thread that starts the process must
/// outlive it: Linux delivers the parent-death signal when the starting *thread* ends.
pub fn confine(command: &mut Command, limits: Limits) {
    #[cfg(unix)]
    unix::confine(command, limits);
    #[cfg(not(unix))]
    let _ = (command, limits);
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use rustix::process::{Resource, Rlimit};

    use super::Limits;

    pub(super) fn confine(command: &mut Command, limits: Limits) {
        #[cfg(target_os = "linux")]
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes
        // plain system calls on copied integers; it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                #[cfg(target_os = "linux")]
                {
                    rustix::process::set_parent_process_death_signal(Some(
                        rustix::process::Signal::KILL,
                    ))?;
                    // The parent may have died before the line above.
                    if rustix::process::getppid() != Some(parent) {
                        return Err(io::ErrorKind::NotConnected.into());
                    }
                }
                limit(Resource::Data, limits.data_bytes, 0)?;
                // Only the soft limit has a signal of its own, which tells this end from others.
                limit(Resource::Cpu, limits.cpu_seconds, 1)?;
                limit(Resource::Fsize, limits.file_bytes, 0)?;
                limit(Resource::Nofile, limits.open_files, 0)?;
                // A core file would hold the text of documents.
                limit(Resource::Core, Some(0), 0)?;
                if let Some(niceness) = limits.niceness {
                    rustix::process::nice(niceness)?;
                }
                Ok(())
            });
        }
    }

    /// Sets the soft limit, and the hard one `slack` above it.
    fn limit(resource: Resource, limit: Option<u64>, slack: u64) -> io::Result<()> {
        if let Some(limit) = limit {
            // Above the hard limit that the parent has, the request would be refused.
            let allowed = rustix::process::getrlimit(resource)
                .maximum
                .unwrap_or(u64::MAX);
            let limit = limit.min(allowed);
            rustix::process::setrlimit(
                resource,
                Rlimit {
                    current: Some(limit),
                    maximum: Some(limit.saturating_add(slack).min(allowed)),
                },
            )?;
        }
        Ok(())
    }
}
