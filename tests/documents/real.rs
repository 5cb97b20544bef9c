//! Public documents in two languages, the starter embedder and a real language model.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::program::Docent;

/// Page pairs taken from the help corpus, besides those that are asked about.
const PAGES: usize = 110;

struct Question {
    text: &'static str,
    /// The page that answers it, in either language.
    page: &'static str,
}

const QUESTIONS: [Question; 4] = [
    Question {
        text: "How do I make the text on my screen bigger?",
        page: "a11y-font-size",
    },
    Question {
        text: "How can I find out my IP address?",
        page: "net-findip",
    },
    Question {
        text: "Kako promijeniti lozinku?",
        page: "user-changepassword",
    },
    Question {
        text: "Kako vratiti datoteku iz smeća?",
        page: "files-recover",
    },
];

/// What no page of the corpus says anything about.
const OFF_TOPIC: [&str; 2] = [
    "What is the best time of the year to plant tomatoes?",
    "Koliko stanovnika ima Osijek?",
];

#[test]
fn pages_are_found_in_both_languages_and_citations_hold() -> Result<()> {
    let docent = Docent::new()?;
    let corpus = docent_tests::corpus_dir().join("help");
    let mut copied = 0;
    for language in ["en", "hr"] {
        let from = corpus.join(language);
        let to = docent.documents().join(language);
        fs::create_dir(&to)?;
        let mut pages: Vec<_> = fs::read_dir(&from)
            .with_context(|| format!("{} is made by `cargo xtask corpus`", from.display()))?
            .collect::<Result<_, _>>()?;
        pages.sort_by_key(fs::DirEntry::file_name);
        for (number, page) in pages.iter().enumerate() {
            let name = page.file_name();
            let asked = QUESTIONS
                .iter()
                .any(|question| name.to_string_lossy() == format!("{}.html", question.page));
            if asked || number % 3 == 0 && number / 3 < PAGES {
                fs::copy(page.path(), to.join(&name))?;
                copied += 1;
            }
        }
    }
    ensure!(copied >= 200, "a few hundred documents, not {copied}");

    let report = docent.ingest()?;
    ensure!(report["totals"]["failed"] == 0, "{}", report["totals"]);
    ensure!(
        report["totals"]["indexed"] == copied,
        "{}",
        report["totals"]
    );
    ensure!(docent.findings()?.is_empty(), "rows and indexes agree");

    let again = docent.ingest()?;
    ensure!(
        again["totals"]["unchanged"] == copied,
        "nothing is read twice: {}",
        again["totals"]
    );

    for question in &QUESTIONS {
        let found = docent.succeed(&["search", question.text, "--workspace", "test", "-k", "5"])?;
        let page = format!("/{}.html", question.page);
        ensure!(
            found.to_string().contains(&page),
            "{} is among the first five: {found}",
            question.page
        );
    }
    let mut rightly_cited = Vec::new();
    for question in &QUESTIONS {
        let answer = docent.succeed(&["ask", question.text, "--workspace", "test"])?;
        check_answer(&answer)?;
        ensure!(answer["refused"] == false, "{}: {answer}", question.text);
        let page = format!("/{}.html", question.page);
        let cites = |citation: &Value| {
            citation["path"]
                .as_str()
                .is_some_and(|path| path.ends_with(&page))
        };
        if list(&answer, "citations")?.iter().any(cites) {
            rightly_cited.push(question.page);
        }
    }
    // Half a billion parameters choose the wrong neighbour now and then, hardly twice in four.
    ensure!(
        rightly_cited.len() + 1 >= QUESTIONS.len(),
        "only {rightly_cited:?} were cited for the questions about them"
    );
    for question in OFF_TOPIC {
        let answer = docent.succeed(&["ask", question, "--workspace", "test"])?;
        ensure!(answer["refused"] == true, "{question}: {answer}");
        check_answer(&answer)?;
    }
    Ok(())
}

/// Whatever the small model wrote: what is cited stood in the prompt under that number and is the
/// document's own text, and a refusal cites nothing but shows the nearest passages.
fn check_answer(answer: &Value) -> Result<()> {
    let citations = list(answer, "citations")?;
    let passages = list(answer, "passages")?;
    if answer["refused"] == true {
        ensure!(citations.is_empty(), "a refusal cites nothing: {answer}");
        ensure!(
            !list(answer, "nearest")?.is_empty(),
            "a refusal shows the nearest passages"
        );
        return Ok(());
    }
    let text = answer["answer"].as_str().context("an answer has a text")?;
    for citation in citations {
        ensure!(
            passages.contains(citation),
            "what is cited stood in the prompt"
        );
        let n = citation["n"].as_u64().context("a citation has a number")?;
        ensure!(
            text.contains(&format!("[{n}]")),
            "[{n}] is in the text: {text}"
        );
        // The passage is the document's own text at the place that it gives.
        let length = citation["text"]
            .as_str()
            .map(|text| text.chars().count() as u64);
        let span = citation["end"].as_u64().zip(citation["start"].as_u64());
        ensure!(span.map(|(end, start)| end - start) == length, "{citation}");
    }
    Ok(())
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    value[name]
        .as_array()
        .with_context(|| format!("{name} is a list in {value}"))
}
