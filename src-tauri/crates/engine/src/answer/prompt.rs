//! The prompt, laid out so that a chat's next turn can reuse the model's state for all before it:
//! fixed text, then the history exactly as it was, then only what is new.
//!
//! Passages keep their numbers for the whole chat. A follow-up brings only passages that do not
//! stand in the conversation yet; the others are already there and may be cited again.

use docent_domain::Language;
use docent_inference::ChatTurn;

/// A passage as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedPassage {
    pub n: u32,
    /// Title and headings, outermost first.
    pub header: String,
    pub text: String,
}

/// A finished turn of the chat.
#[derive(Clone, Debug, PartialEq)]
pub struct PastTurn {
    pub question: String,
    pub language: Language,
    /// The passages that this turn brought, in prompt order.
    pub passages: Vec<NumberedPassage>,
    pub answer: String,
}

const SYSTEM_ENGLISH: &str = "\
You answer questions from numbered passages of the user's own documents. Use only what the passages \
say. Write a short, complete answer in English and put the number of the passage after each \
statement, like [1]. Do not write anything that is not in the passages.

Example
[1] Office handbook > Keys
Keys are kept at the reception. They are handed out against a signature.
Question: Where do I get a key?
Answer: You get a key at the reception, against a signature [1].";

const SYSTEM_CROATIAN: &str = "\
Odgovaraš na pitanja iz numeriranih odlomaka korisnikovih dokumenata. Koristi samo ono što u \
odlomcima piše. Napiši kratak i potpun odgovor na hrvatskom jeziku i iza svake tvrdnje stavi broj \
odlomka, ovako [1]. Ne piši ništa čega nema u odlomcima.

Primjer
[1] Priručnik ureda > Ključevi
Keys are kept at the reception. They are handed out against a signature.
Pitanje: Gdje mogu dobiti ključ?
Odgovor: Ključ se dobiva na recepciji, uz potpis [1].";

fn labels(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Croatian => (
            "Pitanje",
            "Odgovor na hrvatskom jeziku, s brojevima odlomaka",
        ),
        Language::English | Language::Undetermined => {
            ("Question", "Answer in English, with the passages' numbers")
        }
    }
}

/// The user's side of one turn.
#[must_use]
pub fn user_turn(question: &str, language: Language, passages: &[NumberedPassage]) -> String {
    let (question_label, answer_label) = labels(language);
    let mut turn = String::new();
    for passage in passages {
        turn.push_str(&format!(
            "[{}] {}\n{}\n\n",
            passage.n,
            passage.header,
            passage.text.trim()
        ));
    }
    turn.push_str(&format!(
        "{question_label}: {}\n{answer_label}:",
        question.trim()
    ));
    turn
}

/// The whole conversation, whose last turn is the question to answer. The language of the first
/// turn chooses the fixed text and keeps it, because another beginning would discard the model's
/// state; every turn names the language of its own answer.
#[must_use]
pub fn conversation(
    history: &[PastTurn],
    question: &str,
    language: Language,
    passages: &[NumberedPassage],
) -> Vec<ChatTurn> {
    let first = history.first().map_or(language, |turn| turn.language);
    let mut turns = vec![ChatTurn::system(match first {
        Language::Croatian => SYSTEM_CROATIAN,
        Language::English | Language::Undetermined => SYSTEM_ENGLISH,
    })];
    for past in history {
        turns.push(ChatTurn::user(user_turn(
            &past.question,
            past.language,
            &past.passages,
        )));
        turns.push(ChatTurn::assistant(past.answer.clone()));
    }
    turns.push(ChatTurn::user(user_turn(question, language, passages)));
    turns
}

/// The most recent turns that fit into `budget` tokens, oldest first. Cutting costs the reuse of
/// the model's state once, so it cuts to half the budget and then has room for several turns.
#[must_use]
pub fn fitting_history(
    mut history: Vec<PastTurn>,
    budget: usize,
    tokens: impl Fn(&str) -> usize,
) -> Vec<PastTurn> {
    let cost = |turn: &PastTurn| {
        tokens(&user_turn(&turn.question, turn.language, &turn.passages)) + tokens(&turn.answer)
    };
    let costs: Vec<usize> = history.iter().map(cost).collect();
    let mut total: usize = costs.iter().sum();
    if total <= budget {
        return history;
    }
    let mut cut = 0;
    while cut < costs.len() && total > budget / 2 {
        total -= costs[cut];
        cut += 1;
    }
    history.drain(..cut);
    history
}

/// What a refusal says, in the question's language.
#[must_use]
pub const fn refusal(language: Language, has_nearest: bool) -> &'static str {
    match (language, has_nearest) {
        (Language::Croatian, true) => {
            "Dokumenti o tome ne govore. Najbliži odlomci navedeni su ispod."
        }
        (Language::Croatian, false) => "Dokumenti o tome ne govore.",
        (Language::English | Language::Undetermined, true) => {
            "The documents don't say. The nearest passages are listed below."
        }
        (Language::English | Language::Undetermined, false) => "The documents don't say.",
    }
}

/// What stands before a passage that is quoted because the model's own sentence did not hold.
#[must_use]
pub const fn quote_introduction(language: Language) -> &'static str {
    match language {
        Language::Croatian => "U dokumentima piše:",
        Language::English | Language::Undetermined => "The documents say:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(n: u32) -> NumberedPassage {
        NumberedPassage {
            n,
            header: format!("Title {n}"),
            text: format!("Text {n}."),
        }
    }

    #[test]
    fn a_follow_up_begins_with_the_turn_before() {
        let first = conversation(&[], "How?", Language::English, &[passage(1), passage(2)]);
        let past = PastTurn {
            question: "How?".into(),
            language: Language::English,
            passages: vec![passage(1), passage(2)],
            answer: "So [1].".into(),
        };
        let second = conversation(&[past], "A u Hrvatskoj?", Language::Croatian, &[passage(3)]);
        assert_eq!(
            second[..2],
            first[..2],
            "the state of the first turn can be reused"
        );
        assert_eq!(second[2].content, "So [1].");
        assert!(second[3].content.starts_with("[3] Title 3\nText 3."));
        assert!(second[3].content.contains("Odgovor na hrvatskom"));
    }

    #[test]
    fn history_is_cut_from_the_old_end_to_half_the_budget() {
        let turn = |n: u32| PastTurn {
            question: "q".repeat(10),
            language: Language::English,
            passages: vec![],
            answer: n.to_string().repeat(10),
        };
        let history: Vec<_> = (1..=6).map(turn).collect();
        let cost = user_turn(&"q".repeat(10), Language::English, &[]).len() + 10;
        let kept = fitting_history(history.clone(), cost * 6, str::len);
        assert_eq!(kept, history, "what fits is kept whole");
        let kept = fitting_history(history.clone(), cost * 5, str::len);
        assert_eq!(kept, history[4..], "two of five fit into half");
    }
}
