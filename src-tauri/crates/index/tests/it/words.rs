//! Searching by words.

use docent_domain::Language::{Croatian, English, Undetermined};
use docent_index::PartState;
use roaring::RoaringBitmap;

use crate::support::{Bench, Random, keys, word};

fn croatian_office() -> Bench {
    let bench = Bench::new(4);
    let index = bench.open();
    index
        .add_words(&[
            word(
                1,
                "Računi",
                "Dobavljač je poslao račun za kolovoz.",
                Croatian,
            ),
            word(
                2,
                "Plaćanja",
                "Kamata se obračunava zbog zakašnjenja u plaćanju.",
                Croatian,
            ),
            word(
                3,
                "Godišnji odmor",
                "Radnik ima pravo na dvadeset dana odmora.",
                Croatian,
            ),
            word(
                4,
                "Invoices",
                "The supplier sent the invoice for August.",
                English,
            ),
            word(
                5,
                "Travel",
                "Employees book their journeys themselves.",
                English,
            ),
        ])
        .unwrap();
    bench
}

#[test]
fn inflected_and_unaccented_questions_find_the_word() {
    let bench = croatian_office();
    let index = bench.open();
    for question in [
        "račun",
        "računa",
        "racun",
        "RAČUNIMA",
        "racunima dobavljaca",
    ] {
        let hits = index.search_words(question, 3, None).unwrap();
        assert_eq!(hits[0].key.0, 1, "{question:?} speaks of the invoice");
    }
    for question in ["zakašnjenje", "zakasnjenje", "zakašnjenju"] {
        let hits = index.search_words(question, 3, None).unwrap();
        assert_eq!(hits[0].key.0, 2, "{question:?} speaks of the delay");
    }
}

#[test]
fn unaccented_documents_are_found_by_accented_questions() {
    let bench = Bench::new(4);
    let index = bench.open();
    index
        .add_words(&[
            word(1, "", "Potvrda o placenom porezu na nasljedstvo", Croatian),
            word(2, "", "Zapisnik sa sjednice vijeca", Croatian),
        ])
        .unwrap();
    let found = |question| index.search_words(question, 1, None).unwrap()[0].key.0;
    assert_eq!(found("plaćeni porez"), 1);
    assert_eq!(found("vijeće"), 2);
}

#[test]
fn headers_are_searched_too() {
    let bench = croatian_office();
    let index = bench.open();
    let hits = index.search_words("godišnji", 1, None).unwrap();
    assert_eq!(keys(&hits), [3], "the word stands in the heading alone");
}

/// Three thousand chunks in which everything but the asked token is everywhere.
#[test]
fn rare_tokens_are_found_among_look_alikes() {
    let bench = Bench::new(4);
    let index = bench.open();
    let mut random = Random(11);
    let surnames = [
        "Horvat",
        "Horvatić",
        "Kovačević",
        "Kovačić",
        "Babić",
        "Marić",
    ];
    let mut texts: Vec<String> = (0..3000)
        .map(|_| {
            format!(
                "Part KX-{}-{} was delivered to {} with invoice {}/{} and error E{:04}.",
                1000 + random.below(9000),
                ['A', 'B', 'C'][random.below(3)],
                surnames[random.below(surnames.len())],
                random.below(5000),
                2000 + random.below(26),
                random.below(9000),
            )
        })
        .collect();
    for (at, token) in [
        (17, "KX-0731-B"),
        (901, "Horvatinčić"),
        (1502, "E9731"),
        (2999, "ISO/IEC 27001:2022"),
        (40, "77-18/2031"),
    ] {
        texts[at] = format!("Part KX-4410-A was delivered with {token} to the office in Split.");
    }
    let entries: Vec<_> = (0..)
        .zip(&texts)
        .map(|(key, text)| word(key, "Delivery notes", text, English))
        .collect();
    index.add_words(&entries).unwrap();
    for (at, question) in [
        (17, "Where is part KX-0731-B?"),
        (17, "kx0731b"),
        (901, "what was delivered to Horvatinčić"),
        (901, "Horvatincica"),
        (1502, "error code E9731 meaning"),
        (2999, "which office has ISO/IEC 27001:2022"),
        (40, "invoice 77-18/2031"),
    ] {
        let hits = index.search_words(question, 3, None).unwrap();
        assert!(
            keys(&hits).contains(&at),
            "{question:?} should find {at} among its first three, found {:?}",
            keys(&hits)
        );
    }
}

#[test]
fn a_filter_chooses_before_the_best_are_cut_off() {
    let bench = Bench::new(4);
    let index = bench.open();
    let texts: Vec<String> = (0..500)
        .map(|n| format!("{} budget", "budget ".repeat(n % 7)))
        .collect();
    let entries: Vec<_> = (0..)
        .zip(&texts)
        .map(|(key, text)| word(key, "", text, English))
        .collect();
    index.add_words(&entries).unwrap();
    let all = index.search_words("budget", 500, None).unwrap();
    assert_eq!(all.len(), 500);
    let filter: RoaringBitmap = (0..500).filter(|key| key % 13 == 5).collect();
    let expected: Vec<u32> = keys(&all)
        .into_iter()
        .filter(|&key| filter.contains(key))
        .take(9)
        .collect();
    let hits = index.search_words("budget", 9, Some(&filter)).unwrap();
    assert_eq!(keys(&hits), expected);
    let none = index.search_words("budget", 9, Some(&RoaringBitmap::new()));
    assert!(none.unwrap().is_empty());
}

#[test]
fn scores_are_sums_and_fall() {
    let bench = croatian_office();
    let index = bench.open();
    let one = index.search_words("invoice", 5, None).unwrap();
    let both = index.search_words("invoice supplier", 5, None).unwrap();
    assert!(
        both[0].score > one[0].score,
        "a second matching word adds to the sum"
    );
    assert!(both.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(index.search_words("", 5, None).unwrap().is_empty());
    assert!(index.search_words("?!…", 5, None).unwrap().is_empty());
    assert!(index.search_words("xylophone", 5, None).unwrap().is_empty());
    assert!(index.search_words("invoice", 0, None).unwrap().is_empty());
}

#[test]
fn removals_and_replacements_show_at_once() {
    let bench = croatian_office();
    let index = bench.open();
    index.remove(&RoaringBitmap::from_iter([1, 99])).unwrap();
    assert!(!keys(&index.search_words("račun", 5, None).unwrap()).contains(&1));
    assert_eq!(index.word_keys().unwrap(), (2..6).collect());

    index
        .add_words(&[word(5, "", "Novi tekst o računalima.", Croatian)])
        .unwrap();
    assert!(index.search_words("journeys", 5, None).unwrap().is_empty());
    assert_eq!(index.search_words("računala", 1, None).unwrap()[0].key.0, 5);
    assert_eq!(
        index.word_keys().unwrap().len(),
        4,
        "a replacement is no second chunk"
    );

    index
        .add_words(&[
            word(7, "", "first version", English),
            word(7, "", "second version", English),
        ])
        .unwrap();
    assert!(
        index.search_words("first", 5, None).unwrap().is_empty(),
        "the later one holds"
    );
    assert_eq!(index.search_words("second", 5, None).unwrap().len(), 1);
}

#[test]
fn languages_follow_the_chunks() {
    let bench = croatian_office();
    {
        let index = bench.open();
        index
            .add_words(&[word(9, "", "???", Undetermined)])
            .unwrap();
        index.remove(&RoaringBitmap::from_iter([2])).unwrap();
    }
    let index = bench.open();
    let languages = index.languages();
    assert_eq!(languages.croatian, RoaringBitmap::from_iter([1, 3]));
    assert_eq!(languages.english, RoaringBitmap::from_iter([4, 5]));
    assert_eq!(languages.undetermined, RoaringBitmap::from_iter([9]));
    assert_eq!(languages.of(3), Some(Croatian));
    assert_eq!(languages.present().count(), 3);
}

#[test]
fn many_commits_merge_and_stay_searchable() {
    let bench = Bench::new(4);
    let index = bench.open();
    for key in 0..60 {
        let text = format!("chapter number{key} about gardening");
        index.add_words(&[word(key, "", &text, English)]).unwrap();
    }
    index.remove(&(10..20).collect()).unwrap();
    assert_eq!(
        index.search_words("gardening", 100, None).unwrap().len(),
        50
    );
    assert_eq!(
        index.search_words("number42", 1, None).unwrap()[0].key.0,
        42
    );

    assert!(index.stats().has_writer);
    index.release_memory().unwrap();
    assert!(!index.stats().has_writer, "an idle index holds no writer");
    assert_eq!(
        index.search_words("gardening", 100, None).unwrap().len(),
        50
    );
    index
        .add_words(&[word(99, "", "gardening again", English)])
        .unwrap();
    assert_eq!(
        index.search_words("gardening", 100, None).unwrap().len(),
        51
    );
    // Releasing waited for the merges, and the last commit shows what came of them.
    assert!(index.stats().word_segments < 30);
}

#[test]
fn what_was_added_is_there_after_reopening() {
    let bench = croatian_office();
    let before = bench
        .open()
        .search_words("supplier račun", 5, None)
        .unwrap();
    let (index, report) = bench.open_reported();
    assert_eq!(report.words, PartState::Opened);
    assert_eq!(
        index.search_words("supplier račun", 5, None).unwrap(),
        before
    );
    assert_eq!(index.word_keys().unwrap(), (1..6).collect());
}

#[test]
fn words_of_removed_chunks_can_be_wiped_from_the_disk() {
    let bench = Bench::new(8);
    let index = bench.open();
    // tantivy only notes a removal in such a file, beside the words.
    let noted_removals = || {
        std::fs::read_dir(bench.dir.path().join("words"))
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension() == Some("del".as_ref()))
            .count()
    };
    for key in 0..3 {
        let text = format!("chapter number{key} about gardening");
        index.add_words(&[word(key, "", &text, English)]).unwrap();
    }
    // One of ten is too few for tantivy to merge the segment of its own accord.
    let last: Vec<_> = (7..17)
        .map(|key| word(key, "", "gardening again", English))
        .collect();
    index.add_words(&last).unwrap();
    index.remove(&RoaringBitmap::from_iter([7])).unwrap();
    assert_eq!(
        noted_removals(),
        1,
        "control: removing alone leaves the words"
    );
    drop(index);
    let index = bench.open();
    assert!(index.holds_removed(), "also after opening it again");
    let aside = bench.dir.path().join("quarantine-words-1");
    std::fs::create_dir(&aside).unwrap();
    std::fs::write(aside.join("x.term"), "number7").unwrap();
    let before = index.stats();
    index.forget_removed().unwrap();
    assert!(!index.holds_removed() && !aside.exists());
    assert_eq!(noted_removals(), 0);
    let after = index.stats();
    assert!(after.words_disk_bytes < before.words_disk_bytes);
    assert_eq!(after.word_segments, before.word_segments, "the others stay");
    let left = index.search_words("gardening", 99, None).unwrap();
    assert_eq!(left.len(), 12);
    index.forget_removed().unwrap();
    assert_eq!(index.stats(), after, "there is nothing more to wipe");
}

/// A commit that finds the disk full leaves such files, and the next one wants their names.
#[test]
fn what_a_failed_commit_left_is_in_nobodys_way() {
    let bench = croatian_office();
    let words = bench.dir.path().join("words");
    let meta = std::fs::read(words.join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    let segment = meta["segments"][0]["segment_id"].as_str().unwrap();
    let segment = segment.replace('-', "");
    let last = meta["opstamp"].as_u64().unwrap();
    for opstamp in last..last + 20 {
        std::fs::write(words.join(format!("{segment}.{opstamp}.del")), "torn").unwrap();
    }
    let index = bench.open();
    index.remove(&RoaringBitmap::from([1])).unwrap();
    assert!(!index.word_keys().unwrap().contains(1));
    drop(index);
    let index = bench.open();
    assert!(!index.word_keys().unwrap().contains(1), "also when read");
}
