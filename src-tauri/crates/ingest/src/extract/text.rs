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
    let declared = declared_in_xml(&bytes);
    code(decode(bytes, declared)?, bounds)
}

/// The encoding that the first line of XML names.
pub fn declared_in_xml(bytes: &[u8]) -> Option<&'static Encoding> {
    const LOOK_AT: usize = 256;
    let head = &bytes[..bytes.len().min(LOOK_AT)];
    let end = head.windows(2).position(|window| window == b"?>")?;
    let declaration = head[..end].trim_ascii_start();
    declaration.starts_with(b"<?xml").then_some(())?;
    encoding_after(declaration, "encoding=")
}

/// The encoding whose name follows `key`, if it is one that says so in ASCII.
pub fn encoding_after(head: &[u8], key: &str) -> Option<&'static Encoding> {
    let head = head.to_ascii_lowercase();
    let at = head
        .windows(key.len())
        .position(|window| window == key.as_bytes())?;
    let label: Vec<u8> = head[at + key.len()..]
        .iter()
        .copied()
        .skip_while(|byte| matches!(byte, b'"' | b'\'' | b' '))
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':'))
        .collect();
    let encoding = Encoding::for_label(&label)?;
    // What can say so in ASCII is not UTF-16.
    let is_utf16 = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
    (!is_utf16).then_some(encoding)
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
    if is_croatian_dos(&bytes) {
        return Ok(Decoded {
            text: from_dos(&bytes),
            warnings: vec![Warning::GuessedEncoding {
                encoding: "IBM852".to_owned(),
            }],
        });
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&bytes, true);
    // Old Croatian files are the likeliest of those that are not Unicode here.
    let encoding = detector.guess(Some(b"hr"), Utf8Detection::Deny);
    Ok(decode_as(encoding, &bytes, true))
}

/// What DOS's code page 852 has from 0x80 on.
const DOS: &str = "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐\
                   └┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}";

fn from_dos(bytes: &[u8]) -> String {
    let upper: Vec<char> = DOS.chars().collect();
    bytes
        .iter()
        .map(|byte| match byte.checked_sub(0x80) {
            Some(at) => upper.get(usize::from(at)).copied().unwrap_or_default(),
            None => char::from(*byte),
        })
        .collect()
}

/// Whether bytes are Croatian in DOS's code page 852, of which the detector knows nothing.
///
/// Its č, ć and ž are a letter that Croatian lacks, a dagger and a section sign in Windows' code
/// pages: inside words, and beside next to nothing but Croatian letters, they are what they seem.
fn is_croatian_dos(bytes: &[u8]) -> bool {
    const FEWEST: usize = 3;
    // Texts from DOS are short, and the lines of its tables take three bytes each in UTF-8.
    const LONGEST: usize = 16 << 20;
    if bytes.len() > LONGEST {
        return false;
    }
    let mut telling = 0;
    let mut croatian = 0;
    let mut other = 0;
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_alphabetic)
    };
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            // č, ć, ž
            0x9f | 0x86 | 0xa7 => {
                let is_within = is_letter(at.checked_sub(1)) || is_letter(Some(at + 1));
                telling += usize::from(is_within);
                croatian += 1;
            }
            // Č, Ć, đ, Đ, š, Š, Ž
            0xac | 0x8f | 0xd0 | 0xd1 | 0xe7 | 0xe6 | 0xa6 => croatian += 1,
            // The lines of tables.
            0xb0..=0xb4
            | 0xb9..=0xbc
            | 0xbf..=0xc5
            | 0xc8..=0xce
            | 0xd9..=0xdc
            | 0xdf
            | 0xfe
            | 0xff => {}
            0x80.. => other += 1,
            _ => {}
        }
    }
    telling >= FEWEST && other * 10 <= croatian
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
    let (number, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
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
             2.3 Opseg\n\nČlanak 12.\n\nRadnik ima pravo na odmor.\n\nOPĆE ODREDBE\n\n2. jer\n\n\
             ZAKLJUČAK\n\nHEP\n\nRB-0012/26\n",
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
            (BlockKind::Heading(2), "ZAKLJUČAK"),
            (BlockKind::Paragraph, "HEP"),
            (BlockKind::Paragraph, "RB-0012/26"),
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
    fn reads_croatian_from_dos_and_takes_nothing_else_for_it() {
        let text = "╔═╗ Žalba se podnosi u roku od osam dana; čekanje je dopušteno, đaci i šefovi mogu \
                    odlučiti drukčije. ĆOŠAK";
        let all: Vec<char> = from_dos(&(0..=u8::MAX).collect::<Vec<_>>())
            .chars()
            .collect();
        let byte_of = |char| all.iter().position(|known| *known == char).unwrap() as u8;
        let bytes: Vec<u8> = text.chars().map(byte_of).collect();
        let extracted = extract(bytes, &Bounds::default()).unwrap();
        assert_eq!(extracted.text, text);
        assert_eq!(
            extracted.warnings,
            [Warning::GuessedEncoding {
                encoding: "IBM852".to_owned()
            }]
        );
        for (encoding, text) in [
            (
                encoding_rs::WINDOWS_1250,
                "Prema § 5 i § 7 te † žalba je čekala, ćup i šašavi đak, čaša",
            ),
            (
                encoding_rs::ISO_8859_2,
                "Čekanje na žalbu: šest dana, ćup, đak, koš, čaša, već, više",
            ),
            (
                encoding_rs::WINDOWS_1252,
                "Ça va, la façade française, reçu, garçon",
            ),
            (
                encoding_rs::WINDOWS_1250,
                "źrebię, źle, źródło, późno, łódź, gęś",
            ),
        ] {
            let (bytes, _, _) = encoding.encode(text);
            assert!(!is_croatian_dos(&bytes), "{text}");
        }
    }

    #[test]
    fn xml_names_its_encoding() {
        let source = "<?xml version=\"1.0\" encoding=\"windows-1250\"?>\n<a>Žar</a>";
        let (bytes, _, _) = encoding_rs::WINDOWS_1250.encode(source);
        let extracted = extract_code(bytes.into_owned(), &Bounds::default()).unwrap();
        assert_eq!(extracted.text, source);
        assert_eq!(extracted.warnings, []);
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
