//! XML as a stream of events, with its depth bounded. Entities that a document defines itself are
//! not expanded.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::extracted::{Extracted, Warning};
use crate::refusal::Refusal;

/// Deeper than any document that an office suite writes.
const MAX_DEPTH: usize = 2_000;

/// How reading a part ended.
pub enum Outcome {
    Whole,
    Missing,
    Broken { message: String },
}

impl Outcome {
    /// Keeps what came before the damage in a document's main part, and says so.
    pub fn settle(self, extracted: &mut Extracted) -> Result<(), Refusal> {
        match self {
            Self::Whole => Ok(()),
            Self::Missing => Err(Refusal::damaged("a part of it is missing")),
            Self::Broken { .. } if !extracted.blocks.is_empty() => {
                extracted.warnings.push(Warning::PartLeftOut {
                    part: "everything after the damage".to_owned(),
                });
                Ok(())
            }
            Self::Broken { message } => Err(Refusal::damaged(message)),
        }
    }
}

/// What reads the events of one XML part. Names come without their namespace prefix: the parts
/// read here use one vocabulary, and Word's two dialects differ in the namespaces alone.
pub trait Part {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal>;
    fn close(&mut self, name: &str) -> Result<(), Refusal>;
    fn text(&mut self, text: &str);
    /// Whether an element is left out with everything in it.
    fn skips(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

pub fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    // Without checks: looking for duplicates costs the square of their number.
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .map(
            |attribute| match attribute.normalized_value(XmlVersion::Implicit1_0) {
                Ok(value) => value.into_owned(),
                Err(_) => attribute.value.into_owned(),
            },
        )
}

/// The attribute of that name in a namespace: `r:id` beside `id`.
pub fn prefixed(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| {
            attribute.key.prefix().is_some() && attribute.key.local_name().as_ref() == name
        })
        .map(|attribute| attribute.value.into_owned())
}

/// Feeds a part's events to its reader.
pub fn events(input: impl std::io::BufRead, part: &mut impl Part) -> Result<Outcome, Refusal> {
    let mut reader = Reader::from_reader(input);
    let config = reader.config_mut();
    config.check_end_names = true;
    config.allow_dangling_amp = true;
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    let mut skipping: Option<usize> = None;
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => {
                return Ok(Outcome::Broken {
                    message: error.to_string(),
                });
            }
        };
        match event {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Ok(Outcome::Broken {
                        message: "nested too deeply".to_owned(),
                    });
                }
                let name = element.local_name();
                if skipping.is_none() {
                    if part.skips(name.as_ref()) {
                        skipping = Some(depth);
                    } else {
                        part.open(name.as_ref(), &element)?;
                    }
                }
            }
            Event::Empty(element) => {
                let name = element.local_name();
                if skipping.is_none() && !part.skips(name.as_ref()) {
                    part.open(name.as_ref(), &element)?;
                    part.close(name.as_ref())?;
                }
            }
            Event::End(element) => {
                if skipping == Some(depth) {
                    skipping = None;
                } else if skipping.is_none() {
                    part.close(element.local_name().as_ref())?;
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) if skipping.is_none() => part.text(&text.xml10_content()),
            Event::CData(text) if skipping.is_none() => part.text(&text.xml10_content()),
            // Entities that a document defines itself are not expanded: that is how bombs are made.
            Event::GeneralRef(reference) if skipping.is_none() => {
                if let Ok(Some(char)) = reference.resolve_char_ref() {
                    part.text(char.encode_utf8(&mut [0; 4]));
                } else {
                    part.text(match &*reference.xml10_content() {
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        "apos" => "'",
                        _ => "",
                    });
                }
            }
            Event::Eof if depth > 0 => {
                return Ok(Outcome::Broken {
                    message: "the document ends in the middle".to_owned(),
                });
            }
            Event::Eof => return Ok(Outcome::Whole),
            Event::Text(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}
