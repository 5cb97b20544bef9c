//! Plain text: decoding, paragraphs, and the headings that people draw with characters.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use docent_domain::Span;
use encoding_rs::{Encoding, UTF_8};

use super::{Bounds, replaced_characters};
use crate::characters::{composed, is_invisible};
use crate::extracted::{Assembler, BlockKind, Extracted, Warning};
use crate::format::{is_binary, utf16_without_mark};
use crate::refusal::Refusal;

/// The text is the file's own, with line breaks made uniform and invisible characters dropped.
pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = decode(bytes, None)?;
    let text = cleaned(decoded.text);
    let mut assembler = Assembler::new(bounds.max_chars);
    assembler.raw(&text)?;
    find_blocks(&text, &mut assembler)?;
    let mut extracted = assembler.finish();
    extracted.title = first_heading(&extracted);
    extracted.warnings = decoded.warnings;
    Ok(extracted)
}

/// Source code and its like, as it is: pieces between blank lines, and no guesses at headings.
pub fn extract_code(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    code(decode(bytes, None)?, bounds)
}

/// The same, of text that is decoded already.
pub fn code(decoded: Decoded, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let text = cleaned(decoded.text);
    let mut assembler = Assembler::new(bounds.max_chars);
    assembler.raw(&text)?;
    for_each_group(&text, |lines| cover(&mut assembler, BlockKind::Code, lines))?;
    let mut extracted = assembler.finish();
    extracted.warnings = decoded.warnings;
    Ok(extracted)
}

pub struct Decoded {
    pub text: String,
    pub warnings: Vec<Warning>,
}

/// Decodes by byte order mark, then as declared, then as UTF-8, then by guess.
///
/// Bytes that are UTF-8 but for a few stay UTF-8, with the few replaced: a cut file is likelier
/// than a text in another encoding that happens to look like it.
pub fn decode(bytes: Vec<u8>, declared: Option<&'static Encoding>) -> Result<Decoded, Refusal> {
    if let Some((encoding, mark)) = Encoding::for_bom(&bytes) {
        return Ok(decode_as(encoding, &bytes[mark..], false));
    }
    if let Some(encoding) = utf16_without_mark(&bytes) {
        return Ok(decode_as(encoding, &bytes, true));
    }
    if is_binary(&bytes) {
        return Err(Refusal::Binary);
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            return Ok(Decoded {
                text,
                warnings: Vec::new(),
            });
        }
        Err(error) => error.into_bytes(),
    };
    if let Some(encoding) = declared.filter(|encoding| *encoding != UTF_8) {
        return Ok(decode_as(encoding, &bytes, false));
    }
    let (valid, invalid) = sequences(&bytes);
    if valid >= 4 * invalid {
        return Ok(decode_as(UTF_8, &bytes, false));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&bytes, true);
    // Old Croatian files are the likeliest of those that are not Unicode here.
    let encoding = detector.guess(Some(b"hr"), Utf8Detection::Deny);
    Ok(decode_as(encoding, &bytes, true))
}

fn decode_as(encoding: &'static Encoding, bytes: &[u8], guessed: bool) -> Decoded {
    let (text, damaged) = encoding.decode_without_bom_handling(bytes);
    let mut warnings = Vec::new();
    if guessed {
        warnings.push(Warning::GuessedEncoding {
            encoding: encoding.name().to_owned(),
        });
    }
    if damaged {
        let count = text
            .chars()
            .filter(|char| *char == char::REPLACEMENT_CHARACTER)
            .count();
        warnings.extend(replaced_characters(count as u64));
    }
    Decoded {
        text: text.into_owned(),
        warnings,
    }
}

/// How many multi-byte sequences are valid UTF-8, and how many pieces are not.
fn sequences(bytes: &[u8]) -> (usize, usize) {
    bytes.utf8_chunks().fold((0, 0), |(valid, invalid), chunk| {
        (
            valid
                + chunk
                    .valid()
                    .chars()
                    .filter(|char| !char.is_ascii())
                    .count(),
            invalid + usize::from(!chunk.invalid().is_empty()),
        )
    })
}

/// Uniform line breaks, no invisible characters, composed letters.
pub fn cleaned(text: String) -> String {
    let untouched = !text.contains(['\r', '\u{c}'])
        && !text.chars().any(is_invisible)
        && matches!(composed(&text), std::borrow::Cow::Borrowed(_));
    if untouched {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            '\u{c}' | '\u{b}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            char if is_invisible(char) => {}
            char => clean.push(char),
        }
    }
    drop(text);
    match composed(&clean) {
        std::borrow::Cow::Borrowed(_) => clean,
        std::borrow::Cow::Owned(composed) => composed,
    }
}

#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub text: &'a str,
    span: Span,
}

fn find_blocks(text: &str, assembler: &mut Assembler) -> Result<(), Refusal> {
    let mut underlines = Underlines::default();
    for_each_group(text, |lines| close(lines, &mut underlines, assembler))
}

/// Calls `each` with the lines between two blank ones.
pub fn for_each_group(
    text: &str,
    mut each: impl FnMut(&[Line<'_>]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut group: Vec<Line<'_>> = Vec::new();
    let mut at = 0;
    for line in text.split('\n') {
        let chars = if line.is_ascii() {
            line.len()
        } else {
            line.chars().count()
        } as u32;
        if line.trim().is_empty() {
            each(&group)?;
            group.clear();
        } else {
            group.push(Line {
                text: line,
                span: Span::new(at, at + chars),
            });
        }
        at += chars + 1;
    }
    each(&group)
}

/// Turns the lines between two blank ones into a heading, a paragraph, or one after the other.
fn close(
    lines: &[Line<'_>],
    underlines: &mut Underlines,
    assembler: &mut Assembler,
) -> Result<(), Refusal> {
    let mut rest = lines;
    if let Some((level, taken)) = underlines.heading(rest) {
        cover(assembler, BlockKind::Heading(level), &rest[..taken])?;
        rest = &rest[taken..];
    } else if let [only] = rest
        && let Some(level) = plain_heading(only.text.trim())
    {
        cover(assembler, BlockKind::Heading(level), rest)?;
        rest = &[];
    }
    if !rest.is_empty() {
        cover(assembler, BlockKind::Paragraph, rest)?;
    }
    Ok(())
}

fn cover(assembler: &mut Assembler, kind: BlockKind, lines: &[Line<'_>]) -> Result<(), Refusal> {
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
        return Ok(());
    };
    assembler.block(kind, Span::new(first.span.start, last.span.end))
}

/// Headings underlined (or over- and underlined) with a row of one character. As in
/// reStructuredText, the first style that appears is the outermost.
#[derive(Default)]
pub struct Underlines {
    styles: Vec<(char, bool)>,
}

impl Underlines {
    /// The level of the heading that the lines begin with, and how many of them it takes.
    pub fn heading(&mut self, lines: &[Line<'_>]) -> Option<(u8, usize)> {
        let ruled = |index: usize| lines.get(index).and_then(|line| rule(line.text));
        let (title, style, length, taken) = match (ruled(0), ruled(1), ruled(2)) {
            (Some((over, _)), None, Some((under, length))) if over == under => {
                (1, (under, true), length, 3)
            }
            (None, Some((under, length)), _) => (0, (under, false), length, 2),
            _ => return None,
        };
        // A rule much shorter or longer than its title separates, it doesn't underline.
        let chars = lines[title].text.trim().chars().count();
        if chars > MAX_HEADING_CHARS || length + 2 < chars || length > chars + 8 {
            return None;
        }
        let known = self.styles.iter().position(|known| *known == style);
        let level = known.unwrap_or_else(|| {
            self.styles.push(style);
            self.styles.len() - 1
        });
        Some(((level + 1).min(6) as u8, taken))
    }
}

/// The character and length of a line that is nothing but a row of it.
fn rule(line: &str) -> Option<(char, usize)> {
    const SHORTEST: usize = 3;
    let line = line.trim();
    let first = line.chars().next()?;
    let is_rule = "=-~*#^+_\"'`:.".contains(first) && line.chars().all(|char| char == first);
    let length = line.chars().count();
    (is_rule && length >= SHORTEST).then_some((first, length))
}

const MAX_HEADING_CHARS: usize = 120;

/// Headings that stand alone between blank lines and look like one: `2.3 Scope`, `Članak 12.`,
/// `CHAPTER IV`, a line in capitals.
fn plain_heading(line: &str) -> Option<u8> {
    if line.chars().count() > MAX_HEADING_CHARS || line.ends_with([',', ';', ':']) {
        return None;
    }
    if let Some(level) = division(line) {
        return Some(level);
    }
    let (number, rest) = line.split_once(char::is_whitespace)?;
    let parts: Vec<_> = number.trim_end_matches('.').split('.').collect();
    let numbered = parts.len() >= 2
        && parts.iter().all(|part| {
            !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())
        });
    if numbered && rest.trim().starts_with(char::is_alphabetic) && !rest.ends_with('.') {
        return Some(parts.len().min(6) as u8);
    }
    let letters = line.chars().filter(|char| char.is_alphabetic()).count();
    let capitals = letters >= 4
        && !line.chars().any(char::is_lowercase)
        && letters * 2 >= line.chars().count()
        && line.chars().any(char::is_uppercase);
    capitals.then_some(2)
}

/// `Članak 12.`, `Article 5`, `POGLAVLJE II` and their like: the divisions of laws and books.
pub fn division(line: &str) -> Option<u8> {
    const DIVISIONS: &[(&str, u8)] = &[
        ("dio", 1),
        ("part", 1),
        ("glava", 2),
        ("chapter", 2),
        ("poglavlje", 2),
        ("odjeljak", 3),
        ("section", 3),
        ("članak", 4),
        ("article", 4),
    ];
    let mut words = line.split_whitespace();
    let (word, number) = (words.next()?.to_lowercase(), words.next()?);
    let (_, level) = DIVISIONS.iter().find(|(name, _)| *name == word)?;
    let bare = number.trim_end_matches(['.', ':', ')']);
    let numbered = bare.bytes().all(|byte| byte.is_ascii_digit())
        || bare.chars().all(|char| "IVXLC".contains(char));
    (!bare.is_empty() && numbered && words.count() <= 12 && !line.ends_with(',')).then_some(*level)
}

pub fn first_heading(extracted: &Extracted) -> Option<String> {
    let block = extracted.blocks.first()?;
    block.kind.level()?;
    let text = block.span.slice(&extracted.text)?;
    text.lines().find_map(crate::characters::title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(BlockKind, String)> {
        let extracted = extract(text.as_bytes().to_vec(), &Bounds::default()).unwrap();
        extracted
            .blocks
            .iter()
            .map(|block| {
                (
                    block.kind,
                    block.span.slice(&extracted.text).unwrap().to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn headings_drawn_with_characters() {
        let blocks = read(
            "Priručnik\r\n=========\r\n\r\nPrvi odlomak\r\nu dva reda.\r\n\r\nUvod\n----\nOdmah iza.\n\n\
             2.3 Opseg\n\nČlanak 12.\n\nRadnik ima pravo na odmor.\n\nOPĆE ODREDBE\n\n2. jer\n",
        );
        let expected = [
            (BlockKind::Heading(1), "Priručnik\n========="),
            (BlockKind::Paragraph, "Prvi odlomak\nu dva reda."),
            (BlockKind::Heading(2), "Uvod\n----"),
            (BlockKind::Paragraph, "Odmah iza."),
            (BlockKind::Heading(2), "2.3 Opseg"),
            (BlockKind::Heading(4), "Članak 12."),
            (BlockKind::Paragraph, "Radnik ima pravo na odmor."),
            (BlockKind::Heading(2), "OPĆE ODREDBE"),
            (BlockKind::Paragraph, "2. jer"),
        ];
        assert_eq!(blocks, expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn reads_old_croatian_code_pages() {
        let text = "Zakon o zaštiti na radu. Žalbe se podnose u roku od osam dana; čekanje je dopušteno. \
                    Šef može odlučiti drukčije, ali mora obrazložiti.";
        let (bytes, _, _) = encoding_rs::WINDOWS_1250.encode(text);
        let extracted = extract(bytes.into_owned(), &Bounds::default()).unwrap();
        assert_eq!(extracted.text, text);
        assert_eq!(
            extracted.warnings,
            [Warning::GuessedEncoding {
                encoding: "windows-1250".to_owned()
            }]
        );
    }

    #[test]
    fn utf16_with_and_without_mark() {
        let text = "Pravilnik o radu: čšž";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            extract(bytes.clone(), &Bounds::default()).unwrap().text,
            text
        );
        let marked = [&[0xfe, 0xff], &bytes[..]].concat();
        assert_eq!(extract(marked, &Bounds::default()).unwrap().text, text);
    }

    #[test]
    fn few_broken_bytes_are_replaced_and_told() {
        let mut bytes = "čšžđć i tako dalje".as_bytes().to_vec();
        bytes.insert(4, 0xff);
        let extracted = extract(bytes, &Bounds::default()).unwrap();
        assert_eq!(extracted.text, "čš\u{fffd}žđć i tako dalje");
        assert_eq!(
            extracted.warnings,
            [Warning::ReplacedCharacters { count: 1 }]
        );
    }

    #[test]
    fn code_has_no_headings_and_keeps_its_spaces() {
        let source = "\u{feff}# NASLOV\r\n=======\r\n\r\n\tfn ž() {\r\n\r\n    }\r\n";
        let extracted = extract_code(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        assert_eq!(extracted.text, "# NASLOV\n=======\n\n\tfn ž() {\n\n    }\n");
        let blocks: Vec<_> = extracted.block_texts().collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Code, "# NASLOV\n======="),
                (BlockKind::Code, "\tfn ž() {"),
                (BlockKind::Code, "    }"),
            ]
        );
    }

    #[test]
    fn binary_is_refused_and_single_nuls_are_not() {
        assert_eq!(
            extract([0, 1, 2, 3].repeat(100), &Bounds::default()),
            Err(Refusal::Binary)
        );
        let mut bytes = "plain text, and a lot of it. ".repeat(20).into_bytes();
        bytes.push(0);
        assert!(extract(bytes, &Bounds::default()).is_ok());
    }
}
