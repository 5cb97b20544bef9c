//! System packages. On Debian and its relatives missing ones are installed; elsewhere the reader is
//! told exactly what to install.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo::{Repo, output, run, succeeds};

/// What building and running needs.
const BUILD: &[&str] = &[
    "build-essential",
    "clang",
    "cmake",
    "file",
    "libayatana-appindicator3-dev",
    "libclang-dev",
    "libdbus-1-dev",
    "libjavascriptcoregtk-4.1-dev",
    "librsvg2-dev",
    "libsoup-3.0-dev",
    "libssl-dev",
    "libwebkit2gtk-4.1-dev",
    "libxdo-dev",
    "ninja-build",
    "patchelf",
    "pkg-config",
    // Models of the starter set come as Python packages, fetched with pip.
    "python3",
    "python3-pip",
    // Reads scanned documents.
    "tesseract-ocr",
    "tesseract-ocr-hrv",
    "xdg-utils",
];

/// What tests need in addition: a display, two browsers' drivers, a key ring.
const TEST: &[&str] = &[
    "ccache",
    "chromium",
    "chromium-driver",
    "dbus-x11",
    "fonts-dejavu-core",
    "gnome-keyring",
    "webkit2gtk-driver",
    "xauth",
    "xvfb",
];

/// Node.js of the UI's tools.
const NODE: (u32, u32) = (20, 19);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Run,
    Test,
}

/// Makes sure that the system has what `purpose` needs.
pub fn ensure(repo: &Repo, purpose: Purpose) -> Result<()> {
    let wanted = match purpose {
        Purpose::Run => BUILD.to_vec(),
        Purpose::Test => [BUILD, TEST].concat(),
    };
    if is_debian() {
        ensure_debian(repo, &wanted)?;
    } else {
        let list = wanted.join(" ");
        if !repo.is_done("packages", &list) {
            print_elsewhere(purpose);
            // Said once: nothing here can check another system's packages, the build will.
            repo.mark_done("packages", &list)?;
        }
    }
    ensure_node(repo)
}

fn is_debian() -> bool {
    cfg!(target_os = "linux")
        && fs::read_to_string("/etc/os-release").is_ok_and(|release| is_debian_release(&release))
}

fn is_debian_release(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"))
        .flat_map(|(_, value)| value.trim_matches('"').split_whitespace())
        .any(|id| matches!(id, "debian" | "ubuntu"))
}

fn ensure_debian(repo: &Repo, wanted: &[&str]) -> Result<()> {
    let missing = missing_packages(repo, wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!(
        "Installing {} system packages: {}",
        missing.len(),
        missing.join(" ")
    );
    let is_root = output(repo.command("id").arg("-u"))?.trim() == "0";
    let apt = |arguments: &[&str]| -> Command {
        let mut command = repo.command(if is_root { "apt-get" } else { "sudo" });
        if !is_root {
            command.args(["-n", "apt-get"]);
        }
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        command
    };
    if !is_root && !succeeds(repo.command("sudo").args(["-n", "true"])) {
        bail!(
            "these packages are missing, and this user may not install them without a password.\n\
             Run this, then the same command again:\n\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}\n",
            missing.join(" ")
        );
    }
    run(&mut apt(&["update", "-q"]))?;
    let mut install = apt(&["install", "-q", "-y", "--no-install-recommends"]);
    install.args(&missing);
    run(&mut install)
}

fn missing_packages<'a>(repo: &Repo, wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    // It exits with 1 when one of them is unknown, and still lists the others.
    let listed = repo
        .command("dpkg-query")
        .args(["--show", "--showformat=${Package}\t${db:Status-Status}\n"])
        .args(wanted)
        .output()
        .context("dpkg-query could not be started")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(not_installed(&listed, wanted))
}

fn not_installed<'a>(listed: &str, wanted: &[&'a str]) -> Vec<&'a str> {
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, status)| *status == "installed")
        .map(|(package, _)| package)
        .collect();
    wanted
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect()
}

fn print_elsewhere(purpose: Purpose) {
    println!(
        "This isn't Debian or Ubuntu, so nothing is installed for you. Docent needs, beside Rust \
         and Node.js {}.{} or newer:",
        NODE.0, NODE.1
    );
    if cfg!(target_os = "macos") {
        println!(
            "    xcode-select --install && brew install cmake ninja llvm python3 tesseract tesseract-lang"
        );
    } else if cfg!(windows) {
        println!(
            "    Visual Studio Build Tools with \"Desktop development with C++\", WebView2 (part of \
             Windows 11),\n    and: winget install Kitware.CMake Ninja-build.Ninja LLVM.LLVM \
             Python.Python.3.12"
        );
    } else {
        println!(
            "  Fedora:\n    sudo dnf install @development-tools clang clang-devel cmake ninja-build \
             webkit2gtk4.1-devel libsoup3-devel librsvg2-devel libappindicator-gtk3-devel \
             libxdo-devel openssl-devel dbus-devel pkgconf patchelf python3 python3-pip \
             tesseract tesseract-langpack-hrv\n  \
             Arch:\n    sudo pacman -S --needed base-devel clang cmake ninja webkit2gtk-4.1 \
             libsoup3 librsvg libappindicator-gtk3 xdotool openssl dbus pkgconf patchelf python \
             python-pip tesseract tesseract-data-eng tesseract-data-hrv"
        );
        if purpose == Purpose::Test {
            println!(
                "  and for the tests: WebKitWebDriver (package webkit2gtk-driver or part of \
                 webkit2gtk), Xvfb, xauth, chromium with chromedriver, gnome-keyring, ccache"
            );
        }
    }
}

fn ensure_node(repo: &Repo) -> Result<()> {
    let advice = format!(
        "the UI is built with Node.js {}.{} or newer and its npm; install it and run the same \
         command again",
        NODE.0, NODE.1
    );
    let version = output(repo.command("node").arg("--version")).context(advice.clone())?;
    match node_version(&version) {
        Some(found) if found >= NODE => Ok(()),
        _ => bail!("this is Node.js {}, but {advice}", version.trim()),
    }
}

fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_relatives_are_recognised() {
        assert!(is_debian_release("PRETTY_NAME=\"Debian\"\nID=debian\n"));
        assert!(is_debian_release(
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"
        ));
        assert!(!is_debian_release("ID=fedora\nNAME=\"not debian\"\n"));
    }

    #[test]
    fn removed_and_unknown_packages_are_missing() {
        let listed = "cmake\tinstalled\nfile\tconfig-files\nclang\tinstalled\n";
        assert_eq!(
            not_installed(listed, &["cmake", "file", "xvfb"]),
            ["file", "xvfb"]
        );
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(node_version("v20.20.2\n").unwrap() >= NODE);
        assert!(node_version("v22.0.0").unwrap() >= NODE);
        assert!(node_version("v18.19.0").unwrap() < NODE);
        assert!(node_version("v20.9.0").unwrap() < NODE);
        assert_eq!(node_version("nonsense"), None);
    }
}
