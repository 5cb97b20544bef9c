//! `cargo xtask run`: from a bare machine to the window.

use std::env;

use anyhow::Result;

use crate::packages::{self, Purpose};
use crate::repo::{Repo, run as run_command};
use crate::{build, models, ui};

pub fn run(repo: &Repo, release: bool, headless: bool) -> Result<()> {
    packages::ensure(repo, Purpose::Run)?;
    ui::install(repo)?;
    ui::build(repo)?;
    build::programs(repo, release)?;
    models::fetch(repo, models::Set::Starter, release)?;
    if headless || !has_display() {
        println!("No display: serving the same window on this machine's loopback address.");
        return run_command(repo.command(repo.binary("docent", release)).args(["serve"]));
    }
    run_command(&mut repo.command(repo.binary("docent-desktop", release)))
}

fn has_display() -> bool {
    cfg!(any(target_os = "macos", windows))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}
