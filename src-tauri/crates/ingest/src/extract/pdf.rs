//! PDF: characters from PDFium, put together into lines by where they stand.
//!
//! PDFium's order is the order in which the page was drawn, which for nearly all documents is the
//! order of reading. Its line breaks are not used: lines come from the geometry, so that a table's
//! cells stay on one line.

use std::fs::File;
use std::path::Path;

use docent_domain::Progress;

use super::ocr::{Grey, MAX_PIXELS};
use super::pdf_layout::{Cell, Line, Page, lay_out};
use super::pdfium::{self, Document, OpenError, Rect, Session, Shown, Style, Turn};
use super::scans::Scans;
use super::{Context, reopenable};
use crate::characters::{is_invisible, title};
use crate::extracted::{Extracted, Warning};
use crate::refusal::Refusal;

/// Pages between two reports of progress.
const REPORT_EVERY: u32 = 16;
/// Entries of an outline that are looked at.
const MAX_BOOKMARKS: usize = 20_000;
/// Fewer characters than this on a page are a page number, not its text.
const FEW_CHARS: usize = 4;
/// Text that covers a smaller share of a page that is a picture is a stamp on a scan. A full page of
/// text covers a third of it, the notice of an electronic signature a twentieth.
const LITTLE_TEXT: f32 = 0.06;
/// Pictures that cover a larger share of a page are the page.
const MOST_OF_PAGE: f32 = 0.5;
/// Lines and curves that draw some five letters.
const LETTERS_SEGMENTS: usize = 100;
/// Where all pages are pictures and have fewer characters each, these are what a scanner, a registry
/// or a signature put on them.
const STAMP_CHARS: u64 = 100;
/// What scanned pages are drawn at for recognition, in pixels an inch. Recognition makes no more of
/// a page at a higher one.
const SCAN_DPI: f32 = 300.0;

pub fn extract(file: &mut File, path: &Path, context: &Context<'_>) -> Result<Extracted, Refusal> {
    let session = start(context)?;
    read(session.open(&reopenable(file, path)), context)
}

/// Reads a PDF that another file holds.
pub fn extract_bytes(bytes: &[u8], context: &Context<'_>) -> Result<Extracted, Refusal> {
    let session = start(context)?;
    read(session.open_bytes(bytes), context)
}

fn start(context: &Context<'_>) -> Result<Session, Refusal> {
    let dir = context.pdfium_dir.ok_or_else(|| Refusal::ReaderMissing {
        message: "no folder is configured for it".to_owned(),
    })?;
    Session::start(dir).map_err(|message| Refusal::ReaderMissing { message })
}

fn read(
    opened: Result<Document<'_>, OpenError>,
    context: &Context<'_>,
) -> Result<Extracted, Refusal> {
    let document = opened.map_err(|error| match error {
        OpenError::Password => Refusal::PasswordProtected,
        OpenError::Security => Refusal::damaged("it is encrypted in a way that is not known"),
        OpenError::Format => Refusal::damaged("it is not a whole PDF"),
        OpenError::File => Refusal::Unreadable {
            message: "the PDF reader could not open it".to_owned(),
        },
        OpenError::Other(code) => Refusal::damaged(format!("the PDF reader says error {code}")),
    })?;
    let total = document.page_count();
    let mut pages = Vec::new();
    let mut unreadable = 0;
    let mut scans = Scans::new(context.recognition);
    let mut chars = 0;
    for index in 0..total {
        if (context.cancelled)() {
            return Err(Refusal::Cancelled);
        }
        let done = |done: u32| {
            (context.progress)(Progress {
                done: u64::from(done),
                total: u64::from(total),
            });
        };
        let page = if let Some(page) = document.page(index) {
            let mut read = read_page(&page);
            let mut recognised = None;
            if is_picture(&page, &read) {
                if scans.go_on() {
                    // Recognising takes as long as a worker may be silent.
                    done(index);
                }
                recognised = scans.read(page.size(), &read, context, || draw_scan(&page))?;
                if scans.go_on() {
                    done(index + 1);
                }
            }
            // After the page was drawn, because it changes the page.
            if let Some(added) = read_annotations(&document, index, &page) {
                read.insert(added);
            }
            if let Some(mut recognised) = recognised {
                recognised.leave_to(&read);
                recognised.insert(read);
                read = recognised;
            }
            chars += read.lines.iter().map(Line::chars).sum::<usize>() as u64;
            if chars > context.bounds.max_chars {
                return Err(Refusal::TooMuchText {
                    max_chars: context.bounds.max_chars,
                });
            }
            read
        } else {
            unreadable += 1;
            Page::default()
        };
        pages.push(page);
        if (index + 1) % REPORT_EVERY == 0 || index + 1 == total {
            done(index + 1);
        }
    }
    if total > 0 && unreadable == total {
        return Err(Refusal::damaged("none of its pages can be read"));
    }
    if scans.pictures > 0 && scans.pictures + unreadable == total && scans.recognised == 0 {
        // What little there is may be all there is, once that was looked into.
        let few = if scans.has_looked() {
            FEW_CHARS as u64
        } else {
            STAMP_CHARS
        };
        if chars < few * u64::from(total) {
            return Err(scans.refusal(total));
        }
    }
    let own_title = own_title(&document.information(c"Title"));
    let outline = document.outline(MAX_BOOKMARKS);
    drop(document);
    let mut extracted = lay_out(pages, &outline, &context.bounds)?;
    if own_title.is_some() {
        extracted.title = own_title;
    }
    extracted.warnings.extend(scans.warnings(total));
    if unreadable > 0 {
        extracted.warnings.push(Warning::PartLeftOut {
            part: format!("{unreadable} pages"),
        });
    }
    Ok(extracted)
}

/// Whether a page is a picture of text: a scan, also under a stamp or a page number, or letters that
/// are drawn as curves. One that was recognised before has its text, seen or not, and is none.
fn is_picture(page: &pdfium::Page<'_>, read: &Page) -> bool {
    let found: usize = read.lines.iter().map(Line::chars).sum();
    let area: f32 = read.lines.iter().map(Line::area).sum();
    let has_text = found >= FEW_CHARS;
    if has_text && area > LITTLE_TEXT * read.width * read.height {
        return false;
    }
    let drawn = page.drawn();
    if has_text {
        drawn.covered > MOST_OF_PAGE && !drawn.hidden_text
    } else {
        drawn.pictures > 0 || drawn.segments >= LETTERS_SEGMENTS
    }
}

/// What fields and other annotations say, where they stand. `None` when there are none.
///
/// How they look is read like any page. Their values are looked at too: they can be there without a
/// look, and the letters of a field with a box for each would be words of their own.
fn read_annotations(document: &Document<'_>, index: u32, page: &pdfium::Page<'_>) -> Option<Page> {
    let entries = page.entries()?;
    let size = page.size();
    let mut added = Page {
        width: size.0,
        height: size.1,
        ..Page::default()
    };
    if page.flatten()
        && let Some(flat) = document.page(index)
        && flat.size() == size
    {
        flat.keep_annotations();
        added = read_page(&flat);
    }
    let shown = page.shown();
    for entry in entries {
        let rect = added.turn.upright(shown.rect(entry.rect), size);
        added.fill_in(&rect, &entry.text);
    }
    Some(added)
}

/// Draws a scanned page for recognition, or says why it cannot be.
fn draw_scan(page: &pdfium::Page<'_>) -> Result<Grey, String> {
    let drawn = picture_of(page, page.size(), SCAN_DPI);
    let grey = drawn.ok_or_else(|| "a page could not be drawn".to_owned())?;
    // A picture that cannot be drawn leaves a white page, which is not the same as a blank one.
    if grey.is_white() && page.has_damaged_image() {
        return Err("the pictures are damaged".to_owned());
    }
    Ok(grey)
}

/// Draws a page of a PDF, counted from 0, at so many pixels an inch, or fewer where it would be too
/// large.
pub fn draw_page(path: &Path, page: u32, dpi: f32, pdfium_dir: &Path) -> Result<Grey, Refusal> {
    let session =
        Session::start(pdfium_dir).map_err(|message| Refusal::ReaderMissing { message })?;
    let document = session
        .open(path)
        .map_err(|_| Refusal::damaged("it is not a whole PDF"))?;
    document
        .page(page)
        .and_then(|page| picture_of(&page, page.size(), dpi))
        .ok_or_else(|| Refusal::damaged("the page cannot be drawn"))
}

fn picture_of(page: &pdfium::Page<'_>, (width, height): (f32, f32), dpi: f32) -> Option<Grey> {
    const POINTS: f32 = 72.0;
    let most = (MAX_PIXELS / (width * height).max(1.0)).sqrt();
    let scale = (dpi / POINTS).min(most);
    let pixels = |points: f32| (points * scale).floor().max(1.0) as u32;
    let (width, height) = (pixels(width), pixels(height));
    Some(Grey {
        width,
        height,
        pixels: page.render(width, height)?,
    })
}

/// The title in the document's information, unless a program put a file's name there.
fn own_title(information: &str) -> Option<String> {
    let stated = information.trim();
    let stated = stated.strip_prefix("Microsoft Word - ").unwrap_or(stated);
    let lower = stated.to_lowercase();
    let is_file = [
        ".doc", ".docx", ".tex", ".dvi", ".indd", ".qxd", ".xls", ".xlsx", ".ppt", ".odt", ".pdf",
        ".rtf",
    ]
    .iter()
    .any(|extension| lower.ends_with(extension));
    let is_placeholder =
        lower.starts_with("untitled") || lower == "document" || lower.starts_with("slide 1");
    if is_file || is_placeholder {
        None
    } else {
        title(stated)
    }
}

fn read_page(page: &pdfium::Page<'_>) -> Page {
    let (width, height) = page.size();
    let Some(text) = page.text() else {
        return Page {
            width,
            height,
            ..Page::default()
        };
    };
    let shown = page.shown();
    let mut builder = Builder {
        text: &text,
        shown,
        page: Page {
            width,
            height,
            turn: usual_turn(&text, shown),
            lines: Vec::new(),
        },
        line: None,
        turn: Turn::Upright,
        space: true,
    };
    let mut index = 0;
    while index < text.len() {
        let mut code = text.code(index);
        let at = index;
        index += 1;
        // A character beyond the basic plane may come in two halves.
        if (0xd800..0xdc00).contains(&code) && index < text.len() {
            let low = text.code(index);
            if (0xdc00..0xe000).contains(&low) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                index += 1;
            }
        }
        builder.char(at, code);
    }
    builder.finish()
}

/// How most of a page's text runs; tables are often set sideways.
fn usual_turn(text: &pdfium::TextPage<'_>, shown: Shown) -> Turn {
    const SAMPLES: usize = 48;
    let step = (text.len() as usize / SAMPLES).max(1);
    let mut counts = [0; Turn::ALL.len()];
    for index in (0..text.len()).step_by(step) {
        let turn = shown.turn(text.direction(index));
        counts[turn as usize] += 1;
    }
    // The first of equals is upright.
    Turn::ALL
        .into_iter()
        .rev()
        .max_by_key(|turn| counts[*turn as usize])
        .unwrap_or_default()
}

struct Builder<'a> {
    text: &'a pdfium::TextPage<'a>,
    shown: Shown,
    page: Page,
    line: Option<Line>,
    /// Of the word that is being read.
    turn: Turn,
    /// White space, or nothing at all, came before the next character.
    space: bool,
}

/// What PDFium gives in place of a hyphen at the end of a line.
const HYPHEN_MARK: u32 = 2;

impl Builder<'_> {
    fn char(&mut self, index: i32, code: u32) {
        let char = match code {
            0 => char::REPLACEMENT_CHARACTER,
            HYPHEN_MARK | 0xad | 0xfffe => '-',
            // Word's bullets, from fonts that have a code of their own.
            0xf0b7 | 0xf0a8 | 0xf06e => '•',
            0xf0a7 | 0xf0fc | 0xf0d8 => '▪',
            code => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
        };
        if char.is_whitespace() {
            self.space = true;
            return;
        }
        if is_invisible(char) {
            return;
        }
        let Some(rect) = self.text.rect(index) else {
            return;
        };
        let rect = self.shown.rect(rect);
        let size = (self.page.width, self.page.height);
        let outside =
            rect.right < 0.0 || rect.bottom < 0.0 || rect.left > size.0 || rect.top > size.1;
        if outside {
            return;
        }
        let rect = self.page.turn.upright(rect, size);
        let starts_word = self.space || self.line.is_none();
        if starts_word {
            self.turn = self.shown.turn(self.text.direction(index));
        }
        // A margin note or a watermark that runs another way than the page.
        let astray = self.turn != self.page.turn;
        let continues = self.line.as_ref().is_some_and(|line| {
            line.astray == astray
                && if astray {
                    line.is_near(&rect)
                } else {
                    line.takes(&rect)
                }
        });
        if !continues {
            self.end_line();
            let style = self.text.style(index);
            let mut line = Line::new(&rect, style, astray);
            line.push(char, &rect, Some(style));
            self.line = Some(line);
        } else if let Some(line) = &mut self.line {
            let style = starts_word.then(|| self.text.style(index));
            if !astray && line.is_far(&rect) {
                line.start_cell(&rect);
            } else if self.space {
                line.push_space();
            }
            line.push(char, &rect, style);
        }
        self.space = false;
    }

    fn end_line(&mut self) {
        if let Some(line) = self.line.take()
            && !line.is_blank()
        {
            self.page.lines.push(line.finished());
        }
    }

    fn finish(mut self) -> Page {
        self.end_line();
        // PDFium orders the lines of a page that is set sideways from its bottom up.
        let lines = &mut self.page.lines;
        let up = lines
            .windows(2)
            .filter(|pair| pair[1].top < pair[0].top)
            .count();
        if self.page.turn != Turn::Upright && up * 2 >= lines.len() {
            lines.sort_by(|a, b| a.top.total_cmp(&b.top));
        }
        self.page
    }
}

impl Line {
    fn new(rect: &Rect, style: Style, astray: bool) -> Self {
        Self {
            cells: vec![Cell {
                text: String::new(),
                left: rect.left,
                right: rect.right,
            }],
            top: rect.top,
            bottom: rect.bottom,
            style,
            astray,
            weights: Vec::new(),
        }
    }

    /// Whether a character at `rect` stands on this line: next to its end, at its height.
    fn takes(&self, rect: &Rect) -> bool {
        let height = (self.bottom - self.top).max(1.0);
        let own = (rect.bottom - rect.top).max(0.1);
        let middle = f32::midpoint(rect.top, rect.bottom);
        let overlap = rect.bottom.min(self.bottom) - rect.top.max(self.top);
        let level = (middle > self.top && middle < self.bottom) || overlap > 0.6 * own;
        // A step back is a new line, or another column, even at the same height.
        let ahead = rect.left > self.right() - 1.2 * height;
        level && ahead && own < 4.0 * height
    }

    /// Whether a character at `rect` may go on a line that runs across the page's.
    fn is_near(&self, rect: &Rect) -> bool {
        let reach = 2.0 * self.style.size.max(4.0);
        let left = self.cells.first().map_or(0.0, |cell| cell.left);
        rect.left < self.right() + reach
            && rect.right > left - reach
            && rect.top < self.bottom + reach
            && rect.bottom > self.top - reach
    }

    /// Whether a gap is too wide for a space: the next cell of a table, or a tab.
    fn is_far(&self, rect: &Rect) -> bool {
        const WIDEST_SPACE: f32 = 1.6;
        rect.left - self.right() > WIDEST_SPACE * self.style.size.max(4.0)
    }

    fn start_cell(&mut self, rect: &Rect) {
        self.cells.push(Cell {
            text: String::new(),
            left: rect.left,
            right: rect.right,
        });
    }

    fn push_space(&mut self) {
        if let Some(cell) = self.cells.last_mut()
            && !cell.text.is_empty()
        {
            cell.text.push(' ');
        }
    }

    fn push(&mut self, char: char, rect: &Rect, style: Option<Style>) {
        // Superscripts widen no line: a line's height is that of what it begins with, and its kin.
        if self.astray || rect.bottom - rect.top >= 0.8 * (self.bottom - self.top) {
            self.top = self.top.min(rect.top);
            self.bottom = self.bottom.max(rect.bottom);
        }
        if let Some(style) = style {
            self.style = style;
        }
        self.weigh();
        let Some(cell) = self.cells.last_mut() else {
            return;
        };
        // Old TeX fonts draw a letter and its accent as two characters.
        let accent = cell.text.chars().next_back().and_then(combining);
        let over =
            rect.left < cell.right && rect.right > cell.right - 0.9 * (rect.right - rect.left);
        if let Some(mark) = accent
            && over
            && char.is_alphabetic()
            && let Some(letter) = unicode_normalization::char::compose(char, mark)
        {
            cell.text.pop();
            cell.text.push(letter);
        } else {
            match ligature(char) {
                Some(letters) => cell.text.push_str(letters),
                None => cell.text.push(char),
            }
        }
        cell.right = cell.right.max(rect.right);
        cell.left = cell.left.min(rect.left);
    }

    /// Counts one character for the style in force; the style of most becomes the line's.
    fn weigh(&mut self) {
        let style = self.style;
        match self.weights.iter_mut().find(|(known, _)| *known == style) {
            Some((_, count)) => *count += 1,
            None => self.weights.push((style, 1)),
        }
    }

    fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.text.trim().is_empty())
    }

    fn finished(mut self) -> Self {
        let total: usize = self.weights.iter().map(|(_, count)| count).sum();
        if let Some((style, _)) = self.weights.iter().max_by_key(|(_, count)| *count) {
            self.style.size = style.size;
        }
        let share = |is: fn(&Style) -> bool| {
            let count: usize = self
                .weights
                .iter()
                .filter(|(style, _)| is(style))
                .map(|(_, count)| count)
                .sum();
            count * 10 >= total * 9
        };
        self.style.bold = share(|style| style.bold);
        self.style.monospaced = share(|style| style.monospaced);
        self.weights = Vec::new();
        for cell in &mut self.cells {
            let trimmed = cell.text.trim_end().len();
            cell.text.truncate(trimmed);
            if let std::borrow::Cow::Owned(text) = crate::characters::composed(&cell.text) {
                cell.text = text;
            }
        }
        self.cells.retain(|cell| !cell.text.is_empty());
        self
    }
}

fn combining(accent: char) -> Option<char> {
    Some(match accent {
        'ˇ' => '\u{30c}',
        '´' => '\u{301}',
        '`' => '\u{300}',
        '¨' => '\u{308}',
        'ˆ' => '\u{302}',
        '˜' => '\u{303}',
        '˚' => '\u{30a}',
        _ => return None,
    })
}

fn ligature(char: char) -> Option<&'static str> {
    Some(match char {
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        _ => return None,
    })
}
