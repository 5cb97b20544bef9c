//! The parts of a mail message (RFC 5322, 2045 to 2047 and 2231), read leniently: what is wrong is
//! taken as it stands.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use percent_encoding::percent_decode;

use super::text::decode;

/// A message, or one part of it: its headers and what follows them.
#[derive(Clone)]
pub struct Part<'a> {
    /// Names in lower case, values with their line breaks.
    headers: Vec<(String, &'a [u8])>,
    body: &'a [u8],
}

/// A header's value with its parameters, such as `text/plain; charset=utf-8`.
#[derive(Default)]
pub struct Value {
    /// In lower case.
    pub text: String,
    parameters: Vec<(String, String)>,
}

impl Value {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<'a> Part<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut headers: Vec<(String, &'a [u8])> = Vec::new();
        let mut at = 0;
        // Where the value of the header that is open begins.
        let mut value = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = line_end(rest);
            let line = trim_break(&rest[..end]);
            if line.is_empty() {
                at += end;
                break;
            }
            let folded = line[0] == b' ' || line[0] == b'\t';
            if let (true, Some(start), Some(last)) = (folded, value, headers.last_mut()) {
                last.1 = &bytes[start..at + line.len()];
            } else if let Some(colon) = name_length(line) {
                let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
                value = Some(at + colon + 1);
                headers.push((name, &line[colon + 1..]));
            } else if !headers.is_empty() || !line.starts_with(b"From ") {
                // Not a header: the blank line before the text is missing.
                break;
            }
            at += end;
            rest = &bytes[at..];
        }
        Self {
            headers,
            body: &bytes[at..],
        }
    }

    /// A header's text, decoded, on one line.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = decoded_words(&self.raw(name)?);
        let text = crate::characters::collapsed(&text);
        (!text.is_empty()).then_some(text)
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }

    fn raw(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        let text = match std::str::from_utf8(value) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => decode(value.to_vec(), None)
                .map_or(String::from_utf8_lossy(value), |decoded| {
                    Cow::Owned(decoded.text)
                }),
        };
        Some(text.replace(['\r', '\n'], ""))
    }

    pub fn content_type(&self) -> Value {
        self.value("content-type").unwrap_or_else(|| Value {
            text: "text/plain".to_owned(),
            parameters: Vec::new(),
        })
    }

    /// What the part says of how it is to be shown, and under which name it is to be saved.
    pub fn disposition(&self) -> Value {
        self.value("content-disposition").unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<Value> {
        let raw = self.raw(name)?;
        let (text, parameters) = raw.split_once(';').unwrap_or((&raw, ""));
        Some(Value {
            text: text.trim().to_ascii_lowercase(),
            parameters: self::parameters(parameters),
        })
    }

    /// What the part holds, without its transfer encoding.
    pub fn content(&self) -> Vec<u8> {
        let encoding = self.raw("content-transfer-encoding").unwrap_or_default();
        match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => base64(self.body),
            "quoted-printable" => quoted_printable(self.body, false),
            _ => self.body.to_vec(),
        }
    }

    /// The parts between lines of the boundary.
    pub fn children(&self, boundary: &str, max: usize) -> Vec<Part<'a>> {
        let delimiter = format!("--{boundary}").into_bytes();
        let mut children = Vec::new();
        let mut start = None;
        let mut at = 0;
        while at < self.body.len() && children.len() < max {
            let rest = &self.body[at..];
            let end = at + line_end(rest);
            if rest.starts_with(&delimiter) {
                let tail = trim_break(&self.body[at + delimiter.len()..end]);
                let is_last = tail.starts_with(b"--");
                if is_last || tail.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                    if let Some(start) = start {
                        children.push(Part::read(trim_break(&self.body[start..at])));
                    }
                    start = Some(end);
                    if is_last {
                        return children;
                    }
                }
            }
            at = end;
        }
        // The closing boundary is missing: the file is cut off.
        if let Some(start) = start
            && children.len() < max
        {
            children.push(Part::read(&self.body[start..]));
        }
        children
    }
}

/// The length of a line with its break.
fn line_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |at| at + 1)
}

fn trim_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn name_length(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(colon)
}

/// `; name="value"` and the split and encoded forms of RFC 2231 (`name*0*=utf-8''%C5%A1`).
fn parameters(source: &str) -> Vec<(String, String)> {
    const MAX: usize = 100;
    // Name, number of the piece, whether it is encoded, value.
    let mut pieces: Vec<(String, u32, bool, String)> = Vec::new();
    let mut rest = source;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([';', ' ', '\t']).to_ascii_lowercase();
        let after = after.trim_start();
        let value = if let Some(quoted) = after.strip_prefix('"') {
            let mut value = String::new();
            let mut chars = quoted.chars();
            while let Some(char) = chars.next() {
                match char {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    char => value.push(char),
                }
            }
            rest = chars.as_str();
            value
        } else {
            let (value, after) = after.split_once(';').unwrap_or((after, ""));
            rest = after;
            value.trim().to_owned()
        };
        let (name, encoded) = match name.strip_suffix('*') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let (name, number) = name.split_once('*').unwrap_or((name, "0"));
        if pieces.len() >= MAX {
            break;
        }
        pieces.push((name.to_owned(), number.parse().unwrap_or(0), encoded, value));
    }
    pieces.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    pieces
        .chunk_by(|one, other| one.0 == other.0)
        .map(|pieces| {
            let mut bytes = Vec::new();
            let mut charset = None;
            for (index, (_, _, encoded, value)) in pieces.iter().enumerate() {
                let mut value = value.as_str();
                if !encoded {
                    bytes.extend(decoded_words(value).into_bytes());
                    continue;
                }
                if index == 0
                    && let Some((label, text)) = value.split_once('\'')
                {
                    charset = Encoding::for_label(label.as_bytes());
                    value = text.split_once('\'').map_or(text, |(_, text)| text);
                }
                bytes.extend(percent_decode(value.as_bytes()));
            }
            let (text, _) = charset.unwrap_or(UTF_8).decode_without_bom_handling(&bytes);
            (pieces[0].0.clone(), text.into_owned())
        })
        .collect()
}

/// Text with its encoded words (`=?utf-8?Q?=C5=A0?=`) decoded. A letter may be split between two.
fn decoded_words(source: &str) -> String {
    let mut text = String::new();
    // Bytes of adjacent words in the same encoding.
    let mut pending: Option<(&'static Encoding, Vec<u8>)> = None;
    let mut rest = source;
    while !rest.is_empty() {
        let start = rest.find("=?").unwrap_or(rest.len());
        let (before, word) = rest.split_at(start);
        // White space between encoded words is not part of the text.
        if !(pending.is_some() && before.trim().is_empty() && !word.is_empty()) {
            flush(&mut pending, &mut text);
            text.push_str(before);
        }
        let Some((encoding, bytes, after)) = encoded_word(word) else {
            if let Some(plain) = word.get(..2) {
                flush(&mut pending, &mut text);
                text.push_str(plain);
            }
            rest = word.get(2..).unwrap_or_default();
            continue;
        };
        match &mut pending {
            Some((known, all)) if *known == encoding => all.extend(bytes),
            _ => {
                flush(&mut pending, &mut text);
                pending = Some((encoding, bytes));
            }
        }
        rest = after;
    }
    flush(&mut pending, &mut text);
    text
}

fn flush(pending: &mut Option<(&'static Encoding, Vec<u8>)>, text: &mut String) {
    if let Some((encoding, bytes)) = pending.take() {
        text.push_str(&encoding.decode_without_bom_handling(&bytes).0);
    }
}

fn encoded_word(source: &str) -> Option<(&'static Encoding, Vec<u8>, &str)> {
    /// RFC 2047 allows 75 characters; programs don't always keep to it.
    const LONGEST: usize = 2_000;
    let (charset, rest) = source.strip_prefix("=?")?.split_once('?')?;
    let (kind, rest) = rest.split_once('?')?;
    // Looked for no further than a word reaches: a header may be nothing but their beginnings.
    let reach = &rest.as_bytes()[..rest.len().min(LONGEST + 2)];
    let end = reach.windows(2).position(|end| end == b"?=")?;
    let (content, after) = (&rest[..end], &rest[end + 2..]);
    if charset.len() > 40 {
        return None;
    }
    // A language may follow the charset.
    let label = charset.split('*').next().unwrap_or_default();
    let bytes = match kind {
        "B" | "b" => base64(content.as_bytes()),
        "Q" | "q" => quoted_printable(content.as_bytes(), true),
        _ => return None,
    };
    Some((Encoding::for_label(label.as_bytes())?, bytes, after))
}

/// Ends at the padding and passes over everything that is no digit.
fn base64(source: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(source.len() / 4 * 3);
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in source {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// In headers (`words`), an underscore is a space.
fn quoted_printable(source: &[u8], words: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at + 1..];
        match source[at] {
            b'_' if words => bytes.push(b' '),
            b'=' => {
                if let Some(value) = hexadecimal(rest) {
                    bytes.push(value);
                    at += 2;
                } else if !words && trim_break(&rest[..line_end(rest)]).trim_ascii().is_empty() {
                    // The line goes on in the next.
                    at += line_end(rest);
                } else {
                    bytes.push(b'=');
                }
            }
            byte => bytes.push(byte),
        }
        at += 1;
    }
    bytes
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unfolded_and_decoded() {
        let source = "From x@y Mon\r\nSubject: =?utf-8?Q?Ra=C4=8Dun_za?=\r\n =?UTF-8?B?IG/FvnU=?= =?utf-8?B?amFr?=\r\n\tbr. 5\r\n\
            From: =?windows-1250?Q?=8Eana?= <z@x.hr>\r\nX: =?nope?Q?a?= =?utf-8?X?b?= a=?b\r\n\r\nbody";
        let part = Part::read(source.as_bytes());
        assert_eq!(
            part.header("subject").as_deref(),
            Some("Račun za ožujak br. 5")
        );
        assert_eq!(part.header("from").as_deref(), Some("Žana <z@x.hr>"));
        assert_eq!(
            part.header("x").as_deref(),
            Some("=?nope?Q?a?= =?utf-8?X?b?= a=?b")
        );
        assert_eq!(part.content(), b"body");
        assert_eq!(Part::read(b"no headers here\n").body, b"no headers here\n");
    }

    #[test]
    fn words_that_only_begin_cost_little() {
        let begun = "=?utf-8?Q?a".repeat(200_000);
        assert_eq!(decoded_words(&begun), begun);
        let long = format!("=?utf-8?Q?{}?=", "a".repeat(2_000));
        assert_eq!(decoded_words(&long).len(), 2_000);
        let too_long = format!("=?utf-8?Q?{}?=", "a".repeat(2_001));
        assert_eq!(decoded_words(&too_long), too_long);
    }

    #[test]
    fn names_of_attachments_in_every_spelling() {
        for value in [
            "attachment; filename=\"račun.pdf\"",
            "attachment; filename=\"=?utf-8?Q?ra=C4=8Dun.pdf?=\"",
            "attachment; filename*=utf-8'hr'ra%C4%8Dun.pdf",
            "attachment; filename*=windows-1250''ra%E8un.pdf",
            "attachment;\r\n filename*1*=%8Dun; filename*2=.pdf;\r\n filename*0*=utf-8''ra%C4",
            "attachment; size=5; filename=račun.pdf; x=\"a;\\\"b\"",
        ] {
            let source = format!("Content-Disposition: {value}\r\n\r\n");
            let disposition = Part::read(source.as_bytes()).disposition();
            assert_eq!(disposition.text, "attachment");
            assert_eq!(
                disposition.parameter("filename"),
                Some("račun.pdf"),
                "{value}"
            );
        }
    }

    #[test]
    fn transfer_encodings() {
        assert_eq!(base64(b"xI0g\r\nxI0="), "č č".as_bytes());
        assert_eq!(
            quoted_printable(b"=C4=8D=\r\n a_b = 5=", false),
            "č a_b = 5".as_bytes()
        );
    }

    #[test]
    fn parts_between_boundaries() {
        let source =
            b"A: b\n\npreamble\n--x\n\none\n--xy\n--x  \nC: d\n\ntwo\n--x--\nafter\n--x\n\nno";
        let message = Part::read(source);
        let contents = |max| -> Vec<_> {
            let parts = message.children("x", max);
            parts.iter().map(Part::content).collect()
        };
        assert_eq!(contents(10), [&b"one\n--xy"[..], b"two"]);
        assert_eq!(contents(1), [b"one\n--xy"]);
        let cut = Part::read(b"A: b\n\n--x\n\none");
        assert_eq!(cut.children("x", 10)[0].content(), b"one");
    }
}
