//! Mail messages: subject, sender and date, the text in its richest form, and the attachments by
//! name; those of formats that are read come with their text.

use std::path::Path;

use docent_domain::{ATTACHMENT_HEADING, Format};
use encoding_rs::Encoding;

use super::mime::Part;
use super::{Context, extract_bytes, html, text};
use crate::characters::title;
use crate::extracted::{Assembler, BlockKind, Extracted, PageKind, PageLayout, Warning};
use crate::format::{Detection, HEAD_BYTES, detect_format};
use crate::refusal::Refusal;

/// Parts of one file that are looked at.
const MAX_PARTS: usize = 1_000;
/// How deep parts may stand in one another.
const MAX_DEPTH: usize = 20;
/// The headings of a message in another stand two levels lower. Below this level, they are named
/// and not read.
const DEEPEST: u8 = 4;
/// Attachments that are read; further ones are named.
const MAX_ATTACHMENTS: usize = 50;

/// One of these is in every message.
const TELLTALE: [&str; 8] = [
    "from",
    "to",
    "subject",
    "date",
    "received",
    "message-id",
    "mime-version",
    "content-type",
];

pub fn extract(bytes: &[u8], context: &Context<'_>) -> Result<Extracted, Refusal> {
    let message = Part::read(bytes);
    if !TELLTALE.iter().any(|name| message.has(name)) {
        return Err(Refusal::WrongContent {
            message: "The file is named .eml, but holds no mail message.".to_owned(),
        });
    }
    let mut reader = Reader {
        context,
        assembler: Assembler::new(context.bounds.max_chars),
        pages: Vec::new(),
        warnings: Vec::new(),
        parts: MAX_PARTS,
        attachments: MAX_ATTACHMENTS,
    };
    reader.message(&message, 1)?;
    let mut extracted = reader.assembler.finish();
    extracted.pages = reader.pages;
    extracted.title = message.header("subject").as_deref().and_then(title);
    extracted.warnings = reader.warnings;
    Ok(extracted)
}

struct Reader<'c> {
    context: &'c Context<'c>,
    assembler: Assembler,
    /// The message, and the attachments that are read.
    pages: Vec<PageLayout>,
    warnings: Vec<Warning>,
    /// How many may still be looked at.
    parts: usize,
    attachments: usize,
}

/// What a message is made of.
#[derive(Default)]
struct Found<'a> {
    texts: Vec<Part<'a>>,
    attachments: Vec<(String, Part<'a>)>,
    encrypted: bool,
}

impl Reader<'_> {
    fn message(&mut self, message: &Part<'_>, level: u8) -> Result<(), Refusal> {
        if let Some(subject) = message.header("subject") {
            self.assembler.push(BlockKind::Heading(level), &subject)?;
        }
        let lines: Vec<_> = ["From", "To", "Cc", "Date"]
            .iter()
            .filter_map(|name| {
                let value = message.header(&name.to_ascii_lowercase())?;
                Some(format!("{name}: {value}"))
            })
            .collect();
        self.assembler
            .push(BlockKind::Paragraph, &lines.join("\n"))?;
        let mut found = Found::default();
        self.parts = self.parts.saturating_sub(1);
        self.gather(message.clone(), 0, &mut found);
        if found.encrypted {
            if level == 1 {
                return Err(Refusal::WrongContent {
                    message:
                        "The message is encrypted. Only the mail program of its recipient can \
                              open it."
                            .to_owned(),
                });
            }
            self.leave_out("an encrypted message".to_owned());
        }
        for part in &found.texts {
            self.text(part)?;
        }
        if !found.attachments.is_empty() {
            let names: Vec<_> = found
                .attachments
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let line = format!("Attachments: {}", names.join(", "));
            self.assembler.push(BlockKind::Paragraph, &line)?;
        }
        self.end_part(level, 0);
        for (name, part) in &found.attachments {
            let start = self.assembler.chars();
            self.attachment(name, part, level)?;
            self.end_part(level, start);
        }
        Ok(())
    }

    /// Notes what was written since `start` as a part of the outermost message.
    fn end_part(&mut self, level: u8, start: u32) {
        if level == 1 && self.assembler.chars() > start {
            let number = self.pages.len() as u32 + 1;
            let part = self.assembler.page_since(PageKind::Part, number, start);
            self.pages.push(part);
        }
    }

    /// Sorts parts into texts and attachments.
    fn gather<'a>(&mut self, part: Part<'a>, depth: usize, found: &mut Found<'a>) {
        let kind = part.content_type();
        let disposition = part.disposition();
        let name = disposition
            .parameter("filename")
            .or_else(|| kind.parameter("name"))
            .and_then(title);
        if let Some(multipart) = kind.text.strip_prefix("multipart/")
            && let Some(boundary) = kind.parameter("boundary")
        {
            if multipart == "encrypted" {
                found.encrypted = true;
                return;
            }
            let children = part.children(boundary, self.parts);
            self.parts -= children.len();
            if depth >= MAX_DEPTH || self.parts == 0 {
                self.leave_out("parts of parts of parts of it".to_owned());
                return;
            }
            if multipart != "alternative" {
                for child in children {
                    self.gather(child, depth + 1, found);
                }
                return;
            }
            // The same text in several forms, the richest last.
            let mut best = Vec::new();
            for child in children {
                let mut form = Found::default();
                self.gather(child, depth + 1, &mut form);
                found.attachments.append(&mut form.attachments);
                found.encrypted |= form.encrypted;
                if form.texts.iter().any(has_text) {
                    best = form.texts;
                }
            }
            found.texts.append(&mut best);
            return;
        }
        let is_attachment = disposition.text == "attachment";
        match kind.text.as_str() {
            "application/pkcs7-mime" | "application/x-pkcs7-mime"
                if kind.parameter("smime-type") == Some("enveloped-data") =>
            {
                found.encrypted = true;
            }
            "application/pkcs7-signature"
            | "application/x-pkcs7-signature"
            | "application/pgp-signature" => {}
            "text/plain" | "text/html" if !is_attachment && name.is_none() => {
                found.texts.push(part);
            }
            // Pictures in the text, which refers to them.
            image if image.starts_with("image/") && !is_attachment && part.has("content-id") => {}
            "message/rfc822" => {
                let nested = part.content();
                let subject = Part::read(&nested).header("subject");
                let name = name.or(subject).unwrap_or_else(|| kind.text.clone());
                found.attachments.push((name, part));
            }
            _ => found
                .attachments
                .push((name.unwrap_or_else(|| kind.text.clone()), part)),
        }
    }

    fn text(&mut self, part: &Part<'_>) -> Result<(), Refusal> {
        let kind = part.content_type();
        let declared = kind
            .parameter("charset")
            .and_then(|label| Encoding::for_label(label.as_bytes()));
        let content = part.content();
        if kind.text == "text/html" && content.len() as u64 > self.context.bounds.html_bytes {
            self.leave_out("its text, which is too big".to_owned());
            return Ok(());
        }
        let Ok(decoded) = text::decode(content, declared) else {
            self.leave_out("text that is no text".to_owned());
            return Ok(());
        };
        self.warnings.extend(decoded.warnings);
        if kind.text == "text/html" {
            html::extract_source(&decoded.text, &mut self.assembler)?;
            return Ok(());
        }
        let assembler = &mut self.assembler;
        text::for_each_group(&text::cleaned(decoded.text), |lines| {
            let is_quoted = |line: &text::Line<'_>| line.text.starts_with('>');
            for same in lines.chunk_by(|one, other| is_quoted(one) == is_quoted(other)) {
                let quoted = is_quoted(&same[0]);
                let texts: Vec<_> = same
                    .iter()
                    .map(|line| {
                        if quoted {
                            line.text.trim_start_matches(['>', ' '])
                        } else {
                            line.text.trim_end()
                        }
                    })
                    .collect();
                let kind = if quoted {
                    BlockKind::Quote
                } else {
                    BlockKind::Paragraph
                };
                assembler.push(kind, &texts.join("\n"))?;
            }
            Ok(())
        })
    }

    fn attachment(&mut self, name: &str, part: &Part<'_>, level: u8) -> Result<(), Refusal> {
        let content = part.content();
        let is_message = part.content_type().text == "message/rfc822";
        let head = &content[..content.len().min(HEAD_BYTES)];
        let format = match detect_format(Path::new(name), head) {
            _ if is_message => Format::Email,
            Detection::Supported(format) => format,
            Detection::Unsupported { .. } => return Ok(()),
        };
        let heading = level.saturating_add(1).min(6);
        if self.attachments == 0 || (format == Format::Email && level >= DEEPEST) {
            self.leave_out(format!("the text of the attachment {name}"));
            return Ok(());
        }
        self.attachments -= 1;
        let title = format!("{ATTACHMENT_HEADING}{name}");
        if format == Format::Email {
            self.assembler.push(BlockKind::Heading(heading), &title)?;
            return self.message(&Part::read(&content), heading.saturating_add(1).min(6));
        }
        match extract_bytes(content, format, self.context) {
            Ok(extracted) => {
                self.assembler.push(BlockKind::Heading(heading), &title)?;
                for (kind, text) in extracted.block_texts() {
                    let kind = match kind {
                        BlockKind::Heading(inner) => {
                            BlockKind::Heading(inner.saturating_add(heading).min(6))
                        }
                        kind => kind,
                    };
                    self.assembler.push(kind, text)?;
                }
                self.warnings.extend(extracted.warnings);
            }
            Err(Refusal::Cancelled) => return Err(Refusal::Cancelled),
            // Signatures have logos.
            Err(Refusal::NoText | Refusal::NothingRecognised { .. })
                if format == Format::Picture => {}
            Err(Refusal::Scanned { .. }) => self.warnings.push(Warning::AttachmentScanned {
                name: name.to_owned(),
            }),
            Err(refusal) => self.leave_out(format!("the attachment {name} ({refusal})")),
        }
        Ok(())
    }

    fn leave_out(&mut self, part: String) {
        self.warnings.push(Warning::PartLeftOut { part });
    }
}

fn has_text(part: &Part<'_>) -> bool {
    !part.content().trim_ascii().is_empty()
}
