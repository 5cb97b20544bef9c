//! JSON and JSON Lines as people read them: a line per value, under the names that lead to it.
//!
//! The members of the outermost object are headings, records (elements of outer lists, lines of
//! JSON Lines) are blocks; its texts and numbers stand before them. The text is written while the
//! file is parsed, so that a big file costs no tree in memory, and numbers stand as they are written:
//! an identifier keeps its digits, an amount its zeros. What does not parse (settings with comments, files that are cut off) is read as the
//! text that it is.

use serde::de::IgnoredAny;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use super::{Bounds, text};
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = text::decode(bytes, None)?;
    let source = decoded.text.trim_start_matches('\u{feff}');
    let mut writer = Writer {
        assembler: Assembler::new(bounds.max_chars),
        lines: String::new(),
        chars: 0,
        max_chars: bounds.max_chars,
    };
    match parse(source, &mut writer) {
        Ok(()) => {
            writer.flush()?;
            let mut extracted = writer.assembler.finish();
            extracted.warnings = decoded.warnings;
            Ok(extracted)
        }
        Err(Stop::NotJson) => text::code(decoded, bounds),
        Err(Stop::Refused(refusal)) => Err(refusal),
    }
}

/// Why parsing ended early.
enum Stop {
    NotJson,
    Refused(Refusal),
}

impl From<ReaderError> for Stop {
    fn from(_: ReaderError) -> Self {
        Self::NotJson
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn parse(source: &str, writer: &mut Writer) -> Result<(), Stop> {
    let (first, rest) = source.trim().split_once('\n').unwrap_or_default();
    let is_lines = !rest.is_empty() && serde_json::from_str::<IgnoredAny>(first).is_ok();
    // Comments and the like are not let through: their text would be lost. Depth is bounded to 128.
    let settings = || ReaderSettings {
        allow_multiple_top_level: true,
        restrict_number_values: false,
        track_path: false,
        ..ReaderSettings::default()
    };
    let mut reader = JsonStreamReader::new_custom(source.as_bytes(), settings());
    let mut ahead = JsonStreamReader::new_custom(source.as_bytes(), settings());
    loop {
        if is_lines {
            value(&mut reader, writer, None, Place::Record)?;
        } else if reader.peek()? == ValueType::Object {
            outermost(&mut ahead, &mut reader, writer)?;
        } else {
            ahead.skip_value()?;
            value(&mut reader, writer, None, Place::Top)?;
        }
        if !reader.has_next()? {
            return Ok(());
        }
    }
}

/// Writes an object whose members are headings: what is no object or list comes first, wherever it
/// stands in the file, because after a heading it would seem to belong there. For that the object is
/// read twice.
fn outermost<'a>(
    ahead: &mut JsonStreamReader<&'a [u8]>,
    reader: &mut JsonStreamReader<&'a [u8]>,
    writer: &mut Writer,
) -> Result<(), Stop> {
    for (reader, writes_nested) in [(ahead, false), (reader, true)] {
        reader.begin_object()?;
        while reader.has_next()? {
            let name = reader.next_name_owned()?;
            let is_nested = matches!(reader.peek()?, ValueType::Object | ValueType::Array);
            if is_nested == writes_nested {
                value(reader, writer, Some(&name), Place::Member)?;
            } else {
                reader.skip_value()?;
            }
        }
        reader.end_object()?;
        writer.flush()?;
    }
    Ok(())
}

/// Writes one value while it is parsed. `key` is its name; there is none in a list.
fn value(
    reader: &mut JsonStreamReader<&[u8]>,
    writer: &mut Writer,
    key: Option<&str>,
    place: Place,
) -> Result<(), Stop> {
    match reader.peek()? {
        ValueType::Object => {
            let inner = writer.begin(key, place, false)?;
            reader.begin_object()?;
            while reader.has_next()? {
                let name = reader.next_name_owned()?;
                value(reader, writer, Some(&name), inner)?;
            }
            reader.end_object()?;
            writer.end(place)?;
        }
        ValueType::Array => {
            let inner = writer.begin(key, place, true)?;
            reader.begin_array()?;
            while reader.has_next()? {
                value(reader, writer, None, inner)?;
            }
            reader.end_array()?;
            writer.end(place)?;
        }
        ValueType::String => writer.scalar(key, place, reader.next_str()?)?,
        ValueType::Number => writer.scalar(key, place, reader.next_number_as_str()?)?,
        ValueType::Boolean if reader.next_bool()? => writer.scalar(key, place, "true")?,
        ValueType::Boolean => writer.scalar(key, place, "false")?,
        ValueType::Null => {
            reader.next_null()?;
            writer.scalar(key, place, if key.is_some() { "null" } else { "" })?;
        }
    }
    Ok(())
}

struct Writer {
    assembler: Assembler,
    /// The lines of the block that is open.
    lines: String,
    /// How many characters they have. Margins make a file of brackets many times longer.
    chars: u64,
    max_chars: u64,
}

impl Writer {
    fn line(&mut self, indent: usize, key: Option<&str>, value: &str) -> Result<(), Refusal> {
        let before = self.lines.len();
        let margin = "  ".repeat(indent.min(8));
        if !self.lines.is_empty() {
            self.lines.push('\n');
        }
        self.lines.push_str(&margin);
        match key {
            Some(key) => {
                self.lines.push_str(key);
                self.lines.push(':');
            }
            None => self.lines.push('-'),
        }
        let mut separator = " ";
        for line in value.lines() {
            self.lines.push_str(separator);
            self.lines.push_str(line.trim_end());
            separator = "\n";
        }
        self.chars += self.lines[before..].chars().count() as u64;
        if self.chars > self.max_chars {
            return Err(Refusal::TooMuchText {
                max_chars: self.max_chars,
            });
        }
        Ok(())
    }

    /// What is empty and has no name says nothing.
    fn scalar(&mut self, key: Option<&str>, place: Place, value: &str) -> Result<(), Refusal> {
        if value.trim().is_empty() && key.is_none() {
            return Ok(());
        }
        let indent = match place {
            Place::Inside(indent) => indent,
            Place::Top | Place::Member | Place::Record => 0,
        };
        self.line(indent, key, value.trim_end())
    }

    /// Begins an object or a list, and says where what is in it stands.
    fn begin(&mut self, key: Option<&str>, place: Place, is_list: bool) -> Result<Place, Refusal> {
        match place {
            Place::Top => Ok(Place::Record),
            Place::Member => {
                self.heading(key.unwrap_or_default())?;
                Ok(if is_list {
                    Place::Record
                } else {
                    Place::Inside(0)
                })
            }
            Place::Record => {
                self.flush()?;
                Ok(Place::Inside(0))
            }
            Place::Inside(indent) => {
                self.line(indent, key, "")?;
                Ok(Place::Inside(indent + 1))
            }
        }
    }

    /// Ends what stood at `place`.
    fn end(&mut self, place: Place) -> Result<(), Refusal> {
        match place {
            Place::Inside(_) => Ok(()),
            Place::Top | Place::Member | Place::Record => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.chars = 0;
        let lines = text::cleaned(std::mem::take(&mut self.lines));
        self.assembler.push(BlockKind::Code, &lines)
    }

    fn heading(&mut self, key: &str) -> Result<(), Refusal> {
        self.flush()?;
        let heading = crate::characters::collapsed(&text::cleaned(key.to_owned()));
        self.assembler.push(BlockKind::Heading(1), &heading)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file's only value, which is no object.
    Top,
    /// A member of the object that the file is.
    Member,
    /// A value that is a block of its own.
    Record,
    /// Within a block, at this indentation.
    Inside(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(source: &str) -> Vec<(BlockKind, String)> {
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        extracted
            .block_texts()
            .map(|(kind, text)| (kind, text.to_owned()))
            .collect()
    }

    fn expected(blocks: &[(BlockKind, &str)]) -> Vec<(BlockKind, String)> {
        blocks
            .iter()
            .map(|(kind, text)| (*kind, (*text).to_owned()))
            .collect()
    }

    #[test]
    fn members_are_headings_and_elements_are_blocks() {
        let source = "\u{feff}{\"naziv\": \"Čamac\", \"cijena\": 5.50, \"opis\": null, \"osobe\": [{\"ime\": \"Ana\", \"oznake\": [\"a\", 1]}, \"tko\"],\
            \"mjere\": {\"duljina\": 3, \"x\": {\"y\": true}}, \"z\": \"dva\\nreda\"}";
        assert_eq!(
            blocks(source),
            expected(&[
                (
                    BlockKind::Code,
                    "naziv: Čamac\ncijena: 5.50\nopis: null\nz: dva\nreda"
                ),
                (BlockKind::Heading(1), "osobe"),
                (BlockKind::Code, "ime: Ana\noznake:\n  - a\n  - 1"),
                (BlockKind::Code, "- tko"),
                (BlockKind::Heading(1), "mjere"),
                (BlockKind::Code, "duljina: 3\nx:\n  y: true"),
            ])
        );
    }

    #[test]
    fn numbers_stand_as_they_are_written() {
        let source = "{\"račun\": 23400091110000000000001, \"iznos\": 1250.00, \"sitno\": 1e-400, \"faks\": \"\"}";
        assert_eq!(
            blocks(source),
            expected(&[(
                BlockKind::Code,
                "račun: 23400091110000000000001\niznos: 1250.00\nsitno: 1e-400\nfaks:"
            )])
        );
    }

    #[test]
    fn every_line_is_a_record() {
        assert_eq!(
            blocks("{\"a\": 1, \"b\": {\"c\": 2}}\n{\"a\": 3}\n\n"),
            expected(&[
                (BlockKind::Code, "a: 1\nb:\n  c: 2"),
                (BlockKind::Code, "a: 3"),
            ])
        );
        assert_eq!(
            blocks("[{\"a\": 1}, {\"a\": 3}]"),
            expected(&[(BlockKind::Code, "a: 1"), (BlockKind::Code, "a: 3")])
        );
    }

    #[test]
    fn what_follows_a_list_stands_under_no_name_of_another() {
        // Two values, the first of which is no line.
        assert_eq!(
            blocks("{\"tvrtka\":\n{\"oib\": 1},\n\"ukupno\": 5}\n[7]\n{\"a\": [2], \"b\": 3}"),
            expected(&[
                (BlockKind::Code, "ukupno: 5"),
                (BlockKind::Heading(1), "tvrtka"),
                (BlockKind::Code, "oib: 1"),
                (BlockKind::Code, "- 7"),
                (BlockKind::Code, "b: 3"),
                (BlockKind::Heading(1), "a"),
                (BlockKind::Code, "- 2"),
            ])
        );
    }

    #[test]
    fn what_does_not_parse_is_read_as_text() {
        for source in [
            "// settings\n{\"a\": 1}",
            "{\"a\": [1, 2",
            "{\"a\": 1} trailing",
            &"[".repeat(10_000),
        ] {
            assert_eq!(blocks(source), expected(&[(BlockKind::Code, source)]));
        }
    }

    #[test]
    fn the_bound_on_text_holds() {
        let bounds = Bounds {
            max_chars: 10,
            ..Bounds::default()
        };
        assert_eq!(
            extract(b"[\"one\", [\"two\"], [\"three\"]]".to_vec(), &bounds),
            Err(Refusal::TooMuchText { max_chars: 10 })
        );
        assert_eq!(
            extract(b"[[[[1, 2]]]]".to_vec(), &bounds),
            Err(Refusal::TooMuchText { max_chars: 10 })
        );
    }
}
