//! From a conversation to tokens, in the model's own template.
//!
//! The words of documents and people must not become control tokens: a passage that contains
//! `<|im_start|>system` would otherwise speak with the system's authority. So the template is
//! applied to placeholders, and only the template's own pieces are read with control tokens; the
//! contents are read as plain text. This also keeps the tokens of a turn independent of its
//! neighbours, which is what reuse of the prompt's beginning relies on.

use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
use llama_cpp_2::token::LlamaToken;

use crate::{ChatTurn, Error};

/// For models that bring no template of their own.
const FALLBACK_TEMPLATE: &str = "chatml";

/// Noncharacters, which no text contains and no template touches.
const PLACEHOLDER_START: char = '\u{fdd0}';
const PLACEHOLDER_END: char = '\u{fdd1}';

/// The tokens of `messages`, ready for the assistant to go on after `assistant_prefix`.
pub(crate) fn tokens(
    model: &LlamaModel,
    model_id: &str,
    messages: &[ChatTurn],
    assistant_prefix: Option<&str>,
) -> Result<Vec<LlamaToken>, Error> {
    let failed = |reason: String| Error::Template {
        model: model_id.to_owned(),
        reason,
    };
    // A name must not be passed here: the binding then reads freed memory.
    let template = match model.chat_template(None) {
        Ok(template) => template,
        Err(_) => LlamaChatTemplate::new(FALLBACK_TEMPLATE).map_err(|e| failed(e.to_string()))?,
    };
    let chat = messages
        .iter()
        .enumerate()
        .map(|(number, turn)| {
            let placeholder = format!("{PLACEHOLDER_START}{number}{PLACEHOLDER_END}");
            LlamaChatMessage::new(turn.role.as_str().to_owned(), placeholder)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let rendered = model
        .apply_chat_template(&template, &chat, true)
        .map_err(|error| failed(error.to_string()))?;
    let segments = segments(&rendered, messages)
        .ok_or_else(|| failed("its chat template drops or repeats messages".to_owned()))?;

    let vocab = model.vocab();
    let mut tokens = Vec::new();
    for (number, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Template(text) => {
                vocab.tokenize_into(text.as_bytes(), &mut tokens, number == 0, true);
            }
            Segment::Content(text) => {
                vocab.tokenize_into(text.as_bytes(), &mut tokens, number == 0, false);
            }
        }
    }
    if let Some(prefix) = assistant_prefix {
        vocab.tokenize_into(prefix.as_bytes(), &mut tokens, false, false);
    }
    Ok(tokens)
}

/// Tokens of plain text, without any special ones.
pub(crate) fn plain_tokens(model: &LlamaModel, text: &str) -> Vec<LlamaToken> {
    model.vocab().tokenize(text.as_bytes(), false, false)
}

#[derive(Debug, PartialEq, Eq)]
enum Segment<'a> {
    Template(&'a str),
    Content(&'a str),
}

/// Splits a rendered template at its placeholders; `None` unless each is there once.
fn segments<'a>(rendered: &'a str, messages: &'a [ChatTurn]) -> Option<Vec<Segment<'a>>> {
    let mut segments = Vec::new();
    let mut used = vec![false; messages.len()];
    let mut rest = rendered;
    while let Some((before, after)) = rest.split_once(PLACEHOLDER_START) {
        let (number, after) = after.split_once(PLACEHOLDER_END)?;
        let number: usize = number.parse().ok()?;
        if std::mem::replace(used.get_mut(number)?, true) {
            return None;
        }
        segments.push(Segment::Template(before));
        segments.push(Segment::Content(messages[number].content.trim()));
        rest = after;
    }
    segments.push(Segment::Template(rest));
    // Empty pieces are kept out, so that none of them is taken for the beginning.
    segments.retain(|segment| !matches!(segment, Segment::Template("") | Segment::Content("")));
    used.into_iter().all(|used| used).then_some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_stand_apart_from_the_template() {
        let messages = [
            ChatTurn::system(" Odgovaraj. "),
            ChatTurn::user("<|im_end|>"),
        ];
        let rendered = "<s>\u{fdd0}0\u{fdd1}</s><u>\u{fdd0}1\u{fdd1}</u><a>";
        assert_eq!(
            segments(rendered, &messages).unwrap(),
            [
                Segment::Template("<s>"),
                Segment::Content("Odgovaraj."),
                Segment::Template("</s><u>"),
                Segment::Content("<|im_end|>"),
                Segment::Template("</u><a>"),
            ]
        );
        assert_eq!(
            segments("<s>\u{fdd0}0\u{fdd1}", &messages),
            None,
            "one is missing"
        );
        let twice = "\u{fdd0}0\u{fdd1}\u{fdd0}0\u{fdd1}\u{fdd0}1\u{fdd1}";
        assert_eq!(segments(twice, &messages), None, "one is there twice");
    }
}
