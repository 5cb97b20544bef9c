//! From lines on pages to text: running heads, columns, paragraphs, headings, lists, tables.
//!
//! Pure geometry and typography, without PDFium, so that every rule can be tested by itself.
//! All measures are in points, origin at the top left.

use std::collections::{BTreeSet, HashMap, HashSet};

use docent_domain::Span;
use unicode_normalization::UnicodeNormalization as _;

use super::pdfium::{Bookmark, Rect, Style, Turn};
use super::{Bounds, text::division};
use crate::characters::{collapsed, title};
use crate::extracted::{Assembler, BlockKind, Extracted, LineBox, PageKind, PageLayout, Warning};
use crate::refusal::Refusal;

#[derive(Clone, Debug, Default)]
pub struct Page {
    /// As shown.
    pub width: f32,
    pub height: f32,
    /// How the text runs. The lines stand where they do when the page is turned to be read.
    pub turn: Turn,
    pub lines: Vec<Line>,
}

impl Page {
    /// Says what a field at `rect` holds. Where it can be seen already it is only spelt as it is held.
    pub fn fill_in(&mut self, rect: &Rect, text: &str) {
        /// No field has more, and each is compared with all that is seen.
        const MOST_LINES: usize = 200;
        let inside = |line: &Line, cell: &Cell| {
            let x = f32::midpoint(cell.left, cell.right);
            let y = f32::midpoint(line.top, line.bottom);
            (rect.left..=rect.right).contains(&x) && (rect.top..=rect.bottom).contains(&y)
        };
        let mut seen = self.lines.iter().enumerate().filter_map(|(index, line)| {
            let first = line.cells.iter().position(|cell| inside(line, cell))?;
            let last = line.cells.iter().rposition(|cell| inside(line, cell))?;
            Some((index, first, last))
        });
        let held: Vec<String> = text
            .lines()
            .map(collapsed)
            .filter(|line| !line.is_empty())
            .take(MOST_LINES)
            .collect();
        match (seen.next(), seen.next(), held.as_slice()) {
            (None, _, held) => {
                let step = (rect.bottom - rect.top) / held.len().max(1) as f32;
                let lines = (0_u8..).zip(held).map(|(number, text)| {
                    let top = rect.top + step * f32::from(number);
                    Line {
                        cells: vec![Cell {
                            text: text.clone(),
                            left: rect.left,
                            right: rect.right,
                        }],
                        top,
                        bottom: top + step,
                        style: Style {
                            size: step.min(10.0),
                            ..Style::default()
                        },
                        astray: false,
                        weights: Vec::new(),
                    }
                });
                self.lines.extend(lines);
            }
            (Some((index, first, last)), None, [held]) => {
                let cells = &mut self.lines[index].cells;
                let shown: String = cells[first..=last]
                    .iter()
                    .map(|cell| bare(&cell.text))
                    .collect();
                if shown == bare(held) {
                    let right = cells[last].right;
                    cells.drain(first + 1..=last);
                    cells[first].text.clone_from(held);
                    cells[first].right = right;
                }
            }
            _ => {}
        }
    }

    /// Takes out what lies under the lines of `other`.
    pub fn leave_to(&mut self, other: &Self) {
        if self.lines.len().saturating_mul(other.lines.len()) > MOST_PAIRS {
            return;
        }
        let above: Vec<Rect> = other
            .lines
            .iter()
            .map(|line| self.place_of(other, line.rect()))
            .collect();
        self.lines.retain(|line| {
            let own = line.rect();
            let area = (own.right - own.left) * (own.bottom - own.top);
            let covered = above.iter().map(|above| {
                let across = own.right.min(above.right) - own.left.max(above.left);
                let down = own.bottom.min(above.bottom) - own.top.max(above.top);
                across.max(0.0) * down.max(0.0)
            });
            covered.fold(0.0, f32::max) <= 0.5 * area
        });
    }

    /// Puts in lines that were not drawn with this page's own, such as a form's fields or a stamp on a
    /// scan: each as cells of the line that stands beside it, or below the line above.
    pub fn insert(&mut self, other: Self) {
        if self.lines.is_empty() {
            *self = other;
            return;
        }
        let body_size = body_size(&chars_by_size(self.lines.iter()));
        let many = self.lines.len().saturating_mul(other.lines.len()) > MOST_PAIRS;
        let mut apart: Vec<(usize, Line)> = Vec::new();
        let lines = std::mem::take(&mut self.lines);
        let mut own = lines;
        for mut line in other.lines.iter().cloned() {
            if self.turn != other.turn {
                let rect = self.place_of(&other, line.rect());
                line.astray = true;
                (line.top, line.bottom) = (rect.top, rect.bottom);
                let text = line.text(" ");
                line.cells = vec![Cell {
                    text,
                    left: rect.left,
                    right: rect.right,
                }];
            }
            // What is filled in is no heading, however large.
            line.style.size = line.style.size.min(body_size);
            line.style.bold = false;
            if many {
                apart.push((own.len(), line));
                continue;
            }
            let beside = own
                .iter_mut()
                .chain(apart.iter_mut().map(|(_, line)| line))
                .filter(|known| known.is_level_with(&line))
                .map(|known| (known.gap_to(&line), known))
                .filter(|(gap, _)| *gap < self.width / 2.0)
                .min_by(|(a, _), (b, _)| a.total_cmp(b));
            if let Some((_, known)) = beside {
                known.cells.append(&mut line.cells);
                known.cells.sort_by(|a, b| a.left.total_cmp(&b.left));
                known.top = known.top.min(line.top);
                known.bottom = known.bottom.max(line.bottom);
                continue;
            }
            let place = (0..own.len())
                .filter(|index| own[*index].bottom <= f32::midpoint(line.top, line.bottom))
                .max_by(|a, b| {
                    let rank = |index: usize| (own[index].gap_to(&line) <= 0.0, own[index].bottom);
                    let ((a_over, a), (b_over, b)) = (rank(*a), rank(*b));
                    a_over.cmp(&b_over).then(a.total_cmp(&b))
                })
                .map_or(0, |index| index + 1);
            apart.push((place, line));
        }
        apart.sort_by(|(a, one), (b, other)| a.cmp(b).then(one.top.total_cmp(&other.top)));
        let mut apart = apart.into_iter().peekable();
        self.lines.reserve(own.len() + apart.len());
        for (index, line) in own.into_iter().enumerate() {
            while let Some((_, line)) = apart.next_if(|(place, _)| *place <= index) {
                self.lines.push(line);
            }
            self.lines.push(line);
        }
        self.lines.extend(apart.map(|(_, line)| line));
    }

    /// Where a box of `other`, the same page turned its own way, stands on this one.
    fn place_of(&self, other: &Self, rect: Rect) -> Rect {
        let size = (self.width, self.height);
        self.turn.upright(other.turn.as_shown(rect, size), size)
    }
}

/// Lines of two readings of a page that are compared with each other; more are no text.
const MOST_PAIRS: usize = 10_000_000;

/// Height of a page when it is turned to be read.
fn reading_height(width: f32, height: f32, turn: Turn) -> f32 {
    match turn {
        Turn::Upright | Turn::UpsideDown => height,
        Turn::Downwards | Turn::Upwards => width,
    }
}

#[derive(Clone, Debug)]
pub struct Line {
    /// More than one where wide gaps part the line, as in a table's row.
    pub cells: Vec<Cell>,
    pub top: f32,
    pub bottom: f32,
    pub style: Style,
    /// Runs another way than the rest of the page.
    pub astray: bool,
    /// While the line is read: how many characters are set in each style.
    pub weights: Vec<(Style, usize)>,
}

#[derive(Clone, Debug)]
pub struct Cell {
    pub text: String,
    pub left: f32,
    pub right: f32,
}

impl Line {
    pub fn chars(&self) -> usize {
        self.cells
            .iter()
            .map(|cell| cell.text.chars().count())
            .sum()
    }

    /// What its cells cover, in square points.
    pub fn area(&self) -> f32 {
        let height = self.bottom - self.top;
        self.cells
            .iter()
            .map(|cell| (cell.right - cell.left) * height)
            .sum()
    }

    fn rect(&self) -> Rect {
        Rect {
            left: self.left(),
            top: self.top,
            right: self.right(),
            bottom: self.bottom,
        }
    }

    /// Whether two lines stand at the same height.
    fn is_level_with(&self, other: &Self) -> bool {
        let common = self.bottom.min(other.bottom) - self.top.max(other.top);
        let lower = (self.bottom - self.top).min(other.bottom - other.top);
        self.astray == other.astray && common > 0.5 * lower
    }

    /// How far apart two lines stand from left to right; 0 where one is above the other.
    fn gap_to(&self, other: &Self) -> f32 {
        let gap = (other.left() - self.right()).max(self.left() - other.right());
        gap.max(0.0)
    }

    fn left(&self) -> f32 {
        self.cells.first().map_or(0.0, |cell| cell.left)
    }

    pub fn right(&self) -> f32 {
        self.cells.last().map_or(0.0, |cell| cell.right)
    }

    fn text(&self, separator: &str) -> String {
        match self.cells.as_slice() {
            [only] => only.text.clone(),
            cells => {
                let texts: Vec<_> = cells.iter().map(|cell| cell.text.as_str()).collect();
                texts.join(separator)
            }
        }
    }

    fn ends_sentence(&self) -> bool {
        let text = self.cells.last().map_or("", |cell| cell.text.as_str());
        text.trim_end_matches(['"', '”', '“', '\'', '’', ')', ']', '»'])
            .ends_with(['.', '!', '?', ':', '…'])
    }
}

/// A line of the document, and what is known of it.
struct Placed {
    page: u32,
    line: Line,
    /// From the outline.
    heading: Option<u8>,
    /// The outline's entry begins on the line before.
    heading_goes_on: bool,
}

/// What the document as a whole looks like.
struct Norms {
    body_size: f32,
    /// From top to top of two lines of body text, divided by their size.
    pitch: f32,
    /// Sizes of headings, largest first.
    heading_sizes: Vec<f32>,
    has_outline: bool,
}

/// Lays out the pages and makes one text of them.
pub fn lay_out(
    mut pages: Vec<Page>,
    outline: &[Bookmark],
    bounds: &Bounds,
) -> Result<Extracted, Refusal> {
    let is_repaired = repair_croatian(&mut pages);
    drop_running_lines(&mut pages);
    let sizes: Vec<_> = pages
        .iter()
        .map(|page| (page.width, page.height, page.turn))
        .collect();
    let mut lines: Vec<Placed> = Vec::new();
    for (number, page) in (1..).zip(pages) {
        lines.extend(page.lines.into_iter().map(|mut line| {
            for cell in &mut line.cells {
                shorten_leaders(&mut cell.text);
            }
            Placed {
                page: number,
                line,
                heading: None,
                heading_goes_on: false,
            }
        }));
    }
    let outline: Vec<Bookmark> = outline
        .iter()
        .map(|bookmark| Bookmark {
            title: if is_repaired {
                bookmark.title.chars().map(croatian).collect()
            } else {
                bookmark.title.clone()
            },
            ..*bookmark
        })
        .collect();
    let has_outline = mark_outline(&mut lines, &outline);
    drop_repeated_titles(&mut lines, &outline, &sizes);
    let norms = Norms::of(&lines, has_outline);
    let groups = group(&lines, &norms);
    let mut extracted = assemble(&lines, &groups, &sizes, bounds)?;
    extracted.title = largest_heading(&extracted, &lines, &groups);
    if is_repaired {
        extracted.warnings.push(Warning::GuessedEncoding {
            encoding: "windows-1250".to_owned(),
        });
    }
    if is_garbled(&extracted.text) || is_unpronounceable(&extracted) {
        extracted.warnings.push(Warning::Garbled);
    }
    Ok(extracted)
}

/// Takes out page numbers and the heads and feet that repeat from page to page.
///
/// A line is one of these when, near the top or the bottom, the same line, figure for figure, stands
/// at the same height on page after page, or on every other page, or when lines that count the pages
/// do. An unbroken run is asked for because `Examples` may well begin a tenth of a manual's pages.
/// Rows of a table that begins or ends a page are none, and what a head or a foot says stays once:
/// a letter's sender stands nowhere else.
fn drop_running_lines(pages: &mut [Page]) {
    /// Fewer pages in a row are a coincidence, unless the document has no more.
    const FEWEST: usize = 4;
    const FEWEST_IN_SHORT: usize = 3;
    const SHORT: usize = 12;
    let body_size = body_size(&chars_by_size(pages.iter().flat_map(|page| &page.lines)));
    let edges: Vec<Vec<Edge>> = (0..)
        .zip(pages.iter())
        .map(|(number, page)| edges(page, number, body_size))
        .collect();
    let mut seen: HashMap<(i32, &str), BTreeSet<usize>> = HashMap::new();
    let mut counting: HashMap<(i32, i64), BTreeSet<usize>> = HashMap::new();
    for (number, edges) in edges.iter().enumerate() {
        for edge in edges {
            seen.entry((edge.height, &edge.text))
                .or_default()
                .insert(number);
            for folio in &edge.folios {
                counting
                    .entry((edge.height, folio.ahead))
                    .or_default()
                    .insert(number);
            }
        }
    }
    let fewest = match pages.len() {
        pages if pages > SHORT => FEWEST,
        pages => FEWEST_IN_SHORT.min(pages.max(2)),
    };
    // Rounding may part two lines of one height.
    let near = |height: i32| height - 1..=height + 1;
    let counts = |edge: &Edge, folio: &Folio, page: usize| -> bool {
        let pages: Vec<_> = near(edge.height)
            .filter_map(|height| counting.get(&(height, folio.ahead)))
            .collect();
        let fewest = match folio.kind {
            FolioKind::Roman => 2,
            FolioKind::Plain => fewest.min(FEWEST_IN_SHORT),
            FolioKind::BesideWords => FEWEST,
        };
        longest_run(&pages, page) >= fewest
    };
    let repeats = |edge: &Edge, page: usize| -> bool {
        let same: Vec<_> = near(edge.height)
            .filter_map(|height| seen.get(&(height, edge.text.as_str())))
            .collect();
        longest_run(&same, page) >= fewest
    };
    let mut running: Vec<Vec<Running>> = edges
        .iter()
        .enumerate()
        .map(|(number, edges)| {
            let of = |edge: &Edge| -> Option<Running> {
                let folio = edge.folios.iter().find(|folio| counts(edge, folio, number));
                (folio.is_some() || repeats(edge, number)).then(|| Running {
                    line: edge.line,
                    folio: folio.copied(),
                })
            };
            edges.iter().filter_map(of).collect()
        })
        .collect();
    // The first page of a chapter has its number elsewhere than the others.
    let ahead: HashSet<i64> = running
        .iter()
        .flatten()
        .filter_map(|line| line.folio.filter(|folio| folio.is_alone))
        .map(|folio| folio.ahead)
        .collect();
    for ((page, edges), running) in pages.iter().zip(&edges).zip(&mut running) {
        for edge in edges {
            let folio = edge
                .folios
                .iter()
                .find(|folio| folio.is_alone && ahead.contains(&folio.ahead));
            if folio.is_some() && running.iter().all(|known| known.line != edge.line) {
                running.push(Running {
                    line: edge.line,
                    folio: folio.copied(),
                });
            }
        }
        // From the inside of the page outwards: a row goes on in rows that stay.
        for edge in edges {
            let stays = |line: usize| running.iter().all(|known| known.line != line);
            if !stays(edge.line) && edge.is_row_with(page, &stays) {
                running.retain(|known| known.line != edge.line);
            }
        }
        // A page of nothing but repeated lines is a form or a slide, and they are its text.
        if running.len() == page.lines.len() && page.lines.len() > 1 {
            running.clear();
        }
    }
    drop(seen);
    take_out(pages, running);
}

/// A line near the top or the bottom of its page.
struct Edge {
    /// Its index on the page.
    line: usize,
    /// Of its top, in steps of three points.
    height: i32,
    text: String,
    folios: Vec<Folio>,
    /// The next two lines towards the middle of the page.
    inner: [Option<usize>; 2],
}

/// A number in a line that may be the page's.
#[derive(Clone, Copy)]
struct Folio {
    /// How far it is ahead of the page's index.
    ahead: i64,
    /// Where it stands: which cell, which word in it.
    cell: usize,
    word: usize,
    /// Nothing else is in the line but words such as `Page`.
    is_alone: bool,
    kind: FolioKind,
}

/// How sure it is that a number is a page's.
#[derive(Clone, Copy)]
enum FolioKind {
    /// It is alone, and such numbers stand in front of a book. Its contents have few pages.
    Roman,
    /// It is alone, or says what it is.
    Plain,
    BesideWords,
}

/// A line that repeats, or counts the pages.
struct Running {
    line: usize,
    folio: Option<Folio>,
}

/// The outermost lines at both ends of a page; of each end, those that stand further inside first.
fn edges(page: &Page, number: usize, body_size: f32) -> Vec<Edge> {
    /// Lines at each end of a page that are looked at.
    const EDGE: usize = 3;
    const ZONE: f32 = 0.15;
    let lines = &page.lines;
    let height = reading_height(page.width, page.height, page.turn);
    let zone = height * ZONE;
    // The order of drawing is not that of height: feet are often drawn first.
    let by_height = |is_in: &dyn Fn(&Line, f32) -> bool| -> (Vec<usize>, usize) {
        let mut wide: Vec<usize> = (0..lines.len())
            .filter(|index| is_in(&lines[*index], 2.0 * zone))
            .collect();
        wide.sort_by(|a, b| lines[*a].top.total_cmp(&lines[*b].top));
        let near = wide
            .iter()
            .filter(|index| is_in(&lines[**index], zone))
            .count();
        (wide, near.min(EDGE))
    };
    let (top, at_top) = by_height(&|line, zone| line.bottom < zone);
    let (mut bottom, at_bottom) = by_height(&|line, zone| line.top > height - zone);
    bottom.reverse();
    let mut edges: Vec<Edge> = Vec::with_capacity(at_top + at_bottom);
    for (order, near) in [(top, at_top), (bottom, at_bottom)] {
        for (place, index) in order.iter().enumerate().take(near).rev() {
            if edges.iter().any(|edge| edge.line == *index) {
                continue;
            }
            let line = &lines[*index];
            let mut last = line.top;
            let mut inside = order[place + 1..].iter().copied().filter(|inner| {
                // What stands at the same height is of the same row.
                let step = (lines[*inner].top - last).abs();
                let is_next = step > 0.3 * line.style.size;
                if is_next {
                    last = lines[*inner].top;
                }
                is_next
            });
            edges.push(Edge {
                line: *index,
                height: (line.top / 3.0).round() as i32,
                text: line.text(" "),
                folios: folios(line, number, body_size),
                inner: [inside.next(), inside.next()],
            });
        }
    }
    edges
}

impl Edge {
    /// Whether this is a row of a table that goes on towards the middle of the page, in a line that
    /// `stays`.
    fn is_row_with(&self, page: &Page, stays: &impl Fn(usize) -> bool) -> bool {
        let line = &page.lines[self.line];
        let size = line.style.size.max(6.0);
        let is_like = |other: &Line| {
            let numbers = |line: &Line| {
                let mut chars = line.cells.iter().flat_map(|cell| cell.text.chars());
                !chars.any(char::is_alphabetic)
            };
            line.cells.len() == other.cells.len()
                && (line.cells.len() > 1 || (numbers(line) && numbers(other)))
        };
        let Some(next) = self.inner[0].filter(|next| stays(*next)) else {
            return false;
        };
        let next = &page.lines[next];
        let step = (next.top - line.top).abs();
        let even = self.inner[1]
            .map(|index| &page.lines[index])
            .is_some_and(|after| {
                is_like(after) && ((after.top - next.top).abs() - step).abs() < 0.25 * size
            });
        is_like(next) && (step < 2.0 * size || (step < 5.0 * size && even))
    }
}

/// The numbers in a line that may be its page's: at its ends, or where it says so.
///
/// Beside other words, a number is set apart from them, or the line is set smaller than the text:
/// `Invoice 12` may well be on page 12.
fn folios(line: &Line, page: usize, body_size: f32) -> Vec<Folio> {
    // Headings may be numbered as the pages are, but they are set larger than the text.
    let is_large = line.style.size >= body_size * 1.05;
    let is_small = line.style.size < body_size * 0.97;
    let is_alone = line.cells.len() == 1 && is_number(&line.cells[0].text);
    let last_cell = line.cells.len().saturating_sub(1);
    let mut folios = Vec::new();
    for (cell, text) in line.cells.iter().map(|cell| &cell.text).enumerate() {
        let mut before = "";
        let mut words = text.split_whitespace().enumerate().peekable();
        while let Some((word, token)) = words.next() {
            let at_end = (cell == 0 && word == 0) || (cell == last_cell && words.peek().is_none());
            let is_named = is_page_word(before);
            let is_set_apart = word == 0 && words.peek().is_none() && last_cell > 0;
            before = token;
            let may_be =
                is_alone || ((is_named || at_end && (is_set_apart || is_small)) && !is_large);
            if !may_be {
                continue;
            }
            let token = token.trim_matches(|char: char| !char.is_alphanumeric());
            let token = match token.split_once('/') {
                // `12/30` counts the pages, `12/2026` counts something else.
                Some((number, _)) if is_alone || is_named => number,
                _ => token,
            };
            let arabic = token.parse::<u16>().ok();
            let roman = || (is_alone || is_set_apart).then(|| roman(token)).flatten();
            if let Some(number) = arabic.or_else(roman) {
                folios.push(Folio {
                    ahead: i64::from(number) - page as i64,
                    cell,
                    word,
                    is_alone,
                    kind: match arabic {
                        None if is_alone => FolioKind::Roman,
                        _ if is_alone || is_named => FolioKind::Plain,
                        _ => FolioKind::BesideWords,
                    },
                });
            }
        }
    }
    folios
}

fn is_page_word(word: &str) -> bool {
    let word = word.trim_matches(|char: char| !char.is_alphabetic());
    ["page", "stranica", "strana", "str"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// `xii` → 12.
fn roman(text: &str) -> Option<u16> {
    const LONGEST: usize = 6;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let digit = |byte: u8| match byte.to_ascii_lowercase() {
        b'i' => Some(1),
        b'v' => Some(5),
        b'x' => Some(10),
        b'l' => Some(50),
        b'c' => Some(100),
        _ => None,
    };
    let mut sum = 0;
    let mut largest = 0;
    for byte in text.bytes().rev() {
        let value = digit(byte)?;
        if value < largest {
            sum -= value;
        } else {
            sum += value;
            largest = value;
        }
    }
    u16::try_from(sum).ok()
}

/// Takes the running lines out. What is said nowhere else stays where it is said first, ahead of the
/// rest of its page, so that sentences go on from page to page.
fn take_out(pages: &mut [Page], running: Vec<Vec<Running>>) {
    // What the cells of a running line say, page numbers aside.
    let said = |line: &Line, folio: Option<Folio>| -> Vec<String> {
        let of = |(index, cell): (usize, &Cell)| {
            let words = cell.text.split_whitespace().enumerate();
            let kept: Vec<_> = words
                .filter(|(word, _)| {
                    folio.is_none_or(|folio| (folio.cell, folio.word) != (index, *word))
                })
                .map(|(_, word)| word)
                .collect();
            kept.join(" ")
        };
        let is_alone = folio.is_some_and(|folio| folio.is_alone);
        line.cells
            .iter()
            .enumerate()
            .filter(|_| !is_alone)
            .map(|cell| plain(&of(cell)))
            .filter(|words| !words.is_empty())
            .collect()
    };
    let mut wanted: HashSet<String> = HashSet::new();
    let mut longest = 0;
    for (page, running) in pages.iter().zip(&running) {
        for running in running {
            let line = &page.lines[running.line];
            longest = longest.max(
                line.cells
                    .iter()
                    .map(|cell| cell.text.len())
                    .max()
                    .unwrap_or(0),
            );
            wanted.extend(said(line, running.folio));
        }
    }
    let mut known: HashSet<String> = HashSet::new();
    for (page, running) in pages.iter().zip(&running) {
        let cells = (0..page.lines.len())
            .filter(|line| running.iter().all(|known| known.line != *line))
            .flat_map(|line| &page.lines[line].cells);
        // Most lines are longer than any head.
        for cell in cells.filter(|cell| cell.text.len() <= longest) {
            let words = plain(&cell.text);
            // A head may leave out the number that its chapter's title has.
            let unnumbered = words.trim_start_matches(|char: char| char.is_ascii_digit());
            for words in [&words, unnumbered] {
                if wanted.contains(words) {
                    known.insert(words.to_owned());
                }
            }
        }
    }
    for (page, mut running) in pages.iter_mut().zip(running) {
        running.sort_by_key(|running| running.line);
        let mut first = Vec::new();
        for Running { line, folio } in running.into_iter().rev() {
            let line = page.lines.remove(line);
            let said = said(&line, folio);
            if said.iter().any(|words| !known.contains(words)) {
                first.push(line);
            }
            known.extend(said);
        }
        first.sort_by(|a, b| a.top.total_cmp(&b.top));
        page.lines.splice(0..0, first);
    }
}

/// Letters and digits alone, in lower case and without what heads put before a chapter's number.
fn plain(text: &str) -> String {
    text.split(|char: char| !char.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| !is_division(word))
        .collect()
}

/// Words, in lower case, that a head puts before a title's number and the title itself may lack.
fn is_division(word: &str) -> bool {
    matches!(word, "chapter" | "section" | "appendix" | "poglavlje")
}

/// How many pages in a row, one after the other or every other one, hold the line of `page`.
fn longest_run(holders: &[&BTreeSet<usize>], page: usize) -> usize {
    /// No more is ever asked for, and a long document has long runs.
    const LONG_ENOUGH: usize = 4;
    let holds = |page: usize| holders.iter().any(|pages| pages.contains(&page));
    let run = |step: usize| {
        let after = (1..LONG_ENOUGH)
            .take_while(|n| holds(page + n * step))
            .count();
        let before = (1..LONG_ENOUGH)
            .take_while(|n| page.checked_sub(n * step).is_some_and(holds))
            .count();
        1 + before + after
    };
    run(1).max(run(2))
}

/// `12`, `- 12 -`, `xii`, `12 / 30`, `Page 12 of 30`.
fn is_number(text: &str) -> bool {
    let bare = text
        .trim()
        .trim_matches(['-', '–', '—', ' ', '|', '.'])
        .to_lowercase();
    let bare = bare
        .strip_prefix("page")
        .or_else(|| bare.strip_prefix("stranica"))
        .or_else(|| bare.strip_prefix("str."))
        .unwrap_or(&bare);
    let mut words = bare
        .split([' ', '/'])
        .filter(|word| !word.is_empty() && !matches!(*word, "of" | "od"))
        .peekable();
    words.peek().is_some()
        && words.all(|word| {
            word.len() <= 6
                && (word.bytes().all(|byte| byte.is_ascii_digit())
                    || word.bytes().all(|byte| b"ivxlc".contains(&byte)))
        })
}

/// `Introduction . . . . . . 12` → `Introduction … 12`.
fn shorten_leaders(text: &mut String) {
    const FEWEST: usize = 4;
    if !text.contains("..") && !text.contains(". .") {
        return;
    }
    let mut short = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('.') {
        let run = &rest[at..];
        let end = run
            .find(|char| char != '.' && char != ' ')
            .unwrap_or(run.len());
        if run[..end].bytes().filter(|byte| *byte == b'.').count() >= FEWEST {
            short.push_str(rest[..at].trim_end());
            short.push_str(" … ");
        } else {
            short.push_str(&rest[..at + end]);
        }
        rest = &run[end..];
    }
    short.push_str(rest);
    short.truncate(short.trim_end().len());
    *text = short;
}

/// Letters and digits alone, in lower case: what is compared of titles.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|char| char.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Marks the lines that the outline names. Returns whether the outline can be relied on.
fn mark_outline(lines: &mut [Placed], outline: &[Bookmark]) -> bool {
    const FEWEST: usize = 3;
    let mut pages: HashMap<u32, std::ops::Range<usize>> = HashMap::new();
    for (index, placed) in lines.iter().enumerate() {
        pages.entry(placed.page).or_insert(index..index).end = index + 1;
    }
    let mut entries = 0;
    let mut found = 0;
    for bookmark in outline {
        let wanted = bare(&bookmark.title);
        if wanted.chars().count() < 2 {
            continue;
        }
        entries += 1;
        let Some(on_page) = pages.get(&(bookmark.page + 1)) else {
            continue;
        };
        let place = on_page
            .clone()
            .filter(|start| lines[*start].heading.is_none())
            .filter_map(|start| titled(lines, start..on_page.end, &wanted))
            // The title may stand in the text too, or in the head of the page: the heading is what
            // is set apart most. Of equals the first, which `min_by_key` takes.
            .min_by_key(|candidate| {
                let style = lines[candidate.lines.start].line.style;
                let size = -key(style.size);
                (!candidate.exact, style.monospaced, size, !style.bold)
            });
        if let Some(Titled { lines: place, .. }) = place {
            found += 1;
            for (number, placed) in lines[place].iter_mut().enumerate() {
                placed.heading = Some(bookmark.level);
                placed.heading_goes_on = number > 0;
            }
        }
    }
    entries >= FEWEST && found * 2 >= entries
}

/// Lines that spell a title.
struct Titled {
    lines: std::ops::Range<usize>,
    exact: bool,
}

/// Whether the lines from the start of `range` on spell a title.
fn titled(lines: &[Placed], range: std::ops::Range<usize>, wanted: &str) -> Option<Titled> {
    /// A title may be broken over so many lines.
    const MOST_LINES: usize = 4;
    /// Numbers such as `Chapter 12` stand in the outline and not on the page, or the other way round.
    const NUMBER_CHARS: usize = 12;
    let start = range.start;
    let found = |end: usize, exact: bool| {
        Some(Titled {
            lines: start..end,
            exact,
        })
    };
    // A name with its explanation set apart from it.
    let cells = &lines[start].line.cells;
    if cells.len() > 1 && bare(&cells[0].text) == wanted {
        return found(start + 1, true);
    }
    let is_number = |part: &str| {
        part.len() <= NUMBER_CHARS && part.contains(|char: char| char.is_ascii_digit())
    };
    let mut text = String::new();
    let mut first_line = 0;
    for (end, placed) in (start + 1..).zip(&lines[range]).take(MOST_LINES) {
        text.push_str(&bare(&placed.line.text(" ")));
        if end == start + 1 {
            first_line = text.len();
        }
        if text == wanted {
            return found(end, true);
        }
        if let Some(number) = text.strip_suffix(wanted)
            && is_number(number)
            // Else the title begins on the next line.
            && number.len() < first_line
        {
            return found(end, true);
        }
        if text.len() >= 4
            && let Some(number) = wanted.strip_suffix(text.as_str())
            && is_number(number)
        {
            return found(end, false);
        }
        if text.len() > wanted.len() + NUMBER_CHARS {
            return None;
        }
    }
    None
}

/// Takes out heads and feet that repeat the titles of the outline, a different one on each page.
fn drop_repeated_titles(lines: &mut Vec<Placed>, outline: &[Bookmark], pages: &[(f32, f32, Turn)]) {
    const ZONE: f32 = 0.12;
    let words = |text: &str| -> String {
        let text: String = text
            .split(|char: char| !char.is_alphabetic())
            .map(str::to_lowercase)
            .filter(|word| !is_division(word))
            .collect();
        text
    };
    let titles: HashSet<String> = outline
        .iter()
        .map(|bookmark| words(&bookmark.title))
        .filter(|title| title.len() > 2)
        .collect();
    if titles.is_empty() {
        return;
    }
    lines.retain(|placed| {
        let line = &placed.line;
        let (width, height, turn) = pages[placed.page as usize - 1];
        let height = reading_height(width, height, turn);
        let at_edge = line.bottom < height * ZONE || line.top > height * (1.0 - ZONE);
        let is_title = |cell: &Cell| titles.contains(&words(&cell.text));
        let repeats = |cell: &Cell| is_number(&cell.text) || is_title(cell);
        // Numbers alone are a row of a table.
        let is_head = line.cells.iter().any(is_title) && line.cells.iter().all(repeats);
        placed.heading.is_some() || !at_edge || !is_head
    });
}

impl Norms {
    fn of(lines: &[Placed], has_outline: bool) -> Self {
        let by_size = chars_by_size(lines.iter().map(|placed| &placed.line));
        let body_size = body_size(&by_size);
        let mut by_pitch: HashMap<i32, usize> = HashMap::new();
        for pair in lines.windows(2) {
            let [above, below] = pair else { continue };
            let pitch = (below.line.top - above.line.top) / body_size;
            let body = |placed: &Placed| (placed.line.style.size - body_size).abs() < 0.6;
            if above.page == below.page && body(above) && body(below) && (0.8..3.0).contains(&pitch)
            {
                *by_pitch.entry((pitch * 20.0).round() as i32).or_default() += 1;
            }
        }
        let pitch = most(&by_pitch).map_or(1.25, |pitch| pitch as f32 / 20.0);
        let mut heading_sizes: Vec<f32> = by_size
            .keys()
            .map(|size| *size as f32 / 2.0)
            .filter(|size| *size > body_size * 1.12)
            .collect();
        heading_sizes.sort_by(|a, b| b.total_cmp(a));
        heading_sizes.dedup_by(|smaller, larger| *larger - *smaller < 0.06 * *larger);
        Self {
            body_size,
            pitch,
            heading_sizes,
            has_outline,
        }
    }

    fn level_of_size(&self, size: f32) -> u8 {
        let rank = self
            .heading_sizes
            .iter()
            .position(|known| size >= known * 0.97);
        (rank.unwrap_or(self.heading_sizes.len()) + 1).min(5) as u8
    }
}

/// How many characters are set in each size.
fn chars_by_size<'a>(lines: impl Iterator<Item = &'a Line>) -> HashMap<i32, usize> {
    let mut by_size: HashMap<i32, usize> = HashMap::new();
    for line in lines {
        *by_size.entry(key(line.style.size)).or_default() += line.chars();
    }
    by_size
}

/// The size that most of the text is set in.
fn body_size(by_size: &HashMap<i32, usize>) -> f32 {
    most(by_size)
        .map_or(10.0, |size| size as f32 / 2.0)
        .max(1.0)
}

/// Half points.
fn key(size: f32) -> i32 {
    (size * 2.0).round() as i32
}

fn most(counts: &HashMap<i32, usize>) -> Option<i32> {
    counts
        .iter()
        .max_by_key(|(value, count)| (**count, -**value))
        .map(|(value, _)| *value)
}

/// Lines that make one block: a range of the document's lines.
struct Group {
    lines: std::ops::Range<usize>,
    kind: BlockKind,
}

fn group(lines: &[Placed], norms: &Norms) -> Vec<Group> {
    let edges = column_edges(lines);
    let mut groups: Vec<Group> = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let mut end = start + 1;
        if is_row(lines, start) {
            groups.push(Group {
                lines: start..end,
                kind: BlockKind::TableRow,
            });
            start = end;
            continue;
        }
        while end < lines.len() && !is_row(lines, end) && !breaks(lines, start, end, norms, &edges)
        {
            end += 1;
        }
        let kind = kind_of(&lines[start..end], norms);
        groups.push(Group {
            lines: start..end,
            kind,
        });
        start = end;
    }
    join_over_pages(lines, groups, norms)
}

/// A line of several cells beside another such line: a table, not a stray gap.
fn is_row(lines: &[Placed], index: usize) -> bool {
    let columns = |index: usize| lines.get(index).map_or(0, |placed| placed.line.cells.len());
    if columns(index) < 2 || lines[index].heading.is_some() || is_contents(&lines[index].line) {
        return false;
    }
    // A list's marker is set apart from its text as a cell is.
    if columns(index) == 2 && list_marker(&lines[index].line.cells[0].text) {
        return false;
    }
    let beside = |other: usize| {
        columns(other) >= 2
            && lines[other].page == lines[index].page
            && (lines[other].line.top - lines[index].line.top).abs()
                < 4.0 * lines[index].line.style.size.max(6.0)
    };
    (index > 0 && beside(index - 1)) || beside(index + 1)
}

/// Left and right of the column that each line stands in: the extent of the lines drawn one below
/// the other with it.
fn column_edges(lines: &[Placed]) -> Vec<(f32, f32)> {
    let mut edges = Vec::with_capacity(lines.len());
    let mut start = 0;
    while start < lines.len() {
        let mut end = start + 1;
        while end < lines.len()
            && lines[end].page == lines[start].page
            && lines[end].line.top >= lines[end - 1].line.top
        {
            end += 1;
        }
        let left = lines[start..end]
            .iter()
            .map(|placed| placed.line.left())
            .fold(f32::MAX, f32::min);
        let right = lines[start..end]
            .iter()
            .map(|placed| placed.line.right())
            .fold(0.0, f32::max);
        edges.extend(std::iter::repeat_n((left, right), end - start));
        start = end;
    }
    edges
}

/// Whether line `next` begins a new block, in a block that begins at line `start`.
fn breaks(
    lines: &[Placed],
    start: usize,
    next: usize,
    norms: &Norms,
    edges: &[(f32, f32)],
) -> bool {
    let (first, above, below) = (&lines[start], &lines[next - 1], &lines[next]);
    if above.heading.is_some() || below.heading.is_some() {
        return !below.heading_goes_on;
    }
    let (above_line, below_line) = (&above.line, &below.line);
    let size = above_line.style.size.max(1.0);
    let step = below_line.top - above_line.top;
    if above.page != below.page || step < 0.0 {
        return true;
    }
    // A continuation on the same height is the rest of a line that was drawn in parts.
    if step < 0.3 * size {
        return below_line.left() < above_line.right() - size;
    }
    let usual = norms.pitch * size;
    let differs = (below_line.style.size - above_line.style.size).abs() > 0.08 * size;
    let reset = above_line.style.bold != below_line.style.bold
        || above_line.style.monospaced != below_line.style.monospaced;
    let reset = reset || above_line.astray != below_line.astray;
    if step > usual * 1.3 || differs || reset {
        return !(above_line.style.monospaced && below_line.style.monospaced && step < usual * 2.6);
    }
    if above_line.style.monospaced {
        return false;
    }
    if list_marker(&below_line.cells[0].text) || is_contents(above_line) || is_contents(below_line)
    {
        return true;
    }
    let (_, right) = edges[next];
    let (left, _) = edges[start];
    let width = (right - left).max(1.0);
    let short = above_line.right() < right - 0.15 * width;
    let first_is_item = list_marker(&first.line.cells[0].text);
    if first_is_item {
        // An item's lines hang under its text; a line back at the marker is something else.
        return below_line.left() <= first.line.left() + 0.3 * size && next - 1 > start && short;
    }
    let indented = below_line.left() - above_line.left() > 0.8 * size
        && below_line.left() - above_line.left() < 5.0 * size
        && (next - 1 > start || above_line.ends_sentence());
    indented && (short || above_line.ends_sentence()) || (short && above_line.ends_sentence())
}

/// A line of a table of contents: `Introduction … 12`.
fn is_contents(line: &Line) -> bool {
    let last = line.cells.last().map_or("", |cell| cell.text.as_str());
    last.ends_with(|char: char| char.is_ascii_digit())
        && line.cells.iter().any(|cell| cell.text.contains(" …"))
}

fn list_marker(text: &str) -> bool {
    let mut words = text.splitn(2, ' ');
    let (Some(marker), rest) = (words.next(), words.next()) else {
        return false;
    };
    let bullet = matches!(
        marker,
        "•" | "◦"
            | "–"
            | "—"
            | "-"
            | "*"
            | "▪"
            | "■"
            | "□"
            | "●"
            | "○"
            | "‣"
            | "·"
            | "∙"
            | "➢"
            | "✓"
    );
    // Some documents set no space behind a bullet.
    if bullet || text.starts_with(['•', '◦', '▪', '●', '‣', '➢']) {
        return true;
    }
    let inner = marker.trim_start_matches('(');
    let Some(number) = inner.strip_suffix(['.', ')']) else {
        return false;
    };
    let short = (1..=2).contains(&number.chars().count());
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let is_letter = number.chars().count() == 1 && number.chars().all(char::is_lowercase);
    rest.is_some() && short && (is_number || (is_letter && inner.ends_with(')')))
}

fn kind_of(lines: &[Placed], norms: &Norms) -> BlockKind {
    let Some(first) = lines.first() else {
        return BlockKind::Paragraph;
    };
    if let Some(level) = first.heading {
        return BlockKind::Heading(level);
    }
    let style = first.line.style;
    let chars: usize = lines.iter().map(|placed| placed.line.chars()).sum();
    let text = first.line.text(" ");
    let has_words = lines.iter().any(|placed| {
        placed.line.cells.iter().any(|cell| {
            cell.text
                .chars()
                .filter(|char| char.is_alphabetic())
                .count()
                >= 2
        })
    });
    let only_line = lines.len() == 1;
    if has_words && chars <= 200 && lines.len() <= 4 && !style.monospaced {
        let large = !is_contents(&first.line)
            && style.size > norms.body_size * if norms.has_outline { 1.5 } else { 1.12 };
        if large && (!norms.has_outline || first.page == 1) {
            return BlockKind::Heading(norms.level_of_size(style.size));
        }
        let ends = lines.last().is_some_and(|last| last.line.ends_sentence());
        let bold = style.bold && chars <= 100 && lines.len() <= 2 && !ends;
        if bold && !norms.has_outline && style.size > norms.body_size * 0.95 {
            return BlockKind::Heading(norms.level_of_size(style.size).max(3));
        }
        if only_line
            && !norms.has_outline
            && let Some(level) = division(&text)
        {
            return BlockKind::Heading(level);
        }
    }
    if list_marker(&text) || (only_line && is_contents(&first.line)) {
        BlockKind::ListItem
    } else if lines.iter().all(|placed| placed.line.style.monospaced) {
        BlockKind::Code
    } else {
        BlockKind::Paragraph
    }
}

/// Joins a paragraph that goes on at the top of the next page or column.
fn join_over_pages(lines: &[Placed], groups: Vec<Group>, norms: &Norms) -> Vec<Group> {
    let mut joined: Vec<Group> = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(last) = joined.last_mut() {
            let above = &lines[last.lines.end - 1];
            let below = &lines[group.lines.start];
            let flows = matches!(last.kind, BlockKind::Paragraph | BlockKind::ListItem)
                && group.kind == BlockKind::Paragraph
                && (above.page + 1 == below.page
                    || (above.page == below.page && below.line.top < above.line.top));
            let text = above
                .line
                .cells
                .last()
                .map_or("", |cell| cell.text.as_str());
            let starts_low = below.line.cells[0].text.starts_with(char::is_lowercase);
            let same_size =
                (above.line.style.size - below.line.style.size).abs() < 0.08 * norms.body_size;
            if flows
                && same_size
                && !above.line.ends_sentence()
                && (starts_low || text.ends_with('-'))
            {
                last.lines.end = group.lines.end;
                continue;
            }
        }
        joined.push(group);
    }
    joined
}

/// How a line is joined to the next of its block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Space,
    LineBreak,
    /// Nothing between them: what the line's end parts belongs together as it is.
    Whole,
    /// Nothing between them: the hyphen was only there because the line ended.
    Broken,
}

/// Words seen unbroken, for deciding what a hyphen at the end of a line means.
struct Words(HashSet<String>);

impl Words {
    /// Collects, of all words of the document, those that a hyphenated line end might spell.
    fn of(lines: &[Placed]) -> Self {
        let mut wanted = HashSet::new();
        for pair in lines.windows(2) {
            if let Some((left, right)) = halves(&pair[0].line, &pair[1].line) {
                wanted.insert(format!("{left}{right}"));
                wanted.insert(format!("{left}-{right}"));
            }
        }
        let mut seen = HashSet::new();
        if wanted.is_empty() {
            return Self(seen);
        }
        for placed in lines {
            for cell in &placed.line.cells {
                for word in cell.text.split_whitespace() {
                    let word = word.trim_matches(|char: char| !char.is_alphanumeric());
                    if let Some(known) = wanted.get(word.to_lowercase().as_str()) {
                        seen.insert(known.clone());
                    }
                }
            }
        }
        Self(seen)
    }

    fn joint(&self, above: &Line, below: &Line) -> Joint {
        let Some((left, right)) = halves(above, below) else {
            let text = above.cells.last().map_or("", |cell| cell.text.as_str());
            let parted_address = (text.ends_with("http:") || text.ends_with("https:"))
                && below
                    .cells
                    .first()
                    .is_some_and(|cell| cell.text.starts_with("//"));
            return if parted_address {
                Joint::Whole
            } else {
                Joint::Space
            };
        };
        if self.0.contains(&format!("{left}{right}")) {
            Joint::Broken
        } else if self.0.contains(&format!("{left}-{right}")) {
            Joint::Whole
        } else {
            Joint::Broken
        }
    }
}

/// The two halves of a word that a hyphen at the end of a line parts, in lower case.
fn halves(above: &Line, below: &Line) -> Option<(String, String)> {
    let text = &above.cells.last()?.text;
    let stem = text.strip_suffix(['-', '\u{2010}'])?;
    let left = stem.rsplit(|char: char| char.is_whitespace()).next()?;
    let left = left.trim_start_matches(|char: char| !char.is_alphanumeric());
    let right = below.cells.first()?.text.split_whitespace().next()?;
    let right = right.trim_end_matches(|char: char| !char.is_alphanumeric());
    let parts = left.ends_with(char::is_lowercase)
        && left.chars().filter(|char| char.is_alphabetic()).count() >= 2
        && right.starts_with(char::is_lowercase);
    parts.then(|| (left.to_lowercase(), right.to_lowercase()))
}

fn assemble(
    lines: &[Placed],
    groups: &[Group],
    sizes: &[(f32, f32, Turn)],
    bounds: &Bounds,
) -> Result<Extracted, Refusal> {
    let words = Words::of(lines);
    let mut assembler = Assembler::new(bounds.max_chars);
    let mut pages: Vec<PageLayout> = (1..)
        .zip(sizes)
        .map(|(page, (width, height, turn))| PageLayout {
            kind: PageKind::Page,
            page,
            width: *width,
            height: *height,
            turn: *turn,
            span: Span::new(0, 0),
            lines: Vec::new(),
        })
        .collect();
    let mut previous: Option<BlockKind> = None;
    for group in groups {
        if let Some(previous) = previous {
            let tight = previous == group.kind
                && matches!(group.kind, BlockKind::TableRow | BlockKind::ListItem);
            assembler.raw(if tight { "\n" } else { "\n\n" })?;
        }
        previous = Some(group.kind);
        let start = assembler.chars();
        for index in group.lines.clone() {
            let placed = &lines[index];
            let separator = if group.kind == BlockKind::TableRow {
                " | "
            } else {
                " "
            };
            let mut text = placed.line.text(separator);
            let joint = if index + 1 == group.lines.end {
                None
            } else if group.kind == BlockKind::Code {
                Some(Joint::LineBreak)
            } else {
                Some(words.joint(&placed.line, &lines[index + 1].line))
            };
            if joint == Some(Joint::Broken) {
                text.pop();
            }
            let span = assembler.raw(&text)?;
            let page = &mut pages[placed.page as usize - 1];
            let (_, _, turn) = sizes[placed.page as usize - 1];
            let rect = Rect {
                left: placed.line.left(),
                top: placed.line.top,
                right: placed.line.right(),
                bottom: placed.line.bottom,
            };
            let rect = turn.as_shown(rect, (page.width, page.height));
            let (width, height) = (page.width.max(1.0), page.height.max(1.0));
            page.lines.push(LineBox {
                span,
                left: (rect.left / width).clamp(0.0, 1.0),
                top: (rect.top / height).clamp(0.0, 1.0),
                right: (rect.right / width).clamp(0.0, 1.0),
                bottom: (rect.bottom / height).clamp(0.0, 1.0),
            });
            match joint {
                Some(Joint::Space) => assembler.raw(" ")?,
                Some(Joint::LineBreak) => assembler.raw("\n")?,
                Some(Joint::Whole | Joint::Broken) | None => Span::new(0, 0),
            };
        }
        assembler.block(group.kind, Span::new(start, assembler.chars()))?;
    }
    let mut at = 0;
    for page in &mut pages {
        let start = page.lines.first().map_or(at, |line| line.span.start);
        let end = page.lines.last().map_or(start, |line| line.span.end);
        page.span = Span::new(start, end);
        at = end;
    }
    let mut extracted = assembler.finish();
    extracted.pages = pages;
    Ok(extracted)
}

/// The heading in the largest type on the first page, as a title.
fn largest_heading(extracted: &Extracted, lines: &[Placed], groups: &[Group]) -> Option<String> {
    let mut largest: Option<(f32, Span)> = None;
    for (block, group) in extracted.blocks.iter().zip(groups) {
        let first = &lines[group.lines.start];
        if first.page > 1 {
            break;
        }
        let size = first.line.style.size;
        let larger = largest.is_none_or(|(known, _)| size > known);
        if matches!(block.kind, BlockKind::Heading(_)) && larger {
            largest = Some((size, block.span));
        }
    }
    title(largest?.1.slice(&extracted.text)?)
}

fn is_garbled(text: &str) -> bool {
    let (mut bad, mut all) = (0_usize, 0_usize);
    for char in text.chars().filter(|char| !char.is_whitespace()) {
        all += 1;
        bad += usize::from(
            char == char::REPLACEMENT_CHARACTER || ('\u{e000}'..='\u{f8ff}').contains(&char),
        );
    }
    bad * 7 > all
}

/// The letter that windows-1250 has where windows-1252 has this one.
fn croatian(char: char) -> char {
    match char {
        'è' => 'č',
        'æ' => 'ć',
        'ð' => 'đ',
        'È' => 'Č',
        'Æ' => 'Ć',
        'Ð' => 'Đ',
        char => char,
    }
}

/// Repairs what old Croatian programs made of č, ć and đ: fonts that show them say that they are è, æ
/// and ð, while š and ž are as they should be. Returns whether there was such a thing.
fn repair_croatian(pages: &mut [Page]) -> bool {
    /// Less is a foreign name.
    const FEWEST: usize = 3;
    fn texts(pages: &mut [Page]) -> impl Iterator<Item = &mut String> {
        pages
            .iter_mut()
            .flat_map(|page| &mut page.lines)
            .flat_map(|line| line.cells.iter_mut().map(|cell| &mut cell.text))
    }
    let (mut wrong, mut sound, mut right, mut foreign) = ([0_usize; 3], 0_usize, 0_usize, 0_usize);
    for text in texts(pages).filter(|text| !text.is_ascii()) {
        for char in text.chars() {
            match char {
                'è' | 'È' => wrong[0] += 1,
                'æ' | 'Æ' => wrong[1] += 1,
                'ð' | 'Ð' => wrong[2] += 1,
                'š' | 'ž' | 'Š' | 'Ž' => sound += 1,
                'č' | 'ć' | 'đ' | 'Č' | 'Ć' | 'Đ' => right += 1,
                // French, Danish, Icelandic and other languages that have the former.
                'é' | 'à' | 'ê' | 'ç' | 'ø' | 'å' | 'þ' | 'á' | 'í' | 'ó' | 'ú' | 'ö' | 'ä'
                | 'ü' | 'ì' | 'ò' | 'ù' | 'œ' => foreign += 1,
                _ => {}
            }
        }
    }
    let all: usize = wrong.iter().sum();
    let kinds = wrong.iter().filter(|count| **count > 0).count();
    // No language has all three.
    let is_croatian = kinds == 3 || (kinds == 2 && sound > 0);
    let is_wrong = all >= FEWEST && is_croatian && (right + foreign) * 10 <= all;
    if is_wrong {
        for text in texts(pages).filter(|text| !text.is_ascii()) {
            *text = text.chars().map(croatian).collect();
        }
    }
    is_wrong
}

/// Whether the words have far fewer vowels than any language, as when a font's letters are numbered in
/// an order of their own. Only Latin words of prose are looked at.
fn is_unpronounceable(extracted: &Extracted) -> bool {
    /// Letters that tell; fewer are abbreviations.
    const FEWEST: usize = 150;
    /// Of a hundred letters. Languages have more than 33.
    const VOWELS: usize = 22;
    const SHORTEST_WORD: usize = 4;
    let is_vowel = |char: char| {
        let base = std::iter::once(char).nfd().next().unwrap_or(char);
        matches!(base.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
    };
    let (mut vowels, mut letters) = (0_usize, 0_usize);
    for (kind, text) in extracted.block_texts() {
        if kind == BlockKind::Code {
            continue;
        }
        for word in text.split_whitespace() {
            let word = word.trim_matches(|char: char| !char.is_alphabetic());
            let latin = |char: &char| char.is_alphabetic() && *char < '\u{250}';
            let chars = word.chars().count();
            let of_word = word.chars().filter(latin).count();
            let is_prose = chars >= SHORTEST_WORD
                && of_word * 2 > chars
                && !word.contains(|char: char| {
                    char.is_ascii_digit() || (char.is_alphabetic() && char >= '\u{250}')
                });
            if is_prose {
                letters += of_word;
                vowels += word.chars().filter(|char| is_vowel(*char)).count();
            }
        }
    }
    letters >= FEWEST && vowels * 100 < letters * VOWELS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Extracted {
        let lines = (0_u8..).zip(lines).map(|(number, words)| {
            let top = 100.0 + 14.0 * f32::from(number);
            Line {
                cells: vec![Cell {
                    text: (*words).to_owned(),
                    left: 60.0,
                    right: 500.0,
                }],
                top,
                bottom: top + 12.0,
                style: Style {
                    size: 11.0,
                    ..Style::default()
                },
                astray: false,
                weights: Vec::new(),
            }
        });
        let page = Page {
            width: 595.0,
            height: 842.0,
            turn: Turn::Upright,
            lines: lines.collect(),
        };
        lay_out(vec![page], &[], &Bounds::default()).unwrap()
    }

    #[test]
    fn letters_of_old_croatian_fonts_are_repaired() {
        let old = read(&[
            "Pravilnik ureðuje naèin obraèuna plaæe",
            "Èlanak 1. i žalba",
        ]);
        assert_eq!(
            old.text,
            "Pravilnik uređuje način obračuna plaće Članak 1. i žalba"
        );
        assert_eq!(
            old.warnings,
            [Warning::GuessedEncoding {
                encoding: "windows-1250".to_owned()
            }]
        );
        for sound in [
            "Le père et la mère de l'élève très célèbre",
            "være ærlig på øen, ånd og æble, sæd, præst",
            "það er maðurinn æðir og ræður við það í dag",
            "Članak o creme brulèe, košara, naèn, plæ i čaša, ćup, đak",
        ] {
            let read = read(&[sound]);
            assert_eq!((read.text.as_str(), read.warnings), (sound, vec![]));
        }
    }

    #[test]
    fn words_without_vowels_are_garbled() {
        let shifted = "Mo^sfikfh robđrgb mo^s^ f l_sbwb o^akfh^ qb k^čfk l_o^črk^ mi^ćb \
                       f aordfe mofjfq^h^ k^ qbjbigr o^a^ r phi^ar p^ w^hlklj";
        let repeated = [shifted; 3];
        assert_eq!(read(&repeated).warnings, [Warning::Garbled]);
        for sound in [
            "Pravilnik uređuje prava i obveze radnika te način obračuna plaće",
            "Smrt i krv u tvrđavi na vrhu brda, prema starim zapisima",
            "XMLHttpRequest GmbH src/kbd.txt strlen(ptr) printf http www.fzzg.hr",
            "AB12CD34 1.234,50 EUR KLASA: 112-01/26-01/12 URBROJ: 251-99",
            "Правилник о раду уређује права и обвезе радника",
            "Strengths, rhythms, and scripts help the length of twelve months",
        ] {
            assert_eq!(read(&[sound; 8]).warnings, [], "{sound}");
        }
    }
}
