//! The `Range` header, for one range of bytes (RFC 9110, section 14).

use std::ops::RangeInclusive;

/// What a `Range` header asks for, of a file of known length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: there was no range, or one that may be ignored (another unit, several ranges,
    /// a malformed one).
    Whole,
    Part(RangeInclusive<u64>),
    /// No byte of the file is in the range.
    Unsatisfiable,
}

pub(super) fn wanted(range: Option<&str>, length: u64) -> Wanted {
    let Some((first, last)) = range
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    match (position(first), position(last)) {
        (Position::Absent, Position::At(suffix)) => match suffix.min(length) {
            0 => Wanted::Unsatisfiable,
            suffix => Wanted::Part(length - suffix..=length - 1),
        },
        (Position::At(first), Position::At(last)) if last < first => Wanted::Whole,
        (Position::At(first), _) if first >= length => Wanted::Unsatisfiable,
        (Position::At(first), Position::At(last)) => Wanted::Part(first..=last.min(length - 1)),
        (Position::At(first), Position::Absent) => Wanted::Part(first..=length - 1),
        (Position::Absent, Position::Absent)
        | (Position::Malformed, _)
        | (_, Position::Malformed) => Wanted::Whole,
    }
}

enum Position {
    Absent,
    At(u64),
    Malformed,
}

fn position(text: &str) -> Position {
    let text = text.trim();
    if text.is_empty() {
        Position::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number beyond u64 is beyond every file.
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0..=0)),
            (Some("bytes=2-5"), Wanted::Part(2..=5)),
            (Some("bytes=2-"), Wanted::Part(2..=9)),
            (Some("bytes=2-99"), Wanted::Part(2..=9)),
            (Some("bytes=-3"), Wanted::Part(7..=9)),
            (Some("bytes=-99"), Wanted::Part(0..=9)),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=10-"), Wanted::Unsatisfiable),
            (Some("bytes=99999999999999999999-"), Wanted::Unsatisfiable),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,4-5"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("pages=1-2"), Wanted::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(wanted(range, 10), expected, "{range:?}");
        }
        assert_eq!(
            wanted(Some("bytes=0-"), 0),
            Wanted::Unsatisfiable,
            "an empty file"
        );
        assert_eq!(
            wanted(Some("bytes=-1"), 0),
            Wanted::Unsatisfiable,
            "an empty file"
        );
    }
}
