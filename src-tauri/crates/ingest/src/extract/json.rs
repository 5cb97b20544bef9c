//! JSON and JSON Lines as people read them: a line per value, under the names that lead to it.
//!
//! The members of the outermost object are headings, records (elements of outer lists, lines of
//! JSON Lines) are blocks. The text is written while the file is parsed, so that a big file costs no
//! tree in memory. What does not parse (settings with comments, files that are cut off) is read as
//! the text that it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Bounds, text};
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = text::decode(bytes, None)?;
    let source = decoded.text.trim_start_matches('\u{feff}');
    let mut writer = Writer {
        assembler: Assembler::new(bounds.max_chars),
        lines: String::new(),
        refusal: None,
    };
    let parsed = parse(source, &mut writer);
    if let Some(refusal) = writer.refusal {
        return Err(refusal);
    }
    match parsed {
        Ok(()) => {
            writer.flush()?;
            let mut extracted = writer.assembler.finish();
            extracted.warnings = decoded.warnings;
            Ok(extracted)
        }
        Err(_) => text::code(decoded, bounds),
    }
}

fn parse(source: &str, writer: &mut Writer) -> serde_json::Result<()> {
    let (first, rest) = source.trim().split_once('\n').unwrap_or_default();
    let is_lines = !rest.is_empty() && serde_json::from_str::<IgnoredAny>(first).is_ok();
    // The parser keeps to a depth of 128.
    let mut parser = serde_json::Deserializer::from_str(source);
    loop {
        let place = if is_lines { Place::Record } else { Place::Top };
        Value {
            writer: &mut *writer,
            key: None,
            place,
        }
        .deserialize(&mut parser)?;
        if parser.end().is_ok() {
            return Ok(());
        }
    }
}

struct Writer {
    assembler: Assembler,
    /// The lines of the block that is open.
    lines: String,
    /// Why the parser was stopped.
    refusal: Option<Refusal>,
}

impl Writer {
    fn line(&mut self, indent: usize, key: Option<&str>, value: &str) {
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
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let lines = text::cleaned(std::mem::take(&mut self.lines));
        self.assembler.push(BlockKind::Code, &lines)
    }

    fn heading(&mut self, key: &str) -> Result<(), Refusal> {
        self.flush()?;
        let heading = crate::characters::collapsed(&text::cleaned(key.to_owned()));
        self.assembler.push(BlockKind::Heading(1), &heading)
    }

    fn keep<E: Error>(&mut self, result: Result<(), Refusal>) -> Result<(), E> {
        result.map_err(|refusal| {
            self.refusal = Some(refusal);
            E::custom("stopped")
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file's only value.
    Top,
    /// A member of it.
    Member,
    /// A value that is a block of its own.
    Record,
    /// Within a block, at this indentation.
    Inside(usize),
}

/// Writes one value while it is parsed.
struct Value<'a> {
    writer: &'a mut Writer,
    /// Its name; `None` in a list.
    key: Option<&'a str>,
    place: Place,
}

impl Value<'_> {
    fn scalar(self, value: &str) {
        // What is empty says nothing.
        if value.trim().is_empty() {
            return;
        }
        let indent = match self.place {
            Place::Inside(indent) => indent,
            Place::Top | Place::Member | Place::Record => 0,
        };
        self.writer.line(indent, self.key, value);
    }

    /// Begins an object or a list, and says where what is in it stands.
    fn begin<E: Error>(&mut self, is_list: bool) -> Result<Place, E> {
        match self.place {
            Place::Top if is_list => Ok(Place::Record),
            Place::Top => Ok(Place::Member),
            Place::Member => {
                let heading = self.writer.heading(self.key.unwrap_or_default());
                self.writer.keep(heading)?;
                Ok(if is_list {
                    Place::Record
                } else {
                    Place::Inside(0)
                })
            }
            Place::Record => {
                let flushed = self.writer.flush();
                self.writer.keep(flushed)?;
                Ok(Place::Inside(0))
            }
            Place::Inside(indent) => {
                self.writer.line(indent, self.key, "");
                Ok(Place::Inside(indent + 1))
            }
        }
    }

    fn end<E: Error>(self) -> Result<(), E> {
        if matches!(self.place, Place::Inside(_)) {
            return Ok(());
        }
        let flushed = self.writer.flush();
        self.writer.keep(flushed)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.to_string());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Very large numbers without hundreds of digits.
        self.scalar(&format!("{value:?}"));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let place = self.begin(true)?;
        while list
            .next_element_seed(Value {
                writer: &mut *self.writer,
                key: None,
                place,
            })?
            .is_some()
        {}
        self.end()
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let place = self.begin(false)?;
        while let Some(key) = object.next_key::<String>()? {
            object.next_value_seed(Value {
                writer: &mut *self.writer,
                key: Some(&key),
                place,
            })?;
        }
        self.end()
    }
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
        let source = "\u{feff}{\"naziv\": \"Čamac\", \"cijena\": 5.5, \"opis\": null, \"osobe\": [{\"ime\": \"Ana\", \"oznake\": [\"a\", 1]}, \"tko\"],\
            \"mjere\": {\"duljina\": 3, \"x\": {\"y\": true}}, \"z\": \"dva\\nreda\"}";
        assert_eq!(
            blocks(source),
            expected(&[
                (BlockKind::Code, "naziv: Čamac\ncijena: 5.5"),
                (BlockKind::Heading(1), "osobe"),
                (BlockKind::Code, "ime: Ana\noznake:\n  - a\n  - 1"),
                (BlockKind::Code, "- tko"),
                (BlockKind::Heading(1), "mjere"),
                (BlockKind::Code, "duljina: 3\nx:\n  y: true"),
                (BlockKind::Code, "z: dva\nreda"),
            ])
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
    }
}
