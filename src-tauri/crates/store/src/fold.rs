//! The form in which titles and paths are sorted and looked up.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Lower case without marks, compatibility forms resolved: `Zaključak` becomes `zakljucak`.
///
/// Stored in rows: changing it breaks the order and the lookup of documents already there.
#[must_use]
pub fn fold(text: &str) -> String {
    text.nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            // These letters have no decomposition.
            'đ' => 'd',
            'ł' => 'l',
            'ø' => 'o',
            'ı' => 'i',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn case_and_marks_go_whatever_the_normal_form() {
        assert_eq!(fold("Đurđevac – ŽUPANIJA čćš"), "durdevac – zupanija ccs");
        assert_eq!(
            fold("z\u{30c}upanija"),
            fold("županija"),
            "macOS decomposes file names"
        );
    }
}
