//! The real window, under a virtual display, with the real models: from an empty application to the
//! passage behind a citation. Screenshots of each state land in the target folder's `tmp/desktop`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use docent_tests::webdriver::{Display, Driver, Running, Window};
use serde_json::json;

/// For what the window does by itself.
const SOON: Duration = Duration::from_secs(90);
/// For reading a dozen short pages, on two cores that may be busy with other tests.
const READING: Duration = Duration::from_mins(5);
/// For an answer of the small model, likewise.
const ANSWERING: Duration = Duration::from_mins(5);

/// One test at a time: two models on two cores take far more than twice as long.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Pages of the corpus, few enough to be read in a minute.
const PAGES: [&str; 8] = [
    "net-vpn-connect.html",
    "a11y-braille.html",
    "backup-frequency.html",
    "bluetooth-send-file.html",
    "color-calibrate-screen.html",
    "keyboard-layouts.html",
    "power-batterylife.html",
    "sound-volume.html",
];

/// A place of its own for everything that the program keeps.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// What the program is started with.
    fn environment(&self, display: &Display) -> Vec<(&'static str, String)> {
        let inside = |name: &str| self.0.path().join(name).display().to_string();
        vec![
            ("DISPLAY", display.name.clone()),
            ("DOCENT_DATA_DIR", inside("data")),
            (
                "DOCENT_MODELS_DIR",
                docent_tests::models_dir().display().to_string(),
            ),
            ("DOCENT_GENERATOR", "qwen2.5-coder-0.5b-instruct".into()),
            ("XDG_CONFIG_HOME", inside("config")),
            ("XDG_DATA_HOME", inside("share")),
            ("XDG_CACHE_HOME", inside("cache")),
            ("GDK_BACKEND", "x11".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ]
    }

    /// A folder with some pages of the corpus.
    fn folder_of(&self, pages: &[String]) -> Result<PathBuf> {
        let folder = self.0.path().join("Help pages");
        std::fs::create_dir(&folder)?;
        for page in pages {
            let source = docent_tests::corpus_dir().join("help/en").join(page);
            std::fs::copy(&source, folder.join(page))
                .with_context(|| format!("{}; `cargo xtask corpus` makes it", source.display()))?;
        }
        Ok(folder)
    }
}

fn program() -> Result<PathBuf> {
    let program = docent_testkit::docent_binary().with_file_name("docent-desktop");
    ensure!(
        program.is_file(),
        "no {}; `cargo xtask test` builds it",
        program.display()
    );
    Ok(program)
}

struct Desktop {
    window: Window,
    // Dropped in this order: the driver ends the program, the display goes last.
    _driver: Driver,
    _display: Display,
    shots: PathBuf,
}

impl Desktop {
    async fn open(home: &Home) -> Result<Self> {
        let display = Display::start(1400, 900)?;
        let driver = Driver::start(&home.environment(&display)).await?;
        let window = driver.open(&program()?, &[]).await?;
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("desktop");
        std::fs::create_dir_all(&shots)?;
        Ok(Self {
            window,
            _driver: driver,
            _display: display,
            shots,
        })
    }

    /// Makes a workspace on the first screen, which leads to its documents.
    async fn create_workspace(&self, name: &str) -> Result<()> {
        self.window
            .find(&hook("workspace-name-input"), SOON)
            .await?
            .keys(name)
            .await?;
        self.click("workspace-create-submit").await?;
        self.click("nav-documents").await
    }

    /// Waits until so many documents are searchable by words and by meaning.
    async fn ready(&self, documents: usize) -> Result<()> {
        let rows = format!("{}[data-status=\"ready\"]", hook("document-row"));
        let expression = format!(
            "document.querySelectorAll({}).length === {documents}",
            json!(rows)
        );
        self.window
            .wait("documents to be ready", &expression, READING)
            .await
            .map(drop)
    }

    /// Ends the program, then its driver and its display.
    async fn close(self) -> Result<()> {
        self.window.close().await
    }

    async fn shot(&self, name: &str) -> Result<()> {
        self.window
            .screenshot(&self.shots.join(format!("{name}.png")))
            .await
    }

    async fn click(&self, test_id: &str) -> Result<()> {
        self.window.find(&hook(test_id), SOON).await?.click().await
    }

    /// What the window hears when files are dropped on it from a file manager. The event comes from
    /// the toolkit, so the page may not emit it; its listeners are called as the shell would.
    async fn drop_on_window(&self, event: &str, paths: &[&Path]) -> Result<()> {
        let called = self
            .window
            .run(
                "const [event, paths] = arguments;
                 const payload = { paths, position: { x: 400, y: 300 } };
                 const listeners = window.__internal_unstable_listeners_object_id__?.[event] ?? {};
                 const ids = Object.getOwnPropertyNames(listeners);
                 window.__internal_unstable_listeners_function_id__({ event, payload }, ids);
                 return ids.length;",
                &[json!(event), json!(paths)],
            )
            .await?;
        ensure!(called.as_u64() > Some(0), "nobody listens to {event}");
        Ok(())
    }

    async fn ask(&self, question: &str) -> Result<()> {
        let input = self.window.find(&hook("question-input"), SOON).await?;
        input.keys(question).await?;
        self.click("send").await
    }
}

fn hook(test_id: &str) -> String {
    format!("[data-testid=\"{test_id}\"]")
}

#[tokio::test]
async fn from_an_empty_window_to_the_cited_passage() -> Result<()> {
    let _turn = TURN.lock().await;
    let home = Home::new()?;
    let desktop = Desktop::open(&home).await?;
    let result = main_job(&desktop, &home).await;
    desktop.shot("last").await?;
    result?;
    desktop.close().await
}

async fn main_job(desktop: &Desktop, home: &Home) -> Result<()> {
    let window = &desktop.window;
    window.find(&hook("first-run"), SOON).await?;
    desktop.shot("1-empty").await?;
    desktop.create_workspace("Priručnici").await?;

    let folder = home.folder_of(&PAGES.map(str::to_owned))?;
    desktop
        .drop_on_window("tauri://drag-enter", &[&folder])
        .await?;
    window.find(&hook("drop-overlay"), SOON).await?;
    desktop.shot("2-dragging").await?;
    desktop
        .drop_on_window("tauri://drag-drop", &[&folder])
        .await?;
    window.find(&hook("document-row"), SOON).await?;
    desktop.shot("3-reading").await?;
    desktop.ready(PAGES.len()).await?;
    desktop.shot("4-ready").await?;

    desktop.click("nav-chat").await?;
    desktop.ask("How do I connect to a VPN?").await?;
    // The chat has its address as soon as the question is taken.
    window
        .wait("the chat", r"/\/chat\/./.test(location.hash)", SOON)
        .await?;
    desktop.click("stop").await?;
    let answer = hook("message-assistant");
    window
        .find(&format!("{answer}[data-status=\"interrupted\"]"), SOON)
        .await?;
    desktop.shot("5-stopped").await?;

    desktop.ask("How often should I make backups?").await?;
    let complete = format!("{answer}[data-status=\"complete\"]");
    window.find(&complete, ANSWERING).await?;
    desktop.shot("6-answered").await?;

    window
        .find(&format!("{complete} [data-testid^=\"citation-\"]"), SOON)
        .await?
        .click()
        .await?;
    let mark = window.find(&hook("passage-mark"), SOON).await?;
    desktop.shot("7-passage").await?;
    let marked = mark.text().await?.to_lowercase();
    ensure!(
        marked.contains("backup"),
        "the marked passage is about something else: {marked}"
    );
    Ok(())
}

#[tokio::test]
async fn a_window_closed_in_the_middle_of_reading_goes_on_where_it_was() -> Result<()> {
    let _turn = TURN.lock().await;
    let home = Home::new()?;
    let mut pages: Vec<String> = std::fs::read_dir(docent_tests::corpus_dir().join("help/en"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    pages.sort();
    pages.truncate(12);
    let folder = home.folder_of(&pages)?;

    let first = Desktop::open(&home).await?;
    first.create_workspace("Manuals").await?;
    first
        .drop_on_window("tauri://drag-drop", &[&folder])
        .await?;
    first.window.find(&hook("document-row"), SOON).await?;
    first.close().await?;

    let second = Desktop::open(&home).await?;
    second.click("nav-documents").await?;
    let result = second.ready(pages.len()).await;
    second.shot("8-reopened").await?;
    result?;
    second.close().await
}

#[cfg(target_os = "linux")]
#[test]
fn an_open_window_listens_on_no_port() -> Result<()> {
    let _turn = TURN.blocking_lock();
    let home = Home::new()?;
    let display = Display::start(1400, 900)?;
    let mut child = std::process::Command::new(program()?)
        .envs(home.environment(&display))
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()?;
    let log = child.stderr.take().context("its log is piped")?;
    let running = Running::from(child);
    // The engine's own word that the data folder is open; the window is there before that.
    let mut lines = BufReader::new(log).lines();
    let opened = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("opened ")));
    ensure!(
        opened.is_some(),
        "the program ended before its data folder was open"
    );
    let listening = docent_tests::listening_sockets(running.id())?;
    ensure!(listening.is_empty(), "listening: {listening:?}");

    // The same look at a process that does listen must find it.
    let control = std::net::TcpListener::bind("127.0.0.1:0")?;
    let found = docent_tests::listening_sockets(std::process::id())?;
    let port = control.local_addr()?.port();
    ensure!(found.contains(&port), "the control is not seen: {found:?}");
    Ok(())
}
