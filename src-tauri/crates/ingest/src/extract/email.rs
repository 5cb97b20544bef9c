//! Mail messages: subject, sender and date, the text in its richest form, and the attachments by
//! name; those of formats that are read come with their text.

use std::path::Path;

use docent_domain::{ATTACHMENT_HEADING, Format};
use encoding_rs::Encoding;

use super::mime::Part;
use super::{Context, extract_bytes, html, picture, text};
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
    texts: Vec<Text<'a>>,
    attachments: Vec<(String, Part<'a>)>,
    encrypted: bool,
}

enum Text<'a> {
    One(Part<'a>),
    /// The same text in several forms, the richest last.
    Forms(Vec<Vec<Text<'a>>>),
}

impl Reader<'_> {
    fn message(&mut self, message: &Part<'_>, level: u8) -> Result<(), Refusal> {
        if let Some(mut subject) = message.header("subject") {
            // The first heading that looks like an attachment's is taken for one.
            if subject.starts_with(ATTACHMENT_HEADING) {
                subject.insert_str(0, "Subject: ");
            }
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
        self.texts(&found.texts)?;
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
            let mut forms = Vec::new();
            for child in children {
                let mut form = Found::default();
                self.gather(child, depth + 1, &mut form);
                found.attachments.append(&mut form.attachments);
                found.encrypted |= form.encrypted;
                forms.push(form.texts);
            }
            found.texts.push(Text::Forms(forms));
            return;
        }
        let is_attachment = disposition.text == "attachment";
        match kind.text.as_str() {
            _ if is_sealed(&kind.text, name.as_deref()) => {
                match sealed(kind.parameter("smime-type"), &part) {
                    Sealed::Encrypted => found.encrypted = true,
                    Sealed::Certificates => {}
                    Sealed::Signed => {
                        let name = name.unwrap_or_else(|| "smime.p7m".to_owned());
                        self.not_read(format!("{name}, a text in a signed envelope"));
                        found.attachments.push((name, part));
                    }
                }
            }
            tnef if matches!(tnef, "application/ms-tnef" | "application/vnd.ms-tnef")
                || name.as_deref() == Some("winmail.dat") =>
            {
                let name = name.unwrap_or_else(|| "winmail.dat".to_owned());
                self.not_read(format!("{name}, in which Outlook packs attachments"));
                found.attachments.push((name, part));
            }
            "application/pkcs7-signature"
            | "application/x-pkcs7-signature"
            | "application/pgp-signature" => {}
            "text/plain" | "text/html" if !is_attachment && name.is_none() => {
                found.texts.push(Text::One(part));
            }
            // Pictures in the text, which refers to them: signatures have logos, but telephones
            // attach their photos so.
            image if image.starts_with("image/") && !is_attachment && part.has("content-id") => {
                if picture::may_hold_text(&part.content()) {
                    let name = name.unwrap_or_else(|| image.replace('/', "."));
                    found.attachments.push((name, part));
                }
            }
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

    fn texts(&mut self, texts: &[Text<'_>]) -> Result<(), Refusal> {
        for text in texts {
            let forms = match text {
                Text::One(part) => {
                    self.text(part)?;
                    continue;
                }
                Text::Forms(forms) => forms,
            };
            // A form may hold nothing but a picture, so the richest is the last that says something.
            let (chars, known) = (self.assembler.chars(), self.warnings.len());
            for form in forms.iter().rev() {
                let poorer = self.warnings.len();
                self.texts(form)?;
                if self.assembler.chars() > chars {
                    // What was wrong with the others is nobody's loss.
                    self.warnings.drain(known..poorer);
                    break;
                }
            }
        }
        Ok(())
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

    fn not_read(&mut self, part: String) {
        self.warnings.push(Warning::PartNotRead { part });
    }
}

/// Whether a part is an envelope of S/MIME, with a text or a file in it.
fn is_sealed(kind: &str, name: Option<&str>) -> bool {
    matches!(kind, "application/pkcs7-mime" | "application/x-pkcs7-mime")
        || name.is_some_and(|name| name.eq_ignore_ascii_case("smime.p7m"))
}

enum Sealed {
    Encrypted,
    Signed,
    /// Nothing but certificates.
    Certificates,
}

/// What is in an envelope, by what it says of itself, or by the identifier that it begins with.
fn sealed(says: Option<&str>, part: &Part<'_>) -> Sealed {
    /// The length of what stands in front of the identifier is four bytes at most.
    const HEAD: usize = 32;
    /// `1.2.840.113549.1.7.3` and `1.2.840.113549.1.9.16.1.23` of RFC 5652 and 5083.
    const ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
    const AUTHENTICATED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
    match says.map(str::to_ascii_lowercase).as_deref() {
        Some("enveloped-data" | "authenveloped-data") => return Sealed::Encrypted,
        Some("certs-only") => return Sealed::Certificates,
        Some(_) => return Sealed::Signed,
        None => {}
    }
    let content = part.content();
    let head = &content[..content.len().min(HEAD)];
    let begins = |identifier: &[u8]| {
        head.windows(identifier.len())
            .any(|bytes| bytes == identifier)
    };
    if begins(ENVELOPED) || begins(AUTHENTICATED) {
        Sealed::Encrypted
    } else {
        Sealed::Signed
    }
}
