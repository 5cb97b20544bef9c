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

struct Figures {
    start: Duration,
    /// Bytes.
    memory: u64,
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
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        // An element that the page makes when the API has answered it for the first time.
        let docent = measure(&program, &[], "[data-testid=\"first-run\"]").await?;
        let empty = if baseline.is_file() {
            Some(measure(&baseline, &["--automation"], "body").await?)
        } else {
            None
        };
        rounds.push((docent, empty));
    }
    println!("window: no model loaded, median of {ROUNDS}; load {load} before");
    print_row("first screen after the start", "ms", &rounds, |figures| {
        figures.start.as_secs_f64() * 1000.0
    });
    print_row(
        "memory (PSS) at the first screen",
        "MB",
        &rounds,
        |figures| figures.memory as f64 / 1e6,
    );
    if !baseline.is_file() {
        println!("  There is no baseline: {BASELINE} is not here");
    }
    Ok(())
}

/// One line, as `docent bench` prints them.
fn print_row(
    name: &str,
    unit: &str,
    rounds: &[(Figures, Option<Figures>)],
    value: fn(&Figures) -> f64,
) {
    let figure = median(rounds.iter().map(|(docent, _)| value(docent)));
    print!("  {name:<32} {:>18}", format!("{figure:.0} {unit}"));
    let empty: Vec<f64> = rounds
        .iter()
        .filter_map(|(_, empty)| Some(value(empty.as_ref()?)))
        .collect();
    if !empty.is_empty() {
        let ratios = rounds.iter().zip(&empty);
        let ratio = median(ratios.map(|((docent, _), empty)| value(docent) / empty));
        let against = format!("{:.0} {unit} of MiniBrowser's empty page", median(empty));
        print!("  against {against:<44} {ratio:>6.3}×");
    }
    println!();
}

/// Of an odd number of values.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(program: &Path, arguments: &[&str], element: &str) -> Result<Figures> {
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
    let figures = Figures {
        start: begin.elapsed(),
        memory: proportional_memory(driver.id())?,
    };
    window.close().await?;
    Ok(figures)
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
