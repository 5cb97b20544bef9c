//! How fast the window is there, and what it costs while nothing is asked of it, against the
//! browser engine's own empty window (WebKitGTK's MiniBrowser) in the same run, interleaved.
//!
//! A cold start here means a process that does not exist yet; the files are in the page cache.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use docent_tests::webdriver::{Display, Driver};
use docent_tests::{family, models_dir};

const ROUNDS: usize = 5;
const DEADLINE: Duration = Duration::from_mins(1);

/// Where Debian and its relatives keep the engine's own browser.
const BASELINE: &str = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser";

#[derive(Default)]
struct Figures {
    start: Vec<Duration>,
    memory: Vec<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("docent-desktop");
    ensure!(
        program.is_file(),
        "no {}; build it first",
        program.display()
    );
    let baseline = PathBuf::from(BASELINE);
    let (mut docent, mut empty) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        // An element that the page makes when the API has answered it for the first time.
        measure(&program, &[], "[data-testid=\"first-run\"]", &mut docent).await?;
        if baseline.is_file() {
            measure(&baseline, &["--automation"], "body", &mut empty).await?;
        }
    }
    println!("window                      start        memory (PSS, no model loaded)");
    print("Docent, first screen", &mut docent);
    print("MiniBrowser, empty page", &mut empty);
    Ok(())
}

fn print(name: &str, figures: &mut Figures) {
    figures.start.sort();
    figures.memory.sort_unstable();
    let (Some(start), Some(memory)) = (
        figures.start.get(figures.start.len() / 2),
        figures.memory.get(figures.memory.len() / 2),
    ) else {
        println!("{name:<24} not measured: {BASELINE} isn't there");
        return;
    };
    println!(
        "{name:<24} {:>6} ms  {:>9.0} MB",
        start.as_millis(),
        *memory as f64 / 1e6
    );
}

async fn measure(
    program: &Path,
    arguments: &[&str],
    element: &str,
    figures: &mut Figures,
) -> Result<()> {
    let home = tempfile::tempdir()?;
    let inside = |name: &str| home.path().join(name).display().to_string();
    let display = Display::start(1400, 900)?;
    let driver = Driver::start(&[
        ("DISPLAY", display.name.clone()),
        ("DOCENT_DATA_DIR", inside("data")),
        ("DOCENT_MODELS_DIR", models_dir().display().to_string()),
        ("XDG_CONFIG_HOME", inside("config")),
        ("XDG_DATA_HOME", inside("share")),
        ("XDG_CACHE_HOME", inside("cache")),
        ("GDK_BACKEND", "x11".into()),
    ])
    .await?;
    let begin = Instant::now();
    let window = driver.open(program, arguments).await?;
    window.find(element, DEADLINE).await?;
    figures.start.push(begin.elapsed());
    figures.memory.push(proportional_memory(driver.id())?);
    window.close().await
}

/// Memory of the window's processes, shared pages counted in proportion; the driver's own is left
/// out.
fn proportional_memory(driver: u32) -> Result<u64> {
    let mut bytes = 0;
    for process in family(driver)? {
        if process == driver {
            continue;
        }
        let Ok(rollup) = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else {
            continue;
        };
        let line = rollup.lines().find(|line| line.starts_with("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        bytes += kilobytes.context("a process has a Pss")?.parse::<u64>()? * 1024;
    }
    Ok(bytes)
}
