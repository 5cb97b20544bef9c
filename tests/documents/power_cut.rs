//! The power fails in the middle of an ingest: what had not reached the disk by then is gone, whoever
//! believed it written. The disk is a file with an ext4 in it; cut off is the state of that file while
//! every process of the program is stopped.
//!
//! A control shows that the same cuts lose what is not synced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::crashes::{Acknowledgements, acknowledgements, losses_after, write_file};
use crate::disk::Disk;
use crate::program::{Docent, until};

const CUTS: u32 = 5;

/// New files before each cut, each of which is acknowledged twice.
const FILES_A_CUT: u32 = 8;

const DISK_MIB: u64 = 512;

#[tokio::test]
async fn cut_off_in_the_middle_of_its_work_it_keeps_what_it_has_acknowledged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut image) = formatted(folder.path())? else {
        return Ok(());
    };
    let mut acknowledged_in_all = 0;
    for cut in 0..CUTS {
        let Some((acknowledged, after)) = cut_off(&image, cut, None).await? else {
            return Ok(());
        };
        let losses = losses_on(&after, &acknowledged)?;
        ensure!(losses.is_empty(), "cut {cut}: {losses:#?}");
        acknowledged_in_all = acknowledged.len();
        // The next one goes on with what this one left.
        fs::remove_file(&image)?;
        image = after;
    }
    ensure!(acknowledged_in_all > 0);
    println!("{CUTS} cuts, {acknowledged_in_all} documents acknowledged at the last");
    Ok(())
}

/// The control: a database that doesn't wait for the disk has to lose something.
#[tokio::test]
async fn control_what_is_not_synced_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(image) = formatted(folder.path())? else {
        return Ok(());
    };
    let unsynced = Some(("DOCENT_UNSAFE_JOURNAL", "off"));
    let Some((acknowledged, after)) = cut_off(&image, 0, unsynced).await? else {
        return Ok(());
    };
    let losses = losses_on(&after, &acknowledged)
        .unwrap_or_else(|error| vec![format!("the data folder is beyond use: {error}")]);
    ensure!(
        !losses.is_empty(),
        "the checks of this test would not notice a loss"
    );
    println!("noticed, as it has to be: {losses:#?}");
    Ok(())
}

/// An empty file system in a file; `None` where there is nothing to make it with.
fn formatted(folder: &Path) -> Result<Option<PathBuf>> {
    let image = folder.join("disk");
    fs::File::create(&image)?.set_len(DISK_MIB << 20)?;
    let made = ["mkfs.ext4", "/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"]
        .iter()
        .find_map(|program| {
            Command::new(program)
                .args(["-q", "-F"])
                .arg(&image)
                .status()
                .ok()
        });
    match made {
        Some(status) if status.success() => Ok(Some(image)),
        _ => {
            println!("skipped: there is no mkfs.ext4 that works here");
            Ok(None)
        }
    }
}

fn mounted(image: &Path) -> Result<Option<Disk>> {
    let disk = Disk::in_file(image)?;
    if disk.is_none() {
        println!("skipped: only root can mount a disk to cut off, where there are loop devices");
    }
    Ok(disk)
}

fn docent_on(disk: &Disk) -> Result<Docent> {
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Ok(Docent::new()?.with_data(&disk.data()).through(&wrapper))
}

/// Ingests until half of the new files are acknowledged, and gives what was, with the disk as it was
/// when everything stood still a moment later.
async fn cut_off(
    image: &Path,
    cut: u32,
    environment: Option<(&'static str, &'static str)>,
) -> Result<Option<(Acknowledgements, PathBuf)>> {
    let Some(disk) = mounted(image)? else {
        return Ok(None);
    };
    let mut docent = docent_on(&disk)?;
    if let Some((variable, value)) = environment {
        docent = docent.with_environment(variable, value);
    }
    for number in cut * FILES_A_CUT..(cut + 1) * FILES_A_CUT {
        write_file(&docent, number)?;
    }
    let server = docent.serve().await?;
    let steps = |acknowledged: &Acknowledgements| {
        let ready = acknowledged
            .values()
            .filter(|document| document.ready_since.is_some());
        acknowledged.len() + ready.count()
    };
    let before = steps(&acknowledgements(&server.documents().await?));
    server.import(&docent.documents()).await?;
    let enough = before + FILES_A_CUT as usize / 2 + cut as usize * 2;
    let acknowledged = until("acknowledgements", async || {
        let acknowledged = acknowledgements(&server.documents().await?);
        Ok((steps(&acknowledged) >= enough).then_some(acknowledged))
    })
    .await?;
    for process in docent_tests::family(server.pid())? {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        // A worker may just have ended.
        let _ = kill_process(process.context("a process id")?, Signal::STOP);
    }
    let after = image.with_file_name(format!("cut-{cut}"));
    let copied = Command::new("cp")
        .arg("--sparse=always")
        .args([image, &after])
        .status()?;
    ensure!(copied.success(), "the disk could not be copied");
    server.kill()?;
    Ok(Some((acknowledged, after)))
}

fn losses_on(image: &Path, acknowledged: &Acknowledgements) -> Result<Vec<String>> {
    let disk = mounted(image)?.context("what was mounted once can be mounted again")?;
    losses_after(&docent_on(&disk)?, acknowledged)
}
