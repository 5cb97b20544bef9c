//! Text recognition of pictures of pages, by the Tesseract program where it is installed.
//!
//! A page goes to Tesseract as grey pixels through a pipe and comes back as hOCR, whose lines carry
//! what layout needs: boxes, the size of the type, the way they run, and how sure Tesseract is of
//! each word. The program inherits the worker's limits and dies with it, with the page's deadline
//! and with the reading's cancellation.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use docent_worker::Limits;
use quick_xml::events::BytesStart;
use serde::{Deserialize, Serialize};

use super::pdf_layout::{Cell, Line, Page};
use super::pdfium::{Rect, Style, Turn};
use super::xml::{self, Part};
use crate::refusal::Refusal;

/// Overrides the program that is looked for on the path.
const PROGRAM_VARIABLE: &str = "DOCENT_TESSERACT";

/// Those of Tesseract's languages that Docent's users write, in the order in which they are tried.
const LANGUAGES: [&str; 2] = ["hrv", "eng"];

/// Beside languages, Tesseract lists its model of which way a page is turned.
const ORIENTATION: &str = "osd";

/// A page that takes longer is left out. Usual pages take one to three seconds; the worker counts
/// as stalled after 30.
const PAGE_TIME: Duration = Duration::from_secs(25);

/// Asking Tesseract for its version takes a hundredth of this.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How often a page that is being recognised is looked after.
const POLL: Duration = Duration::from_millis(50);

/// A full page is some 60 KB of hOCR.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// Words of which Tesseract is this sure (in percent) are nearly always right.
const SURE: f32 = 60.0;

/// A line in which it is surer of no word is a speck, a stamp or a part of a picture.
const HARDLY: f32 = 40.0;

/// Resolutions that Tesseract takes for true.
const RESOLUTIONS: std::ops::RangeInclusive<f32> = 70.0..=2400.0;

/// No page is given larger: A3 at 300 pixels an inch has 17 million.
pub const MAX_PIXELS: f32 = 20e6;

/// Leaves the cores to whoever reads, embeds or answers meanwhile.
const NICENESS: i32 = 10;

/// A Tesseract that can be used, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recogniser {
    pub program: PathBuf,
    /// Such as `5.3.0`.
    pub version: String,
    /// As Tesseract names them: `hrv`, `eng`. Never empty.
    pub languages: Vec<String>,
    /// Whether it can tell which way a page is turned.
    pub finds_orientation: bool,
}

/// Why no text can be recognised, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecogniserMissing {
    #[error(
        "not installed; scanned documents cannot be searched without it (Debian, Ubuntu: apt install tesseract-ocr tesseract-ocr-hrv)"
    )]
    NotInstalled,
    #[error(
        "Tesseract {version} has neither Croatian nor English (Debian, Ubuntu: apt install tesseract-ocr-eng tesseract-ocr-hrv)"
    )]
    NoLanguage { version: String },
    #[error("{program} does not work: {message}")]
    Broken { program: PathBuf, message: String },
}

impl Recogniser {
    /// Looks for Tesseract and asks it what it can do. Blocking; takes some 50 ms where there is one.
    pub fn find() -> Result<Self, RecogniserMissing> {
        let program = std::env::var_os(PROGRAM_VARIABLE)
            .map_or_else(|| PathBuf::from("tesseract"), PathBuf::from);
        Self::at(program)
    }

    /// [`Recogniser::find`] of a certain program.
    pub fn at(program: PathBuf) -> Result<Self, RecogniserMissing> {
        let ask = |argument: &str| {
            let mut command = Command::new(&program);
            command.arg(argument).stdin(Stdio::null());
            answer(&mut command, None, ANSWER_TIME, &|| false).map_err(|failure| match failure {
                Failure::Spawn(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    RecogniserMissing::NotInstalled
                }
                failure => RecogniserMissing::Broken {
                    program: program.clone(),
                    message: failure.to_string(),
                },
            })
        };
        let version = version_in(&ask("--version")?);
        let listed = ask("--list-langs")?;
        let has = |language: &str| listed.lines().any(|line| line.trim() == language);
        let languages: Vec<String> = LANGUAGES
            .into_iter()
            .filter(|language| has(language))
            .map(ToOwned::to_owned)
            .collect();
        if languages.is_empty() {
            return Err(RecogniserMissing::NoLanguage { version });
        }
        Ok(Self {
            program,
            version,
            languages,
            finds_orientation: has(ORIENTATION),
        })
    }
}

/// `tesseract 5.3.0`, with libraries on the lines after it.
fn version_in(answer: &str) -> String {
    let first = answer.lines().next().unwrap_or_default();
    let version = first.strip_prefix("tesseract ").unwrap_or(first);
    version.trim().to_owned()
}

/// What may be spent on recognising one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognition {
    pub recogniser: Recogniser,
    /// When it is used up, the rest of the pages stays unrecognised.
    pub time: Duration,
}

/// A picture: a byte a pixel, 0 is black; row by row from the top.
#[derive(Clone, Debug)]
pub struct Grey {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl Grey {
    pub fn is_white(&self) -> bool {
        self.pixels.iter().all(|pixel| *pixel == u8::MAX)
    }
}

/// What became of a picture of a page.
pub enum Recognised {
    Text(Page),
    /// Nothing on it looks like text.
    Blank,
    /// Something does, but it cannot be made out.
    Illegible,
    /// Tesseract failed, or took too long.
    Failed(String),
}

/// Recognises the text on a page of `size` points. Blocking.
pub fn recognise(
    grey: &Grey,
    size: (f32, f32),
    recogniser: &Recogniser,
    cancelled: &dyn Fn() -> bool,
) -> Result<Recognised, Refusal> {
    let deadline = Instant::now() + PAGE_TIME;
    let upright = match read_page(grey, size, recogniser, Layout::Upright, deadline, cancelled)? {
        Ok(reading) => reading,
        Err(message) => return Ok(Recognised::Failed(message)),
    };
    let mut best = upright;
    // Looking for the orientation takes a tenth longer and errs where there is little text; pages
    // that read well as they are need none.
    if best.is_doubtful()
        && recogniser.finds_orientation
        && let Ok(turned) = read_page(grey, size, recogniser, Layout::Turned, deadline, cancelled)?
        && turned.sureness() >= best.sureness()
    {
        best = turned;
    }
    Ok(best.finish())
}

#[derive(Clone, Copy)]
enum Layout {
    Upright,
    /// Finds out which way the page is turned.
    Turned,
}

fn read_page(
    grey: &Grey,
    size: (f32, f32),
    recogniser: &Recogniser,
    layout: Layout,
    deadline: Instant,
    cancelled: &dyn Fn() -> bool,
) -> Result<Result<Reading, String>, Refusal> {
    let (width, height) = size;
    let dpi = grey.width as f32 / width.max(1.0) * 72.0;
    let mut command = Command::new(&recogniser.program);
    command
        .args(["stdin", "stdout", "-l"])
        .arg(recogniser.languages.join("+"))
        .args([
            "--psm",
            match layout {
                Layout::Upright => "3",
                Layout::Turned => "1",
            },
        ])
        .arg("--dpi")
        .arg(format!(
            "{:.0}",
            dpi.clamp(*RESOLUTIONS.start(), *RESOLUTIONS.end())
        ))
        .args([
            "-c",
            "tessedit_create_hocr=1",
            "-c",
            "tessedit_create_txt=0",
        ])
        // A page keeps one core busy; more threads make it hardly faster.
        .env("OMP_THREAD_LIMIT", "1");
    let time = deadline.saturating_duration_since(Instant::now());
    let output = match answer(&mut command, Some(grey), time, cancelled) {
        Ok(output) => output,
        Err(Failure::Cancelled) => return Err(Refusal::Cancelled),
        Err(failure) => return Ok(Err(failure.to_string())),
    };
    let mut reading = Reading {
        width,
        height,
        scale: (
            width / grey.width.max(1) as f32,
            height / grey.height.max(1) as f32,
        ),
        ..Reading::default()
    };
    // What came before an end in the middle is good.
    xml::events(output.as_bytes(), &mut reading)?;
    Ok(Ok(reading))
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it could not be started: {0}")]
    Spawn(std::io::Error),
    #[error("it took longer than {} seconds", .0.as_secs())]
    TooSlow(Duration),
    #[error("it ended with {0}")]
    Ended(std::process::ExitStatus),
    #[error("its output could not be read: {0}")]
    Output(std::io::Error),
    #[error("it was stopped")]
    Cancelled,
}

/// A process that does not outlive this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails only when it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program on a picture to its end, and returns what it writes.
fn answer(
    command: &mut Command,
    input: Option<&Grey>,
    time: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<String, Failure> {
    let deadline = Instant::now() + time;
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    docent_worker::confine(
        command,
        Limits {
            niceness: Some(NICENESS),
            ..Limits::default()
        },
    );
    let mut child = Killed(command.spawn().map_err(Failure::Spawn)?);
    let stdin = child.0.stdin.take();
    let stdout = child.0.stdout.take();
    // Both ends of the pipes at once, or a program that answers before it has read everything would
    // wait for this one, and this one for it.
    std::thread::scope(|scope| {
        // Moved in, so that the process is gone before the threads on its pipes are waited for.
        let mut child = child;
        if let (Some(mut stdin), Some(grey)) = (stdin, input) {
            scope.spawn(move || {
                // A program that ends early says why by its status.
                let _ = write!(stdin, "P5\n{} {}\n255\n", grey.width, grey.height)
                    .and_then(|()| stdin.write_all(&grey.pixels));
            });
        }
        let (sender, output) = mpsc::channel();
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let read = match stdout {
                Some(stdout) => stdout.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes),
                None => Ok(0),
            };
            let _ = sender.send(read.map(|_| bytes));
        });
        let bytes = loop {
            if cancelled() {
                return Err(Failure::Cancelled);
            }
            if Instant::now() >= deadline {
                return Err(Failure::TooSlow(time));
            }
            match output.recv_timeout(POLL) {
                Ok(read) => break read.map_err(Failure::Output)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Output(std::io::ErrorKind::BrokenPipe.into()));
                }
            }
        };
        loop {
            match child.0.try_wait().map_err(Failure::Output)? {
                Some(status) if status.success() => break,
                Some(status) => return Err(Failure::Ended(status)),
                None if Instant::now() >= deadline => return Err(Failure::TooSlow(time)),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// A box in the picture, in pixels.
type Pixels = [f32; 4];

struct Word {
    text: String,
    bounds: Pixels,
    /// In percent.
    sureness: f32,
}

struct RawLine {
    bounds: Pixels,
    /// Height of the type in pixels, from the top of its ascenders to the bottom of its descenders.
    size: f32,
    turn: Turn,
    words: Vec<Word>,
}

/// hOCR as it is read.
#[derive(Default)]
struct Reading {
    width: f32,
    height: f32,
    /// Points per pixel.
    scale: (f32, f32),
    lines: Vec<RawLine>,
    /// Elements `span` that are open, and which of them is a word.
    spans: usize,
    word: Option<usize>,
}

impl Part for Reading {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name != "span" {
            return Ok(());
        }
        self.spans += 1;
        let class = xml::attribute(element, "class").unwrap_or_default();
        let title = xml::attribute(element, "title").unwrap_or_default();
        let Some(bounds) = numbers::<4>(&title, "bbox") else {
            return Ok(());
        };
        if class == "ocrx_word" {
            let [sureness] = numbers(&title, "x_wconf").unwrap_or_default();
            if let Some(line) = self.lines.last_mut() {
                line.words.push(Word {
                    text: String::new(),
                    bounds,
                    sureness,
                });
                self.word = Some(self.spans);
            }
        } else if class.starts_with("ocr_") {
            let [angle] = numbers(&title, "textangle").unwrap_or_default();
            let turn = match angle as i32 {
                90 => Turn::Upwards,
                180 => Turn::UpsideDown,
                270 => Turn::Downwards,
                _ => Turn::Upright,
            };
            let [size] = numbers(&title, "x_size").unwrap_or([bounds[3] - bounds[1]]);
            self.lines.push(RawLine {
                bounds,
                size,
                turn,
                words: Vec::new(),
            });
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if name == "span" {
            if self.word == Some(self.spans) {
                self.word = None;
            }
            self.spans = self.spans.saturating_sub(1);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.word.is_some()
            && let Some(word) = self.lines.last_mut().and_then(|line| line.words.last_mut())
        {
            word.text.push_str(text.trim());
        }
    }
}

/// The numbers after a property's name in hOCR's `title`: `bbox 36 92 580 122; x_wconf 96`.
fn numbers<const N: usize>(title: &str, property: &str) -> Option<[f32; N]> {
    let mut words = title
        .split(';')
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(property)).then_some(words))?;
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = words.next()?.parse().ok().filter(|n: &f32| n.is_finite())?;
    }
    Some(numbers)
}

impl Reading {
    fn words(&self) -> impl Iterator<Item = &Word> {
        self.lines.iter().flat_map(|line| &line.words)
    }

    fn chars<'w>(words: impl Iterator<Item = &'w Word>) -> usize {
        words.map(|word| word.text.chars().count()).sum()
    }

    /// The share of characters in words that are nearly always right.
    fn sureness(&self) -> f32 {
        let all = Self::chars(self.words());
        let sure = Self::chars(self.words().filter(|word| word.sureness >= SURE));
        sure as f32 / all.max(1) as f32
    }

    /// Whether the page may be turned: it reads badly, or its words stand upright.
    fn is_doubtful(&self) -> bool {
        const READS_WELL: f32 = 0.8;
        let long = |word: &&Word| word.text.chars().count() >= 3;
        let tall = |word: &&Word| {
            let [left, top, right, bottom] = word.bounds;
            bottom - top > right - left
        };
        let words = self.words().filter(long).count();
        let upright = self.words().filter(long).filter(tall).count();
        self.words().next().is_some() && (self.sureness() < READS_WELL || upright * 2 > words)
    }

    fn finish(mut self) -> Recognised {
        /// Below this share the page is no text, but something that looks like it here and there.
        const MOSTLY_NOISE: f32 = 0.5;
        if self.words().all(|word| word.text.is_empty()) {
            return Recognised::Blank;
        }
        let is_noise = self.sureness() < MOSTLY_NOISE;
        for line in &mut self.lines {
            line.words.retain(|word| !word.text.is_empty());
        }
        self.lines
            .retain(|line| line.words.iter().any(|word| word.sureness >= HARDLY));
        if is_noise || self.lines.is_empty() {
            return Recognised::Illegible;
        }
        Recognised::Text(self.page())
    }

    fn page(mut self) -> Page {
        let lines = std::mem::take(&mut self.lines);
        let turn = Turn::ALL
            .into_iter()
            .rev()
            .max_by_key(|turn| {
                let of_turn = lines.iter().filter(|line| line.turn == *turn);
                Self::chars(of_turn.flat_map(|line| &line.words))
            })
            .unwrap_or_default();
        let mut page = Page {
            width: self.width,
            height: self.height,
            turn,
            lines: lines.iter().map(|line| self.line(line, turn)).collect(),
        };
        even_out_sizes(&mut page.lines);
        page
    }

    /// A box on the page when it is turned to be read, in points.
    fn place(&self, [left, top, right, bottom]: Pixels, turn: Turn) -> Rect {
        let (x, y) = self.scale;
        let shown = Rect {
            left: (left * x).clamp(0.0, self.width),
            top: (top * y).clamp(0.0, self.height),
            right: (right * x).clamp(0.0, self.width),
            bottom: (bottom * y).clamp(0.0, self.height),
        };
        turn.upright(shown, (self.width, self.height))
    }

    fn line(&self, raw: &RawLine, turn: Turn) -> Line {
        /// A gap of more than this many sizes parts cells of a table.
        const WIDEST_SPACE: f32 = 1.6;
        let bounds = self.place(raw.bounds, turn);
        let size = (raw.size * self.scale.1).max(1.0);
        let mut cells: Vec<Cell> = Vec::new();
        for word in &raw.words {
            let place = self.place(word.bounds, turn);
            match cells.last_mut() {
                Some(cell) if place.left - cell.right <= WIDEST_SPACE * size.max(4.0) => {
                    cell.text.push(' ');
                    cell.text.push_str(&word.text);
                    cell.right = cell.right.max(place.right);
                }
                _ => cells.push(Cell {
                    text: word.text.clone(),
                    left: place.left,
                    right: place.right,
                }),
            }
        }
        Line {
            cells,
            top: bounds.top,
            bottom: bounds.bottom,
            style: Style {
                size,
                ..Style::default()
            },
            astray: raw.turn != turn,
            weights: Vec::new(),
        }
    }
}

/// Measured sizes of one type differ by a pixel or two, and by which letters a line happens to have.
/// Those near that of most text become it; others are rounded to whole points.
fn even_out_sizes(lines: &mut [Line]) {
    const NEAR: f32 = 0.15;
    let mut by_size: std::collections::BTreeMap<i32, usize> = std::collections::BTreeMap::new();
    for line in lines.iter() {
        *by_size
            .entry((line.style.size * 2.0).round() as i32)
            .or_default() += line.chars();
    }
    let Some((usual, _)) = by_size.into_iter().max_by_key(|(_, chars)| *chars) else {
        return;
    };
    let usual = usual as f32 / 2.0;
    for line in lines {
        let size = &mut line.style.size;
        *size = if (*size - usual).abs() <= NEAR * usual {
            usual
        } else {
            size.round().max(1.0)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const A4: (f32, f32) = (595.0, 842.0);

    /// A page of 1190 by 1684 pixels with these lines: title of the line, then its words with theirs.
    fn read(lines: &[(&str, &[(&str, &str)])]) -> Reading {
        let mut hocr =
            String::from("<html><body><div class='ocr_page' title='bbox 0 0 1190 1684'>");
        for (title, words) in lines {
            write!(hocr, "<span class='ocr_line' title=\"{title}\">").unwrap();
            for (title, word) in *words {
                write!(
                    hocr,
                    "<span class='ocrx_word' title='{title}'>{word}</span> "
                )
                .unwrap();
            }
            hocr += "</span>";
        }
        hocr += "</div></body></html>";
        let mut reading = Reading {
            width: A4.0,
            height: A4.1,
            scale: (0.5, 0.5),
            ..Reading::default()
        };
        xml::events(hocr.as_bytes(), &mut reading).unwrap();
        reading
    }

    fn page(reading: Reading) -> Page {
        match reading.finish() {
            Recognised::Text(page) => page,
            Recognised::Blank => panic!("blank"),
            Recognised::Illegible => panic!("illegible"),
            Recognised::Failed(message) => panic!("{message}"),
        }
    }

    #[test]
    fn lines_keep_their_places_sizes_and_gaps() {
        let page = page(read(&[
            (
                "bbox 100 200 600 240; baseline 0 -8; x_size 44",
                &[
                    ("bbox 100 200 200 240; x_wconf 96", "<strong>Iznos</strong>"),
                    ("bbox 210 200 300 240; x_wconf 90", "A&amp;B"),
                    ("bbox 500 200 600 240; x_wconf 91", "35,50"),
                ],
            ),
            (
                "bbox 100 260 400 300; x_size 41",
                &[("bbox 100 260 400 300; x_wconf 93", "pristojba")],
            ),
        ]));
        let cells: Vec<_> = page.lines[0]
            .cells
            .iter()
            .map(|cell| (cell.text.as_str(), cell.left, cell.right))
            .collect();
        assert_eq!(cells, [("Iznos A&B", 50.0, 150.0), ("35,50", 250.0, 300.0)]);
        assert_eq!((page.lines[0].top, page.lines[0].bottom), (100.0, 120.0));
        let difference = page.lines[0].style.size - page.lines[1].style.size;
        assert!(
            difference.abs() < f32::EPSILON,
            "what is measured of one type differs a little"
        );
    }

    #[test]
    fn turned_lines_stand_as_they_are_read() {
        let page = page(read(&[(
            "bbox 1000 100 1040 500; textangle 270; x_size 40",
            &[
                ("bbox 1000 100 1040 280; x_wconf 96", "Šumski"),
                ("bbox 1000 300 1040 500; x_wconf 96", "red"),
            ],
        )]));
        assert_eq!(page.turn, Turn::Downwards);
        let line = &page.lines[0];
        assert_eq!((line.top, line.bottom), (75.0, 95.0), "from the right edge");
        assert_eq!(line.cells[0].text, "Šumski red");
        assert_eq!((line.cells[0].left, line.cells[0].right), (50.0, 250.0));
        assert!(!line.astray);
    }

    #[test]
    fn noise_is_no_text_and_specks_are_dropped() {
        let line = "bbox 0 0 90 20; x_size 20";
        let noise = read(&[(line, &[("bbox 0 0 90 20; x_wconf 31", "~;|x")])]);
        assert!(noise.is_doubtful());
        assert!(matches!(noise.finish(), Recognised::Illegible));
        let empty = read(&[(line, &[("bbox 0 0 90 20; x_wconf 95", " ")])]);
        assert!(matches!(empty.finish(), Recognised::Blank));
        assert!(matches!(read(&[]).finish(), Recognised::Blank));
        let good = read(&[
            (line, &[("bbox 0 0 90 20; x_wconf 95", "Republike")]),
            (line, &[("bbox 0 0 90 20; x_wconf 12", "|;")]),
        ]);
        assert!(!good.is_doubtful());
        assert_eq!(page(good).lines.len(), 1);
    }

    #[test]
    fn output_that_makes_no_sense_gives_nothing() {
        for output in [
            "",
            "<span class='ocr_line'>",
            "<span class='ocrx_word' title='bbox 1 2'>x",
            "\0\0",
        ] {
            let mut reading = Reading::default();
            xml::events(output.as_bytes(), &mut reading).unwrap();
            assert!(matches!(reading.finish(), Recognised::Blank), "{output}");
        }
    }
}
