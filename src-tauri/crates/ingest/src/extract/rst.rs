//! reStructuredText: headings by their underlines, lists, tables and literal blocks, without the
//! marks that its readers don't see: comments, link targets, options of directives.

use super::Bounds;
use super::text::{Line, Underlines, cleaned, decode, first_heading, for_each_group};
use crate::characters::collapsed;
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = decode(bytes, None)?;
    let text = cleaned(decoded.text);
    let mut reader = Reader {
        assembler: Assembler::new(bounds.max_chars),
        underlines: Underlines::default(),
        indented: None,
    };
    for_each_group(&text, |lines| reader.group(lines))?;
    let mut extracted = reader.assembler.finish();
    extracted.title = first_heading(&extracted);
    extracted.warnings = decoded.warnings;
    Ok(extracted)
}

/// What indented lines are, by the line above them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indented {
    Literal,
    /// A comment, or what belongs to a directive that shows no text.
    Unseen,
    /// The text of a note or another directive.
    Shown,
}

struct Reader {
    assembler: Assembler,
    underlines: Underlines,
    /// The indentation of the line above, and what stands deeper.
    indented: Option<(usize, Indented)>,
}

impl Reader {
    /// Reads the lines between two blank ones.
    fn group(&mut self, lines: &[Line<'_>]) -> Result<(), Refusal> {
        let mut rest = lines;
        while let Some(first) = rest.first() {
            rest = self.block(first, rest)?;
        }
        Ok(())
    }

    /// Reads what the lines begin with, and returns those after it.
    fn block<'l, 't>(
        &mut self,
        first: &Line<'_>,
        lines: &'l [Line<'t>],
    ) -> Result<&'l [Line<'t>], Refusal> {
        let indent = indent_of(first.text);
        let kind = self
            .indented
            .filter(|(outer, _)| indent > *outer)
            .map(|(_, kind)| kind);
        match kind {
            Some(kind @ (Indented::Literal | Indented::Unseen)) => {
                // The block goes on until a line stands further left, whatever is blank between.
                let outer = self.indented.map_or(0, |(outer, _)| outer);
                let end = lines
                    .iter()
                    .position(|line| indent_of(line.text) <= outer)
                    .unwrap_or(lines.len());
                if kind == Indented::Literal {
                    self.code(&lines[..end])?;
                }
                return Ok(&lines[end..]);
            }
            Some(Indented::Shown) => {}
            None => self.indented = None,
        }
        if let Some(marked) = first.text.trim_start().strip_prefix("..")
            && (marked.is_empty() || marked.starts_with(' '))
        {
            return self.marked(lines, indent, marked.trim());
        }
        if let Some((level, taken)) = self.underlines.heading(lines) {
            // With a line above it as well, the title is the second.
            let title = lines[usize::from(taken == 3)].text;
            self.assembler
                .push(BlockKind::Heading(level), collapsed(title).as_str())?;
            return Ok(&lines[taken..]);
        }
        if let Some(columns) = columns_of(first.text.trim_end()) {
            self.simple_table(lines, &columns)?;
        } else if first.text.trim_start().starts_with("+-") {
            self.grid_table(lines)?;
        } else {
            self.paragraphs(lines, indent)?;
        }
        Ok(&[])
    }

    /// A directive, a comment, a target or a footnote.
    fn marked<'l, 't>(
        &mut self,
        lines: &'l [Line<'t>],
        indent: usize,
        marked: &str,
    ) -> Result<&'l [Line<'t>], Refusal> {
        let deeper = lines[1..]
            .iter()
            .take_while(|line| indent_of(line.text) > indent)
            .count();
        let (body, rest) = lines[1..].split_at(deeper);
        let Some((name, argument)) = marked.split_once("::").filter(|(name, _)| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|char| char.is_alphanumeric() || "-_:+.".contains(char))
        }) else {
            // Footnotes and citations are shown, the rest is not.
            if let Some(note) = marked.strip_prefix('[') {
                self.indented = Some((indent, Indented::Shown));
                let mut text = format!("[{note}");
                for line in body {
                    text.push(' ');
                    text.push_str(line.text);
                }
                self.assembler
                    .push(BlockKind::Paragraph, &collapsed(&text))?;
                return Ok(rest);
            }
            self.indented = Some((indent, Indented::Unseen));
            // A comment without text ends at the blank line.
            if marked.is_empty() && lines.len() == 1 {
                self.indented = None;
            }
            return Ok(rest);
        };
        let kind = match name {
            "code-block" | "code" | "sourcecode" | "parsed-literal" | "literalinclude" | "math"
            | "productionlist" | "highlight" | "doctest" | "testcode" => Indented::Literal,
            "toctree" | "contents" | "image" | "include" | "raw" | "index" | "meta" | "role"
            | "default-role" | "module" | "currentmodule" | "automodule" | "autoclass"
            | "sectnum" | "graphviz" => Indented::Unseen,
            _ => Indented::Shown,
        };
        self.indented = Some((indent, kind));
        let is_option = |line: &&Line<'_>| {
            let text = line.text.trim_start();
            text.starts_with(':') && text[1..].contains(':')
        };
        let options = body.iter().take_while(is_option).count();
        let body = &body[options..];
        match kind {
            Indented::Literal => self.code(body)?,
            Indented::Unseen => {}
            Indented::Shown => {
                let title = argument.trim();
                if !title.is_empty() && !matches!(name, "figure" | "only") {
                    self.assembler
                        .push(BlockKind::Paragraph, &collapsed(title))?;
                }
                if let Some(first) = body.first() {
                    self.paragraphs(body, indent_of(first.text))?;
                }
            }
        }
        Ok(rest)
    }

    fn code(&mut self, lines: &[Line<'_>]) -> Result<(), Refusal> {
        let margin = lines
            .iter()
            .map(|line| indent_of(line.text))
            .min()
            .unwrap_or(0);
        let code: Vec<_> = lines
            .iter()
            .map(|line| line.text.get(margin..).unwrap_or_default())
            .collect();
        self.assembler.push(BlockKind::Code, &code.join("\n"))
    }

    /// List items and paragraphs; a line that ends in two colons announces a literal block.
    fn paragraphs(&mut self, lines: &[Line<'_>], indent: usize) -> Result<(), Refusal> {
        let mut item: Option<(BlockKind, String)> = None;
        for line in lines {
            let text = line.text.trim();
            match marker(text) {
                Some(label) if indent_of(line.text) <= indent + 8 => {
                    self.end(item.take())?;
                    let depth = "  ".repeat((indent_of(line.text) / 2).min(8));
                    let content = text[label..].trim_start();
                    let label = match &text[..label] {
                        "*" | "+" | "•" => "-",
                        other => other,
                    };
                    item = Some((BlockKind::ListItem, format!("{depth}{label} {content}")));
                }
                _ => match &mut item {
                    Some((_, open)) => {
                        open.push(' ');
                        open.push_str(text);
                    }
                    None => item = Some((BlockKind::Paragraph, text.to_owned())),
                },
            }
        }
        if let Some((_, text)) = &mut item
            && let Some(shown) = text.strip_suffix("::")
        {
            self.indented = Some((indent, Indented::Literal));
            *text = if shown.is_empty() || shown.ends_with(' ') {
                shown.trim_end().to_owned()
            } else {
                format!("{shown}:")
            };
        }
        self.end(item)
    }

    fn end(&mut self, block: Option<(BlockKind, String)>) -> Result<(), Refusal> {
        match block {
            Some((kind, text)) => self.assembler.push(kind, &text),
            None => Ok(()),
        }
    }

    /// Columns marked by rows of `=`; a second such row ends the header.
    fn simple_table(
        &mut self,
        lines: &[Line<'_>],
        columns: &[(usize, usize)],
    ) -> Result<(), Refusal> {
        let rules = lines
            .iter()
            .filter(|line| columns_of(line.text.trim_end()).is_some())
            .count();
        let mut in_header = rules >= 3;
        for line in &lines[1..] {
            let text = line.text.trim_end();
            if columns_of(text).is_some()
                || text.trim_start().chars().all(|char| "- ".contains(char))
            {
                in_header = false;
                continue;
            }
            let chars: Vec<char> = text.chars().collect();
            let cells: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(index, (start, end))| {
                    // The last column has no end.
                    let end = if index + 1 == columns.len() {
                        chars.len()
                    } else {
                        (*end).min(chars.len())
                    };
                    let cell: String = chars
                        .get(*start..end.max(*start))
                        .unwrap_or_default()
                        .iter()
                        .collect();
                    collapsed(&cell)
                })
                .collect();
            self.row(&cells, in_header)?;
        }
        Ok(())
    }

    /// Cells drawn with bars and crosses.
    fn grid_table(&mut self, lines: &[Line<'_>]) -> Result<(), Refusal> {
        let mut in_header = lines
            .iter()
            .any(|line| line.text.trim_start().starts_with("+="));
        let mut cells: Vec<String> = Vec::new();
        for line in lines {
            let text = line.text.trim();
            if text.starts_with('+') {
                self.row(&cells, in_header)?;
                cells.clear();
                in_header &= !text.starts_with("+=");
                continue;
            }
            let parts = text.trim_matches('|').split('|');
            for (index, part) in parts.enumerate() {
                if index == cells.len() {
                    cells.push(String::new());
                }
                let part = collapsed(part);
                if !part.is_empty() {
                    if !cells[index].is_empty() {
                        cells[index].push(' ');
                    }
                    cells[index].push_str(&part);
                }
            }
        }
        self.row(&cells, in_header)
    }

    fn row(&mut self, cells: &[String], is_header: bool) -> Result<(), Refusal> {
        if cells.iter().all(String::is_empty) {
            return Ok(());
        }
        let kind = if is_header {
            BlockKind::TableHeader
        } else {
            BlockKind::TableRow
        };
        self.assembler.push(kind, cells.join(" | ").trim())
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The length of the bullet or number that an item begins with.
fn marker(text: &str) -> Option<usize> {
    let label = text.split(' ').next()?;
    if label.len() == text.len() {
        return None;
    }
    let bare = label.trim_start_matches('(').trim_end_matches([')', '.']);
    let numbered = bare.len() < label.len()
        && (bare == "#"
            || (!bare.is_empty() && bare.len() <= 3 && bare.bytes().all(|b| b.is_ascii_digit())));
    (matches!(label, "-" | "*" | "+" | "•") || numbered).then_some(label.len())
}

/// Where the columns of a simple table begin and end: rows of `=` with spaces between.
fn columns_of(line: &str) -> Option<Vec<(usize, usize)>> {
    if !line.trim_start().starts_with("==") || !line.bytes().all(|byte| matches!(byte, b'=' | b' '))
    {
        return None;
    }
    let mut columns = Vec::new();
    let mut start = None;
    for (at, byte) in line.bytes().chain([b' ']).enumerate() {
        match (byte, start) {
            (b'=', None) => start = Some(at),
            (b' ', Some(from)) => {
                columns.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    (columns.len() > 1).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_of_the_page_sees() {
        let source = "\
.. _target:

==========
Priručnik
==========

.. comment
   over two lines

   and a paragraph

Uvod
====
Odmah **iza**, a zatim kod::

  fn main() {

  }

.. code-block:: python
   :linenos:

   print('č')

- jedan
  nastavak
- dva

1. prvi
#. drugi

.. note:: Pazi
   na ovo.

   I na to.

.. toctree::
   :maxdepth: 2

   intro

======  =====
Ime     Broj
======  =====
Ana     5
Žana x  6 i 7
======  =====

+-----+------+
| a   | b    |
+=====+======+
| c   | d    |
| cc  |      |
+-----+------+

.. [1] Bilješka
   uz tekst.

Kraj
----
";
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        let blocks: Vec<_> = extracted.block_texts().collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Heading(1), "Priručnik"),
                (BlockKind::Heading(2), "Uvod"),
                (BlockKind::Paragraph, "Odmah **iza**, a zatim kod:"),
                (BlockKind::Code, "fn main() {"),
                (BlockKind::Code, "}"),
                (BlockKind::Code, "print('č')"),
                (BlockKind::ListItem, "- jedan nastavak"),
                (BlockKind::ListItem, "- dva"),
                (BlockKind::ListItem, "1. prvi"),
                (BlockKind::ListItem, "#. drugi"),
                (BlockKind::Paragraph, "Pazi"),
                (BlockKind::Paragraph, "na ovo."),
                (BlockKind::Paragraph, "I na to."),
                (BlockKind::TableHeader, "Ime | Broj"),
                (BlockKind::TableRow, "Ana | 5"),
                (BlockKind::TableRow, "Žana x | 6 i 7"),
                (BlockKind::TableHeader, "a | b"),
                (BlockKind::TableRow, "c cc | d"),
                (BlockKind::Paragraph, "[1] Bilješka uz tekst."),
                (BlockKind::Heading(3), "Kraj"),
            ]
        );
        assert_eq!(extracted.title.as_deref(), Some("Priručnik"));
    }

    #[test]
    fn what_follows_unseen_lines_without_a_blank_one_is_read() {
        let source =
            ".. toctree::\n\n   uvod\nNaslov\n======\n\n.. komentar\n\n   dalje\nOdlomak.\n";
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        let blocks: Vec<_> = extracted.block_texts().collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Heading(1), "Naslov"),
                (BlockKind::Paragraph, "Odlomak."),
            ]
        );
    }

    #[test]
    fn a_hundred_thousand_headings_need_no_stack() {
        let source = "Naslov\n======\n".repeat(100_000);
        let extracted = extract(source.into_bytes(), &Bounds::default()).unwrap();
        assert_eq!(extracted.blocks.len(), 100_000);
    }
}
