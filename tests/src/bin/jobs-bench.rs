//! How the page of background work answers a person while thousands of files wait, and what the
//! core holds for them, against the same page with few files in the same run.
//!
//! Chromium measures: event timing from an input until the picture that follows from it (in steps of
//! 8 ms), and tasks that keep the page's thread for 50 ms or more. Everything runs on this machine's
//! cores at once: the page, its browser, reading and embedding.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use docent_tests::models_dir;
use docent_tests::webdriver::{Driver, Running, Window};
use serde_json::{Value, json};

const FILES: usize = 5_000;
const FEW: usize = 50;

const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Of an interaction, in milliseconds.
const AT_MOST: f64 = 100.0;

const OBSERVE: &str = "
    const slowest = (type, options) => {
      window.measured[type] = [0, ''];
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries())
          if (entry.duration > window.measured[type][0])
            window.measured[type] = [entry.duration, entry.name];
      }).observe({ type, ...options });
    };
    window.measured = {};
    slowest('event', { durationThreshold: 16 });
    slowest('longtask', {});";

#[derive(Default)]
struct Figures {
    /// Milliseconds, and what it was; none below 16 ms.
    interaction: (f64, String),
    /// Milliseconds; none below 50 ms.
    task: f64,
    /// From the click until the page says so, in milliseconds.
    pause: f64,
    cancel: f64,
    /// Bytes that the core grew by until all files had their row.
    memory: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        many.push(measure(FILES).await?);
        few.push(measure(FEW).await?);
    }
    println!(
        "jobs: the page of background work with {FILES} files, worst of {ROUNDS}; load {load} before"
    );
    let row = |name: &str, unit: &str, value: fn(&Figures) -> f64, target: Option<f64>| {
        let of = |all: &[Figures]| all.iter().map(value).fold(0.0, f64::max);
        let (figure, baseline) = (of(&many), of(&few));
        print!("  {name:<40} {:>10}", format!("{figure:.0} {unit}"));
        print!("  against {baseline:.0} {unit} with {FEW} files");
        if let Some(most) = target {
            let verdict = if figure <= most { "met" } else { "MISSED" };
            print!("  target ≤ {most} {unit}: {verdict}");
        }
        println!();
    };
    row(
        "slowest answer to an input",
        "ms",
        |of| of.interaction.0,
        Some(AT_MOST),
    );
    row("longest task", "ms", |of| of.task, None);
    row(
        "pausing, until the page says so",
        "ms",
        |of| of.pause,
        Some(2_000.0),
    );
    row(
        "cancelling all, until the page says so",
        "ms",
        |of| of.cancel,
        Some(2_000.0),
    );
    row(
        "memory that the core grew by",
        "MB",
        |of| of.memory / 1e6,
        Some(64.0),
    );
    let slowest: Vec<&str> = many.iter().map(|of| of.interaction.1.as_str()).collect();
    println!("  The slowest inputs were: {}", slowest.join(", "));
    Ok(())
}

async fn measure(files: usize) -> Result<Figures> {
    let home = tempfile::tempdir()?;
    let documents = home.path().join("documents");
    write(&documents, files)?;
    let core = Core::start(&home.path().join("data")).await?;
    let made = core.post("/workspaces", &json!({ "name": "Ured" })).await?;
    let workspace = made["id"].as_str().context("a workspace has an id")?;
    let route = format!("/workspaces/{workspace}");

    let driver = Driver::start_chromium().await?;
    let page = driver.browse(&core.url, 1280, 800).await?;
    page.wait("the page", "document.querySelector('#root > *')", PATIENCE)
        .await?;
    page.run(
        "location.hash = arguments[0]",
        &[json!(format!("/w/{workspace}/jobs"))],
    )
    .await?;
    page.find("[data-testid=\"jobs-page\"]", PATIENCE).await?;

    let before = core.memory()?;
    let body = json!({ "path": documents });
    core.post(&format!("{route}/folders"), &body).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let jobs = core.get(&format!("{route}/jobs?limit=1")).await?;
        if jobs["progress"]["files_total"].as_u64() == Some(files as u64) {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "the folder was not registered: {jobs}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let memory = (core.memory()? - before).max(0.0);

    page.find("[data-testid=\"job-row\"][data-state=\"queued\"]", PATIENCE)
        .await?;
    page.run(OBSERVE, &[]).await?;
    use_list(&page).await?;
    let pause = until(&page, "Pause", "Resume").await?;
    until(&page, "Resume", "Pause").await?;
    page.button("Cancel all", PATIENCE).await?.click().await?;
    page.find("[role=\"alertdialog\"]", PATIENCE).await?;
    let begun = Instant::now();
    page.button("Cancel all", PATIENCE).await?.click().await?;
    page.wait(
        "the end of the work",
        "document.body.innerText.includes('Nothing to do.')",
        PATIENCE,
    )
    .await?;
    let cancel = begun.elapsed();
    // Entries are handed out after the picture that they end with.
    page.run("return new Promise((done) => setTimeout(done, 200))", &[])
        .await?;
    let measured = page.run("return window.measured", &[]).await?;
    let of = |kind: &str| measured[kind][0].as_f64().unwrap_or_default();
    let name = measured["event"][1].as_str().unwrap_or_default().to_owned();
    page.close().await?;
    Ok(Figures {
        interaction: (of("event"), name),
        task: of("longtask"),
        pause: pause.as_secs_f64() * 1e3,
        cancel: cancel.as_secs_f64() * 1e3,
        memory,
    })
}

/// Scrolls, moves by keys, cancels single jobs and looks at other lists, as fast as a hurried person.
async fn use_list(page: &Window) -> Result<()> {
    let row = "document.querySelector('[data-testid=\"job-row\"][data-state=\"queued\"]')";
    let at = page
        .run(
            &format!("const box = {row}.getBoundingClientRect(); return [Math.round(box.x) + 99, Math.round(box.y) + 9]"),
            &[],
        )
        .await?;
    let mut turns = Vec::new();
    for delta in [400, 900, 2_500, 9_000, -700, -2_500, -20_000] {
        for _ in 0..6 {
            turns.push(json!({
                "type": "scroll", "x": at[0], "y": at[1],
                "deltaX": 0, "deltaY": delta, "duration": 0,
            }));
            turns.push(json!({ "type": "pause", "duration": 40 }));
        }
    }
    page.act(&json!([{ "type": "wheel", "id": "wheel", "actions": turns }]))
        .await?;

    let [down, page_down, page_up, home, end, delete] = [
        "\u{e015}", "\u{e00f}", "\u{e00e}", "\u{e011}", "\u{e010}", "\u{e017}",
    ];
    page.run(&format!("{row}.focus()"), &[]).await?;
    let mut strokes = Vec::new();
    for (key, times) in [
        (down, 30),
        (page_down, 20),
        (end, 1),
        (page_up, 10),
        (home, 1),
        (down, 3),
        (delete, 1),
    ] {
        for _ in 0..times {
            strokes.push(json!({ "type": "keyDown", "value": key }));
            strokes.push(json!({ "type": "keyUp", "value": key }));
            strokes.push(json!({ "type": "pause", "duration": 60 }));
        }
    }
    page.act(&json!([{ "type": "key", "id": "keys", "actions": strokes }]))
        .await?;
    for shown in ["Done", "Cancelled", "Waiting"] {
        let chip = format!(
            "[...document.querySelectorAll('[role=group] button')]
               .find((chip) => chip.textContent.startsWith('{shown}'))"
        );
        page.element(shown, &chip, PATIENCE).await?.click().await?;
    }
    Ok(())
}

async fn until(page: &Window, press: &str, shown: &str) -> Result<Duration> {
    let button = page.button(press, PATIENCE).await?;
    let begun = Instant::now();
    button.click().await?;
    page.button(shown, PATIENCE).await?;
    Ok(begun.elapsed())
}

/// Texts of some passages each, under names as long as an office's.
fn write(folder: &Path, files: usize) -> Result<()> {
    for number in 0..files {
        let folder = folder.join(format!("Predmet {}", number / 100));
        fs::create_dir_all(&folder)?;
        let mut text = format!("Zapisnik o primopredaji broj {number}\n\n");
        for paragraph in 0..8 {
            writeln!(
                text,
                "U {paragraph}. točki stranke utvrđuju stanje predmeta broj {number}, rok od \
                 {} dana i iznos od {} eura, te se obvezuju da će o promjenama obavijestiti jedna \
                 drugu preporučenom pošiljkom.\n",
                (number + paragraph) % 90,
                number * 7 + paragraph,
            )?;
        }
        let name =
            format!("Zapisnik o primopredaji nekretnine i najvažnijim pojedinostima {number}.txt");
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// A running `docent serve`.
struct Core {
    process: Running,
    url: String,
    api: String,
    token: String,
    http: reqwest::Client,
}

impl Core {
    async fn start(data: &Path) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("docent");
        ensure!(
            program.is_file(),
            "no {}; build it first",
            program.display()
        );
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/dist");
        let mut child = Command::new(program)
            .arg("--data-dir")
            .arg(data)
            .arg("--models-dir")
            .arg(models_dir())
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--ui-dir"])
            .arg(&pages)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().context("it is piped")?;
        let process = Running::from(child);
        let mut printed = String::new();
        let mut lines = BufReader::new(output).lines();
        let started: Value = loop {
            printed.push_str(&lines.next().context("the server ended")??);
            if let Ok(value) = serde_json::from_str(&printed) {
                break value;
            }
        };
        let of = |name: &str| started[name].as_str().context("it says where it is");
        Ok(Self {
            process,
            url: of("url")?.to_owned(),
            api: format!("http://{}/api/v1", of("address")?),
            token: of("token")?.to_owned(),
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.answer(self.http.get(format!("{}{path}", self.api)))
            .await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.answer(self.http.post(format!("{}{path}", self.api)).json(body))
            .await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Bytes of memory that the core's own process holds; its workers are left out.
    fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.context("a process has memory")?.parse::<f64>()? * 1024.0)
    }
}
