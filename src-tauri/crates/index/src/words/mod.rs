//! The word index: BM25 over character 4-grams and plain words, in tantivy.
//!
//! A chunk is one tantivy document without stored fields: the key, the language, and two text
//! fields over header and text ([`tokens`]). A write is one commit, visible when it returns. The
//! writer and its memory exist only between the first write and [`Words::release`]; searching
//! needs none. tantivy replaces `meta.json` atomically and its writer lock ends with its process,
//! so a writer that is killed costs at most the commit it was in.
//!
//! Measured at 100,000 chunks of 60 words (English and Croatian manuals and Markdown): a question
//! of eight words 1.9 ms of processor time, of eighty 2.2; a commit of 32 chunks 80 to 120 ms on
//! two cores with six busy processes, of one removal 13 to 39; 42 MB on disk; opened in 20 ms,
//! checksums included.

pub(crate) mod tokens;
pub(crate) mod top;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use docent_domain::ChunkKey;
use roaring::RoaringBitmap;
use tantivy::directory::error::{OpenReadError, OpenWriteError};
use tantivy::index::{SegmentComponent, SegmentId};
use tantivy::merge_policy::LogMergePolicy;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{
    Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
};

use self::tokens::{GramTokenizer, QueryTerm, WordTokenizer};
use self::top::{Scored, TopKeys};
use crate::error::{Error, Part, Result};
use crate::languages::Languages;
use crate::quarantine::{self, PartState};
use crate::room;
use crate::sync::{lock, read, write};
use crate::{Hit, WordEntry};

const KEY: &str = "key";
const LANGUAGE: &str = "language";

/// Memory of the one indexing thread, in bytes. tantivy refuses less than 15 MB; a commit seldom
/// holds more than a document's chunks, so more buys nothing.
const WRITER_BYTES: usize = 16_000_000;

/// Weight of a plain word against a gram. A word of eight letters brings eight grams, so this
/// decides only between chunks that share most grams: part numbers, surnames, inflected forms.
const WORD_WEIGHT: f32 = 0.5;

/// A question may be a whole hypothetical passage. Past this many terms, the commonest go.
const MAX_QUERY_TERMS: usize = 128;

/// A merge is due when a fifth of a segment is deleted.
const DELETED_SHARE: f32 = 0.2;

pub(crate) struct Words {
    dir: PathBuf,
    index: Index,
    fields: Fields,
    reader: IndexReader,
    /// Opened by the first write, dropped by [`Words::release`].
    writer: Mutex<Option<IndexWriter>>,
    /// The keys of the committed chunks, by language.
    languages: RwLock<Languages>,
}

#[derive(Clone, Copy)]
struct Fields {
    key: Field,
    language: Field,
    grams: Field,
    words: Field,
}

enum Attempt {
    Opened(Box<Words>),
    Foreign(String),
    Damaged(String),
}

impl Words {
    pub fn open(index_dir: &Path) -> Result<(Self, PartState)> {
        let dir = index_dir.join(Part::Words.folder());
        let mut state = if dir.join("meta.json").exists() {
            PartState::Opened
        } else {
            PartState::Created
        };
        if let Some(reason) = quarantine::marked(&dir) {
            state = quarantine::move_aside(index_dir, Part::Words, Part::Words.folder(), reason)?;
        }
        match Self::attempt(&dir)? {
            Attempt::Opened(words) => return Ok((*words, state)),
            Attempt::Damaged(reason) => {
                state =
                    quarantine::move_aside(index_dir, Part::Words, Part::Words.folder(), reason)?;
            }
            Attempt::Foreign(reason) => {
                state = quarantine::drop_part(dir.clone(), Part::Words, reason)?;
            }
        }
        match Self::attempt(&dir)? {
            Attempt::Opened(words) => Ok((*words, state)),
            Attempt::Damaged(detail) | Attempt::Foreign(detail) => Err(Error::Damaged {
                part: Part::Words,
                detail,
            }),
        }
    }

    /// Opens or creates; whatever tantivy makes of a damaged folder, panics included, is an
    /// `Attempt` and not an error.
    fn attempt(dir: &Path) -> Result<Attempt> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Folder {
            path: dir.to_owned(),
            source,
        })?;
        match catch_unwind(AssertUnwindSafe(|| Self::open_dir(dir))) {
            Ok(Ok(attempt)) => Ok(attempt),
            Ok(Err(TantivyError::OpenReadError(OpenReadError::IncompatibleIndex(_)))) => {
                Ok(Attempt::Foreign("it was written by another version".into()))
            }
            Ok(Err(error)) if is_environment(&error) => {
                if room::is_short(dir, io_error(&error)) {
                    return Err(Error::DiskFull(Part::Words));
                }
                Err(Error::OpenWords(error))
            }
            Ok(Err(error)) => Ok(Attempt::Damaged(error.to_string())),
            Err(_) => Ok(Attempt::Damaged("tantivy gave up on it".into())),
        }
    }

    fn open_dir(dir: &Path) -> tantivy::Result<Attempt> {
        let (schema, fields) = schema();
        let index = if dir.join("meta.json").exists() {
            Index::open_in_dir(dir)?
        } else if has_segments(dir)? {
            return Ok(Attempt::Damaged("its list of segments is missing".into()));
        } else {
            Index::create_in_dir(dir, schema.clone())?
        };
        if index.schema() != schema {
            return Ok(Attempt::Foreign(
                "it has the layout of another version".into(),
            ));
        }
        let broken = index.validate_checksum()?;
        if let Some(file) = broken.iter().min() {
            return Ok(Attempt::Damaged(format!(
                "the checksum of {} is wrong",
                file.display()
            )));
        }
        index
            .tokenizers()
            .register(tokens::GRAMS, TextAnalyzer::from(GramTokenizer));
        index
            .tokenizers()
            .register(tokens::WORDS, TextAnalyzer::from(WordTokenizer));
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(1)
            .try_into()?;
        let Some(languages) = stored_languages(&reader.searcher())? else {
            return Ok(Attempt::Damaged("two chunks have the same key".into()));
        };
        Ok(Attempt::Opened(Box::new(Self {
            dir: dir.to_owned(),
            index,
            fields,
            reader,
            writer: Mutex::new(None),
            languages: RwLock::new(languages),
        })))
    }

    pub fn languages(&self) -> Languages {
        read(&self.languages).clone()
    }

    /// Adds or replaces chunks in one commit.
    pub fn add(&self, entries: &[WordEntry<'_>]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut slot = lock(&self.writer);
        let present = self.languages().all();
        self.commit(&mut slot, |writer| {
            let mut added = RoaringBitmap::new();
            for entry in entries {
                let key = entry.key.0;
                // A delete costs a look into every segment, so only a known key pays for it.
                if !added.insert(key) || present.contains(key) {
                    writer.delete_term(Term::from_field_u64(self.fields.key, u64::from(key)));
                }
                let mut document = TantivyDocument::default();
                document.add_u64(self.fields.key, u64::from(key));
                document.add_u64(
                    self.fields.language,
                    u64::from(Languages::stored(entry.language)),
                );
                for field in [self.fields.grams, self.fields.words] {
                    if !entry.header.is_empty() {
                        document.add_text(field, entry.header);
                    }
                    document.add_text(field, entry.text);
                }
                writer.add_document(document)?;
            }
            Ok(())
        })?;
        let mut languages = write(&self.languages);
        for entry in entries {
            languages.insert(entry.key.0, entry.language);
        }
        Ok(())
    }

    pub fn remove(&self, keys: &RoaringBitmap) -> Result<()> {
        let mut slot = lock(&self.writer);
        let present = self.languages().all() & keys;
        if present.is_empty() {
            return Ok(());
        }
        self.commit(&mut slot, |writer| {
            for key in &present {
                writer.delete_term(Term::from_field_u64(self.fields.key, u64::from(key)));
            }
            Ok(())
        })?;
        write(&self.languages).remove(&present);
        Ok(())
    }

    pub fn search(
        &self,
        question: &str,
        k: usize,
        filter: Option<&RoaringBitmap>,
    ) -> Result<Vec<Hit>> {
        if k == 0 || filter.is_some_and(RoaringBitmap::is_empty) {
            return Ok(Vec::new());
        }
        let mut found = self.search_each(question, k, &[filter])?;
        Ok(found.pop().unwrap_or_default())
    }

    /// [`Self::search`] among each of `groups`, at the price of one search.
    pub fn search_each(
        &self,
        question: &str,
        k: usize,
        groups: &[Option<&RoaringBitmap>],
    ) -> Result<Vec<Vec<Hit>>> {
        let searcher = self.reader.searcher();
        self.search_in(&searcher, question, k, groups)
            .map_err(|error| self.reading(error))
    }

    fn search_in(
        &self,
        searcher: &Searcher,
        question: &str,
        k: usize,
        groups: &[Option<&RoaringBitmap>],
    ) -> tantivy::Result<Vec<Vec<Hit>>> {
        let Some(query) = self.query(searcher, question)? else {
            return Ok(vec![Vec::new(); groups.len()]);
        };
        let collector = TopKeys {
            k,
            groups,
            key_field: KEY,
        };
        let hit = |scored: Scored| Hit {
            key: ChunkKey(scored.key),
            score: scored.score,
        };
        let tops = searcher.search(&query, &collector)?;
        Ok(tops
            .into_iter()
            .map(|top| top.into_iter().map(hit).collect())
            .collect())
    }

    /// One flat union of weighted terms, which tantivy scores a window of documents at a time.
    fn query(&self, searcher: &Searcher, question: &str) -> tantivy::Result<Option<BooleanQuery>> {
        let grams = tokens::query_grams(question)
            .into_iter()
            .map(|term| (self.fields.grams, term));
        let words = tokens::query_words(question).into_iter().map(|term| {
            let weight = term.weight * WORD_WEIGHT;
            (self.fields.words, QueryTerm { weight, ..term })
        });
        let mut terms = Vec::new();
        for (field, QueryTerm { text, weight }) in grams.chain(words) {
            let term = Term::from_field_text(field, &text);
            let chunks = searcher.doc_freq(&term)?;
            if chunks > 0 {
                terms.push((chunks, term, weight));
            }
        }
        if terms.len() > MAX_QUERY_TERMS {
            terms.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            terms.truncate(MAX_QUERY_TERMS);
        }
        if terms.is_empty() {
            return Ok(None);
        }
        let clauses = terms
            .into_iter()
            .map(|(_, term, weight)| {
                let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
                let query: Box<dyn Query> = Box::new(BoostQuery::new(Box::new(query), weight));
                (Occur::Should, query)
            })
            .collect();
        Ok(Some(BooleanQuery::new(clauses)))
    }

    /// Whether words of removed chunks are still in the files: in segments that are in use, or in files
    /// of segments that are not in use any more.
    pub fn holds_removed(&self) -> bool {
        let searcher = self.reader.searcher();
        let segments = searcher.segment_readers();
        if segments.iter().any(tantivy::SegmentReader::has_deletes) {
            return true;
        }
        let used: HashSet<String> = segments
            .iter()
            .map(|segment| segment.segment_id().uuid_string())
            .collect();
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        files
            .filter_map(|file| segment_of(&file.file_name()))
            .any(|segment| !used.contains(&segment))
    }

    /// Writes the segments that still hold words of removed chunks anew, without holding up writers
    /// meanwhile, and deletes the files of those that are not in use any more.
    pub fn forget_removed(&self) -> Result<()> {
        // A removal's own commit still had the old segments open.
        self.reader.reload().map_err(Error::WriteWords)?;
        let segments: Vec<SegmentId> = self
            .reader
            .searcher()
            .segment_readers()
            .iter()
            .filter(|segment| segment.has_deletes())
            .map(tantivy::SegmentReader::segment_id)
            .collect();
        self.merge(&segments)
    }

    fn merge(&self, segments: &[SegmentId]) -> Result<()> {
        if !segments.is_empty() {
            let merge = {
                let mut writer = lock(&self.writer);
                self.writer(&mut writer)?.merge(segments)
            };
            match merge.wait() {
                // Another merge has one of the segments, or had it; it does the same work.
                Ok(_) | Err(TantivyError::InvalidArgument(_)) => {}
                Err(error) => return Err(self.writing(error)),
            }
            // What the reader still has open is not deleted.
            self.reader.reload().map_err(Error::WriteWords)?;
        }
        let mut writer = lock(&self.writer);
        let collected = self.writer(&mut writer)?.garbage_collect_files().wait();
        collected.map(drop).map_err(Error::WriteWords)
    }

    /// Ends the writer and gives its memory back; the next write opens it again.
    pub fn release(&self) -> Result<()> {
        match lock(&self.writer).take() {
            Some(writer) => writer.wait_merging_threads().map_err(Error::WriteWords),
            None => Ok(()),
        }
    }

    pub fn has_writer(&self) -> bool {
        lock(&self.writer).is_some()
    }

    pub fn segments(&self) -> usize {
        self.reader.searcher().segment_readers().len()
    }

    /// Runs `write` and commits; on any failure nothing of it remains.
    fn commit(
        &self,
        slot: &mut Option<IndexWriter>,
        write: impl FnOnce(&IndexWriter) -> tantivy::Result<()>,
    ) -> Result<()> {
        let writer = self.writer(slot)?;
        let result = write(writer).and_then(|()| writer.commit());
        if let Err(mut error) = result {
            // The indexing thread has ended, and whoever commits next is told of what.
            if matches!(error, TantivyError::ErrorInThread(_))
                && let Err(cause) = writer.prepare_commit()
            {
                error = cause;
            }
            // A writer that failed may be half dead (its thread ended on a full disk), and what it
            // took in but didn't commit must not ride along with the next commit.
            *slot = None;
            return Err(self.writing(error));
        }
        self.reader.reload().map_err(|error| self.reading(error))
    }

    fn writer<'a>(&self, slot: &'a mut Option<IndexWriter>) -> Result<&'a mut IndexWriter> {
        if let Some(writer) = slot {
            return Ok(writer);
        }
        let writer: IndexWriter = self
            .index
            .writer_with_num_threads(1, WRITER_BYTES)
            .map_err(|error| self.writing(error))?;
        self.delete_torn_deletes();
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
        writer.set_merge_policy(Box::new(policy));
        Ok(slot.insert(writer))
    }

    /// A commit that failed (on a full disk) leaves the lists of deleted chunks that it began to write,
    /// and the next commit would have them under the same names, where tantivy overwrites nothing.
    /// For who has the only writer. What cannot be deleted fails that commit.
    fn delete_torn_deletes(&self) {
        let Ok(segments) = self.index.searchable_segment_metas() else {
            return;
        };
        let used: HashSet<PathBuf> = segments
            .iter()
            .map(|segment| segment.relative_path(SegmentComponent::Delete))
            .collect();
        for file in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = PathBuf::from(file.file_name());
            let is_list = name.extension() == Some(OsStr::new("del"));
            if is_list && segment_of(name.as_os_str()).is_some() && !used.contains(&name) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    fn reading(&self, error: TantivyError) -> Error {
        match self.as_damage(&error) {
            Some(damage) => damage,
            None => Error::SearchWords(error),
        }
    }

    fn writing(&self, error: TantivyError) -> Error {
        match self.as_damage(&error) {
            Some(damage) => damage,
            None if room::is_short(&self.dir, io_error(&error)) => Error::DiskFull(Part::Words),
            None => Error::WriteWords(error),
        }
    }

    fn as_damage(&self, error: &TantivyError) -> Option<Error> {
        if !matches!(error, TantivyError::DataCorruption(_)) {
            return None;
        }
        let detail = error.to_string();
        quarantine::mark(&self.dir, &detail);
        Some(Error::Damaged {
            part: Part::Words,
            detail,
        })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(%error, "the word index's writer ended badly");
        }
    }
}

/// The schema is a format on disk: a change of it, of an option or of a tokenizer's name makes
/// existing word indexes foreign, and they are rebuilt.
fn schema() -> (Schema, Fields) {
    let text = |tokenizer| {
        TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(IndexRecordOption::WithFreqs)
                .set_fieldnorms(true),
        )
    };
    let mut builder = Schema::builder();
    let fields = Fields {
        key: builder.add_u64_field(KEY, FAST | INDEXED),
        language: builder.add_u64_field(LANGUAGE, FAST),
        grams: builder.add_text_field("grams", text(tokens::GRAMS)),
        words: builder.add_text_field("words", text(tokens::WORDS)),
    };
    (builder.build(), fields)
}

/// Whether the machine and not the index is at fault: a full disk must not cost the index.
fn is_environment(error: &TantivyError) -> bool {
    if let TantivyError::LockFailure(..) | TantivyError::SystemError(_) = error {
        return true;
    }
    io_error(error).is_some_and(|io| {
        !matches!(
            io.kind(),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::NotFound
        )
    })
}

fn io_error(error: &TantivyError) -> Option<&std::io::Error> {
    match error {
        TantivyError::IoError(io)
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: io, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: io, .. }) => Some(io),
        _ => None,
    }
}

fn has_segments(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        if entry?.path().extension().is_some_and(|ext| ext == "idx") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The segment that a file belongs to, by its name.
fn segment_of(file: &OsStr) -> Option<String> {
    let (segment, _) = file.to_str()?.split_once('.')?;
    let is_id = segment.len() == 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| segment.to_owned())
}

/// The committed keys by language, or `None` if a key occurs twice.
fn stored_languages(searcher: &Searcher) -> tantivy::Result<Option<Languages>> {
    let mut languages = Languages::default();
    for segment in searcher.segment_readers() {
        let keys = segment.fast_fields().u64(KEY)?;
        let stored = segment.fast_fields().u64(LANGUAGE)?;
        for doc in segment.doc_ids_alive() {
            let (Some(key), Some(language)) = (keys.first(doc), stored.first(doc)) else {
                return Err(TantivyError::DataCorruption(
                    tantivy::error::DataCorruption::comment_only("a chunk has no key"),
                ));
            };
            let (Ok(key), Some(language)) = (
                u32::try_from(key),
                u8::try_from(language).ok().and_then(Languages::restored),
            ) else {
                return Err(TantivyError::DataCorruption(
                    tantivy::error::DataCorruption::comment_only("a chunk's key is out of range"),
                ));
            };
            if languages.contains(key) {
                return Ok(None);
            }
            languages.insert(key, language);
        }
    }
    Ok(Some(languages))
}

#[cfg(test)]
mod tests {
    use docent_domain::Language;

    use super::*;

    #[test]
    fn the_schema_on_disk_must_not_change() {
        let (schema, _) = schema();
        let json = serde_json::to_value(&schema).unwrap();
        let fields: Vec<String> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|field| {
                format!(
                    "{} {} {}",
                    field["name"].as_str().unwrap(),
                    field["type"].as_str().unwrap(),
                    field["options"]
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                r#"key u64 {"fast":true,"fieldnorms":true,"indexed":true,"stored":false}"#,
                r#"language u64 {"fast":true,"fieldnorms":false,"indexed":false,"stored":false}"#,
                r#"grams text {"fast":false,"indexing":{"fieldnorms":true,"record":"freq","tokenizer":"docent_grams_1"},"stored":false}"#,
                r#"words text {"fast":false,"indexing":{"fieldnorms":true,"record":"freq","tokenizer":"docent_words_1"},"stored":false}"#,
            ]
        );
        let numbers = [
            Language::Croatian,
            Language::English,
            Language::Undetermined,
        ]
        .map(Languages::stored);
        assert_eq!(numbers, [1, 2, 0]);
    }
}
