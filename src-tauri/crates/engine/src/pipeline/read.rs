//! A file is read: looked at, extracted in a worker, cut into chunks, and put in place of what it
//! held before, in one transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use docent_domain::{
    ChunkKey, Document, DocumentId, Format, Origin, Problem, Progress, Stage, Timestamp,
    WorkspaceScope,
};
use docent_inference::{Embedder, TokenCounter};
use docent_ingest::{
    Bounds, ChunkOptions, Detection, ExtractError, Extracted, FileStamp, Recogniser,
    RecogniserMissing, Refusal, Tokens, Warning,
};
use docent_store::{Claim, DocumentContent};
use tokio_util::sync::CancellationToken;

use super::rest::Rest;
use super::{Ran, stopped, unless};
use crate::documents::Layout;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::indexes::{OpenIndex, blocking};
use crate::retrieve::language;
use crate::types::Topic;

/// Key of the setting that names the recogniser which all scanned documents have been queued for.
const RECOGNISER_SETTING: &str = "recogniser";

/// The reason of a document that waits for recognition.
const TO_BE_RECOGNISED: &str = "Scanned: its pages are pictures. Their text is recognised when all other files have been read.";

/// Part of an embedder's input kept free for the header in front of a chunk.
const HEADER_TOKENS: usize = 64;

/// Files from this size on take long enough to read for their stage to be worth a write.
const SLOW_FILE_BYTES: u64 = 1 << 20;

impl Engine {
    /// Reads a document, replaces its content in one transaction, and makes its words searchable.
    pub(super) async fn read(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let document = self.store().documents().get(scope, id).await?;
        let open = self.open_index(scope).await?;
        let tokens = unless(cancel, self.model_set().token_counter(&open.embedder_id)).await?;
        let path = self.file_of(scope, &document).await?;
        let rest = Rest::of(self.config());
        // An upload is whole when it is there.
        if document.origin != Origin::Upload {
            let looked = {
                let path = path.clone();
                blocking("looking at a file", move || Ok(FileStamp::of(&path))).await?
            };
            // Why it cannot be looked at is found out below.
            if let Ok(stamp) = looked
                && let Some(wait) = self.reader().wait_for_rest(id, stamp, &rest)
            {
                let reason = "The file is being written. It is read when it has come to rest.";
                return Ok(Ran::Later(reason.to_owned(), wait));
            }
        }
        let ran = self
            .read_at_rest(scope, claim, &document, path, open, tokens, cancel)
            .await?;
        if let Ran::Recorded = ran {
            self.reader().note_read(id);
        }
        Ok(ran)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "it is the second half of a whole"
    )]
    async fn read_at_rest(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        document: &Document,
        path: PathBuf,
        open: OpenIndex,
        tokens: Arc<dyn TokenCounter>,
        cancel: &CancellationToken,
    ) -> Result<Ran> {
        let begun = Instant::now();
        let id = document.id;
        let inspected = {
            let path = path.clone();
            let inspected = blocking("looking at a file", move || Ok(inspect(&path)));
            unless(cancel, inspected).await?
        };
        let (format, hash, stamp) = match inspected {
            Ok(Inspected::Readable(format, hash, stamp)) => (format, hash, stamp),
            Ok(Inspected::Unsupported(reason)) => {
                return self
                    .skip(scope, claim, id, &reason, Problem::Unsupported)
                    .await;
            }
            Err(refusal) => return self.refuse(scope, claim, document, &refusal).await,
        };
        let is_second = self
            .store()
            .documents()
            .is_to_be_recognised(scope, id)
            .await?;
        let recogniser = self.recogniser().await?;
        // Under a name of another format, the same bytes may be another text.
        let known =
            document.content_hash.as_ref() == Some(&hash) && document.format == Some(format);
        if known && !(is_second && recogniser.is_some()) {
            self.store()
                .documents()
                .mark_unchanged(scope, id, claim, Timestamp::now())
                .await?;
            return Ok(Ran::Recorded);
        }
        if document.size_bytes >= SLOW_FILE_BYTES {
            self.progress(scope, claim, Stage::Extracting, Progress::default())
                .await?;
        }
        let told = |progress| {
            let reader = self.reader();
            reader.note_live(claim, Stage::Extracting, progress);
            if reader.tells_progress() {
                self.changed(Topic::Jobs, Some(scope.workspace()));
            }
        };
        // Words first: the pages that have a text are searchable before any picture is looked at.
        let later = !is_second && recogniser.is_some();
        let extractor = &self.reader().extractor;
        let extracted = if let Some(recogniser) = recogniser.filter(|_| is_second) {
            extractor
                .recognise(&path, format, recogniser, cancel.clone(), told)
                .await
        } else {
            extractor.extract(&path, format, cancel.clone(), told).await
        };
        let extracted = match extracted {
            Ok(extracted) => extracted,
            Err(ExtractError::Refused(Refusal::Scanned { .. })) if later => {
                let documents = self.store().documents();
                let replaced = documents
                    .skip_until_recognised(scope, id, claim, TO_BE_RECOGNISED, Timestamp::now())
                    .await?;
                self.forget_words(scope, &replaced.removed).await;
                return Ok(Ran::Recorded);
            }
            Err(ExtractError::Refused(refusal)) => {
                return self.refuse(scope, claim, document, &refusal).await;
            }
            // Nothing is the matter with the document.
            Err(error @ ExtractError::Cancelled) => return Err(error.into()),
            Err(error) => {
                // What was read of these very bytes without recognition stays.
                if !known
                    && matches!(
                        error,
                        ExtractError::Crashed { .. }
                            | ExtractError::TooSlow { .. }
                            | ExtractError::BadAnswer
                    )
                {
                    self.forget_content(scope, id, claim).await?;
                }
                let documents = self.store().documents();
                documents
                    .note_problem(scope, id, claim, error.problem())
                    .await?;
                return Err(error.into());
            }
        };
        // The text must be that of the bytes under the hash, or the next look at the file would
        // take a mix of two versions for the newer one.
        let after = {
            let path = path.clone();
            blocking("looking at a file", move || {
                Ok(FileStamp::of(&path).map_err(Refusal::from))
            })
            .await?
        };
        match after {
            Ok(after) if after == stamp => {}
            Ok(_) => {
                return self.refuse(scope, claim, document, &Refusal::Changed).await;
            }
            Err(refusal) => return self.refuse(scope, claim, document, &refusal).await,
        }
        let options = ChunkOptions {
            max_tokens: chunk_tokens(self.config().chunk_tokens, open.embedder.as_ref()),
            overlap_tokens: self.config().chunk_overlap_tokens,
            ..ChunkOptions::default()
        };
        let title = own_title(&extracted);
        self.reader()
            .note_live(claim, Stage::Chunking, Progress::default());
        let content = blocking("cutting a document into chunks", move || {
            content_of(extracted, title, format, hash, &options, tokens.as_ref())
        });
        let mut content = unless(cancel, content).await?;
        content.recognise &= later;
        let replaced = self
            .store()
            .documents()
            .replace_content(scope, id, claim, &content, Timestamp::now())
            .await?;
        if !replaced.removed.is_empty() {
            self.reader().stop_embedding(id).await;
        }
        self.reader()
            .pace()
            .note_read(stamp.size_bytes, replaced.added.len(), begun.elapsed());
        self.reader()
            .note_live(claim, Stage::IndexingWords, Progress::default());
        self.queue_words(scope, replaced.added, &replaced.removed);
        self.flush_words_if_due(scope).await;
        Ok(Ran::Recorded)
    }

    /// Records that a document was not read, and why. What it held before leaves the search when
    /// the file no longer says it, but not when the file cannot be looked at.
    async fn refuse(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        claim: Claim,
        document: &Document,
        refusal: &Refusal,
    ) -> Result<Ran> {
        if matches!(refusal, Refusal::Cancelled) {
            return Err(stopped());
        }
        let reason = refusal.to_string();
        if matches!(refusal, Refusal::Changed)
            && let Ok(path) = self.file_of(scope, document).await
            && let Ok(stamp) = FileStamp::of(&path)
            && let Some(wait) =
                self.reader()
                    .wait_after_change(document.id, stamp, &Rest::of(self.config()))
        {
            return Ok(Ran::Later(reason, wait));
        }
        if matches!(refusal, Refusal::Vanished | Refusal::PermissionDenied) {
            // A scan that finds it there, or readable, has it read again.
            self.store()
                .documents()
                .forget_stamp(scope, document.id, claim)
                .await?;
        }
        if refusal.is_skip() {
            return self
                .skip(scope, claim, document.id, &reason, refusal.problem())
                .await;
        }
        if !refusal.is_retryable()
            && !matches!(refusal, Refusal::Vanished | Refusal::PermissionDenied)
        {
            self.forget_content(scope, document.id, claim).await?;
        }
        let documents = self.store().documents();
        documents
            .note_problem(scope, document.id, claim, refusal.problem())
            .await?;
        let now = Timestamp::now();
        self.store()
            .jobs()
            .fail(scope, claim, &reason, refusal.is_retryable(), now)
            .await?;
        Ok(Ran::Recorded)
    }

    /// Takes what a document held before out of the search: the file holds something else now that
    /// cannot be read.
    async fn forget_content(
        &self,
        scope: &WorkspaceScope,
        id: DocumentId,
        claim: Claim,
    ) -> Result<()> {
        let documents = self.store().documents();
        let removed = documents.forget_content(scope, id, claim).await?;
        self.forget_words(scope, &removed).await;
        Ok(())
    }

    /// Records that a file is left out on purpose.
    async fn skip(
        &self,
        scope: &WorkspaceScope,
        claim: Claim,
        id: DocumentId,
        reason: &str,
        problem: Problem,
    ) -> Result<Ran> {
        let replaced = self
            .store()
            .documents()
            .skip(scope, id, claim, reason, problem, Timestamp::now())
            .await?;
        self.forget_words(scope, &replaced.removed).await;
        Ok(Ran::Recorded)
    }

    /// Takes chunks that have no rows any more out of the search.
    async fn forget_words(&self, scope: &WorkspaceScope, removed: &[ChunkKey]) {
        if !removed.is_empty() {
            self.queue_words(scope, Vec::new(), removed);
            self.wipe_removed_rows().await;
        }
    }

    /// What recognises the text of pictures here; `None` when there is nothing, or it is turned off.
    pub(super) async fn recogniser(&self) -> Result<Option<Recogniser>> {
        let found = self.recogniser_found().await?;
        Ok(found.and_then(std::result::Result::ok))
    }

    /// Looks for a recogniser the first time that it is asked. `None` when it is turned off.
    pub(crate) async fn recogniser_found(
        &self,
    ) -> Result<Option<std::result::Result<Recogniser, RecogniserMissing>>> {
        let wanted = self.config().recognise_text;
        self.reader()
            .recogniser
            .get_or_try_init(async || {
                if !wanted {
                    return Ok(None);
                }
                let found = blocking("looking for text recognition", || Ok(Recogniser::find()));
                found.await.map(Some)
            })
            .await
            .cloned()
    }

    /// Queues the scanned documents of the time before this recogniser was there, once.
    pub(super) async fn recognise_scanned(self: Arc<Self>) {
        let queued = async {
            let Some(recogniser) = self.recogniser().await? else {
                return Ok(0);
            };
            let name = format!("{} {}", recogniser.version, recogniser.languages.join("+"));
            let settings = self.store().settings();
            if settings.get::<String>(RECOGNISER_SETTING).await?.as_ref() == Some(&name) {
                return Ok(0);
            }
            let now = Timestamp::now();
            let documents = self.store().documents();
            let queued = documents.recognise_scanned(TO_BE_RECOGNISED, now).await?;
            settings.set(RECOGNISER_SETTING, &name, now).await?;
            Ok::<_, Error>(queued)
        };
        match queued.await {
            Ok(0) => {}
            Ok(documents) => {
                tracing::info!(documents, "scanned documents are recognised");
                self.changed(Topic::Documents, None);
                self.ring();
            }
            Err(error) => tracing::warn!(%error, "scanned documents are not recognised yet"),
        }
    }
}

/// What a look at a file says.
enum Inspected {
    /// With the stamp of the file as it was hashed.
    Readable(Format, docent_domain::ContentHash, FileStamp),
    Unsupported(String),
}

/// Blocking.
fn inspect(path: &Path) -> Result<Inspected, Refusal> {
    let inspection = docent_ingest::inspect(path)?;
    match inspection.detection {
        Detection::Supported(format) => {
            // Before all of it is read for its hash.
            Bounds::default().check_size(format, inspection.stamp.size_bytes)?;
            let (hash, stamp) = docent_ingest::hash_stable(path)?;
            Ok(Inspected::Readable(format, hash, stamp))
        }
        Detection::Unsupported { .. } if inspection.stamp.size_bytes == 0 => Err(Refusal::Empty),
        Detection::Unsupported { reason } => Ok(Inspected::Unsupported(reason)),
    }
}

fn content_of(
    extracted: Extracted,
    title: Option<String>,
    format: Format,
    hash: docent_domain::ContentHash,
    options: &ChunkOptions,
    tokens: &dyn TokenCounter,
) -> Result<DocumentContent> {
    let chunks = docent_ingest::chunk(&extracted, options, &CountedBy(tokens));
    let layout_json = serde_json::to_string(&Layout {
        blocks: extracted.blocks,
    })
    .map_err(|error| Error::internal("writing a document's structure", error))?;
    let warnings: Vec<String> = extracted.warnings.iter().map(ToString::to_string).collect();
    let problems: Vec<Problem> = extracted
        .warnings
        .iter()
        .filter_map(Warning::problem)
        .collect();
    let recognise = problems.contains(&Problem::PartlyScanned);
    Ok(DocumentContent {
        hash,
        language: Some(language::of_document(&extracted.text)),
        title,
        format: Some(format),
        page_count: matches!(format, Format::Pdf | Format::Picture)
            .then_some(extracted.pages.len() as u32),
        text: extracted.text,
        layout_json,
        chunks,
        note: (!warnings.is_empty()).then(|| warnings.join(" ")),
        problem: WORST_FIRST
            .into_iter()
            .find(|problem| problems.contains(problem)),
        recognise,
    })
}

/// What a readable document's warnings may tell of. It is listed under the first of them.
const WORST_FIRST: [Problem; 4] = [
    Problem::Garbled,
    Problem::PartlyScanned,
    Problem::Incomplete,
    Problem::Encoding,
];

/// The tokenizer of the embedder, as the chunker wants it.
struct CountedBy<'a>(&'a dyn TokenCounter);

impl Tokens for CountedBy<'_> {
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
        self.0.token_offsets(text)
    }
}

fn chunk_tokens(wanted: usize, embedder: &dyn Embedder) -> usize {
    wanted.min(embedder.max_tokens().saturating_sub(HEADER_TOKENS))
}

/// The title that a document gives itself, if it does.
fn own_title(extracted: &Extracted) -> Option<String> {
    let title = extracted
        .title
        .as_deref()
        .map(str::trim)
        .filter(|title| !title.is_empty());
    title.map(ToOwned::to_owned)
}
