//! The file of questions, and what counts as right.

use std::path::Path;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub id: String,
    pub question: String,
    /// Of the question; the figures are grouped by it.
    #[serde(default = "unknown_language")]
    pub language: String,
    #[serde(default = "yes")]
    pub answerable: bool,
    /// Any one of these suffices.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// All of these, without regard to case and white space.
    #[serde(default)]
    pub answer_contains: Vec<String>,
    /// For whoever keeps the file.
    #[serde(default)]
    pub note: Option<String>,
}

fn unknown_language() -> String {
    "und".to_owned()
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The end of the document's path, in whole components.
    pub path: String,
    #[serde(default)]
    pub contains: Option<String>,
}

impl Expected {
    #[must_use]
    pub fn matches(&self, path: &str, text: &str) -> bool {
        Path::new(path).ends_with(self.path.trim_start_matches('/'))
            && self
                .contains
                .as_ref()
                .is_none_or(|contains| contains_folded(text, contains))
    }
}

impl Question {
    /// Whether a passage is one of those that were expected.
    #[must_use]
    pub fn is_right(&self, path: &str, text: &str) -> bool {
        self.expected
            .iter()
            .any(|expected| expected.matches(path, text))
    }

    /// Whether documents are asked for, not passages in them.
    #[must_use]
    pub fn ranks_documents(&self) -> bool {
        self.expected
            .iter()
            .all(|expected| expected.contains.is_none())
    }

    /// `None` when the answer need not contain anything.
    #[must_use]
    pub fn is_answered_by(&self, answer: &str) -> Option<bool> {
        (!self.answer_contains.is_empty()).then(|| {
            self.answer_contains
                .iter()
                .all(|part| contains_folded(answer, part))
        })
    }
}

fn contains_folded(text: &str, part: &str) -> bool {
    folded(text).contains(&folded(part))
}

fn folded(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidQuestions {
    #[error("line {line} is not a question: {reason}")]
    Line { line: usize, reason: String },
    #[error("there is no question in it")]
    Empty,
}

/// Reads a file of questions, one JSON value a line. Empty lines are skipped.
pub fn parse(text: &str) -> Result<Vec<Question>, InvalidQuestions> {
    let questions = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| InvalidQuestions::Line {
                line: number,
                reason: error.to_string(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if questions.is_empty() {
        Err(InvalidQuestions::Empty)
    } else {
        Ok(questions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_defaults() {
        let text = "{\"id\":\"1\",\"question\":\"Što?\"}\n\n\
            {\"id\":\"2\",\"question\":\"What?\",\"language\":\"en\",\"answerable\":false,\
             \"expected\":[{\"path\":\"a.txt\",\"contains\":\"x\"}],\"answer_contains\":[\"y\"]}\n";
        let questions = parse(text).unwrap();
        assert_eq!(questions.len(), 2);
        assert!(questions[0].answerable && questions[0].ranks_documents());
        assert_eq!(questions[0].language, "und");
        assert!(!questions[1].answerable && !questions[1].ranks_documents());

        let error = parse("{\"id\":\"1\",\"question\":\"Q\"}\n\nnonsense").unwrap_err();
        assert!(error.to_string().starts_with("line 3 "), "{error}");
        assert!(
            parse("{\"id\":\"1\",\"question\":\"Q\",\"anwerable\":true}").is_err(),
            "misspelt"
        );
        assert!(parse("\n").is_err());
    }

    #[test]
    fn paths_match_in_whole_components() {
        let expected = |path: &str| Expected {
            path: path.to_owned(),
            contains: None,
        };
        assert!(expected("hr/mreža.html").matches("/help/hr/mreža.html", ""));
        assert!(expected("/hr/mreža.html").matches("/help/hr/mreža.html", ""));
        assert!(
            expected("a.txt").matches("a.txt", ""),
            "an upload is its name"
        );
        assert!(!expected("eža.html").matches("/help/hr/mreža.html", ""));
        assert!(!expected("en/mreža.html").matches("/help/hr/mreža.html", ""));
    }

    #[test]
    fn texts_match_without_case_and_white_space() {
        let expected = Expected {
            path: "a".to_owned(),
            contains: Some("Otvori  Postavke".to_owned()),
        };
        assert!(expected.matches("/a", "Zatim otvori\n   POSTAVKE."));
        assert!(!expected.matches("/a", "Otvorite postavke"));
    }

    #[test]
    fn an_answer_needs_all_its_parts() {
        let question = Question {
            answer_contains: vec!["Ctrl".to_owned(), "č".to_owned()],
            ..parse("{\"id\":\"1\",\"question\":\"Q\"}")
                .unwrap()
                .remove(0)
        };
        assert_eq!(question.is_answered_by("ctrl+Č"), Some(true));
        assert_eq!(question.is_answered_by("ctrl"), Some(false));
        let free = Question {
            answer_contains: Vec::new(),
            ..question
        };
        assert_eq!(free.is_answered_by(""), None);
    }
}
