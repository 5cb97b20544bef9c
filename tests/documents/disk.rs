//! Disks of the tests' own, to be filled or cut off.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A file system in a mount namespace of its own, which ends with the process that holds it.
pub struct Disk {
    folder: TempDir,
    holder: Child,
    /// Whether there is a user namespace too, because this is not root.
    with_user: bool,
}

impl Disk {
    /// One of this size in memory. `None` where this user may mount nothing, as in a container without
    /// any privilege.
    pub fn in_memory(kib: u64) -> Result<Option<Self>> {
        let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$0\"");
        Self::mount(
            &script,
            Path::new(""),
            !rustix::process::geteuid().is_root(),
        )
    }

    /// An ext4 in a file. `None` where this user may not mount one: it takes root and a loop device.
    pub fn in_file(image: &Path) -> Result<Option<Self>> {
        // Nothing reaches the file by itself meanwhile, only what is synced.
        Self::mount("mount -o loop,commit=900 \"$1\" \"$0\"", image, false)
    }

    fn mount(script: &str, image: &Path, with_user: bool) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if with_user {
            command.args(["--user", "--map-root-user"]);
        }
        let mut holder = command
            .args(["sh", "-c"])
            .arg(format!("{script} && echo mounted && exec cat"))
            .arg(folder.path())
            .arg(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux) makes the disk")?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().context("it is piped")?).read_line(&mut said)?;
        let disk = Self {
            folder,
            holder,
            with_user,
        };
        Ok((said.trim() == "mounted").then_some(disk))
    }

    /// The words that start a program where the disk is visible.
    pub fn wrapper(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), "--mount".to_owned()];
        if self.with_user {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words.push(format!("--target={}", self.holder.id()));
        words
    }

    pub fn shell(&self, script: &str) -> Result<String> {
        let wrapper = self.wrapper();
        let output = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .args(["sh", "-c", script])
            .arg(self.folder.path())
            .output()?;
        ensure!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn room_kib(&self) -> Result<u64> {
        let said = self.shell("df --output=avail -k \"$0\" | tail -n 1")?;
        Ok(said.trim().parse()?)
    }

    /// Fills the disk but for so much.
    pub fn fill(&self, left_kib: u64) -> Result<()> {
        let filler = self.room_kib()?.saturating_sub(left_kib);
        self.shell(&format!(
            "head -c {filler}K /dev/zero > \"$0/somebody-elses-file\""
        ))
        .map(drop)
    }

    pub fn free(&self) -> Result<()> {
        self.shell("rm \"$0/somebody-elses-file\"").map(drop)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
