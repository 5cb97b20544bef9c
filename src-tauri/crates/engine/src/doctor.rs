//! Whether everything that says the same says the same: rows, chunks, words, vectors and blobs.

use std::sync::Arc;

use docent_domain::WorkspaceScope;
use docent_index::{Generation, WorkspaceIndex};
use docent_store::Finding;

use crate::engine::Engine;
use crate::error::Result;
use crate::indexes::{Keys, blocking};
use crate::types::{DoctorFinding, DoctorReport};

impl Engine {
    /// Checks the database and every workspace's indexes and blobs against it. With `repair`,
    /// what is derived is made to agree with the rows; rows themselves are never changed. Without a
    /// workspace's embedder its vectors are believed to be that embedder's.
    pub async fn doctor(self: &Arc<Self>, repair: bool) -> Result<DoctorReport> {
        let mut report = DoctorReport::default();
        if let Err(error) = self.flush_words().await {
            // What is missing there is found below.
            tracing::warn!(%error, "an index is not up to date");
        }
        let checked = self.store().check().await?;
        report
            .findings
            .extend(checked.findings.iter().map(|finding| DoctorFinding {
                workspace: None,
                problem: describe(finding),
                repaired: None,
            }));
        for workspace in self.store().workspaces().list().await? {
            let scope = WorkspaceScope::new(workspace.id);
            let counts = self.counts(&scope).await?;
            report.workspaces += 1;
            report.documents += counts.queued
                + counts.reading
                + counts.words
                + counts.ready
                + counts.failed
                + counts.skipped;
            report.chunks += counts.chunks;
            let name = workspace.name.to_string();
            let index = self.index_to_check(&scope, &name, &mut report).await?;
            self.generation_problems(&scope, &index, &name, repair, &mut report)
                .await?;
            if repair {
                self.reader().wipe_soon(scope.workspace());
            }
            let problems = self.index_problems(&scope, &index).await?;
            if problems.is_empty() {
                continue;
            }
            let repaired = if repair {
                let _committing = self.reader().committing().await;
                // Another generation of vectors may answer by now.
                let index = self.indexes().opened(&scope).await.unwrap_or(index);
                let done = self.reconcile(&scope, &index).await?;
                Some(format!(
                    "{} chunks' words added, {} removed; {} vectors removed, {} queued to be made again",
                    done.words_added, done.words_removed, done.vectors_removed, done.vectors_lost
                ))
            } else {
                None
            };
            report
                .findings
                .extend(problems.into_iter().map(|problem| DoctorFinding {
                    workspace: Some(name.clone()),
                    problem,
                    repaired: repaired.clone(),
                }));
        }
        self.blob_problems(repair, &mut report).await?;
        if repair {
            self.wipe().await;
        }
        for workspace in self.store().workspaces().list().await? {
            let scope = WorkspaceScope::new(workspace.id);
            let Some(index) = self.indexes().opened(&scope).await else {
                continue;
            };
            let _changing = self.changes().interrupt().await;
            if index.holds_removed() || self.is_to_be_swept(&scope, &index).await? {
                report.to_wipe.push(workspace.name.to_string());
            }
        }
        Ok(report)
    }

    /// The workspace's index; what follows from its embedder's absence is noted.
    async fn index_to_check(
        &self,
        scope: &WorkspaceScope,
        workspace: &str,
        report: &mut DoctorReport,
    ) -> Result<Arc<WorkspaceIndex>> {
        let missing = match self.open_index(scope).await {
            Ok(open) => return Ok(open.index),
            Err(error) => error,
        };
        let index = self.index_as_it_is(scope).await?;
        report.unchecked.push(if index.vector_spec().is_unknown() {
            format!("{workspace}: its vectors ({missing})")
        } else {
            format!(
                "{workspace}: whether its vectors, which say that they are of {}, are of its \
                 embedder ({missing})",
                index.vector_spec().fingerprint
            )
        });
        Ok(index)
    }

    async fn index_problems(
        &self,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
    ) -> Result<Vec<String>> {
        let Keys {
            words,
            vectors,
            wanted,
            waiting,
        } = self.keys(scope, index).await?;
        let embedded = &wanted - &waiting;
        let differences = [
            (
                (&wanted - &words).len(),
                "chunks are missing from the word index",
            ),
            (
                (&words - &wanted).len(),
                "chunks in the word index belong to no document",
            ),
            (
                (&embedded - &vectors).len(),
                "vectors are missing although their chunks count as embedded",
            ),
            ((&vectors - &wanted).len(), "vectors belong to no document"),
        ];
        Ok(differences
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect())
    }

    /// Looks at the vectors that are kept beside those that answer.
    async fn generation_problems(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        index: &Arc<WorkspaceIndex>,
        workspace: &str,
        repair: bool,
        report: &mut DoctorReport,
    ) -> Result<()> {
        let _changing = self.changes().interrupt().await;
        let known = self.store().generations().get(scope).await?;
        let Some(kept) = known.previous else {
            return Ok(());
        };
        let (looking, kept) = (Arc::clone(index), Generation(kept.generation.number));
        let is_intact = blocking("looking at vectors", move || {
            Ok(looking.spec_of(kept)?.is_some())
        });
        if is_intact.await? {
            return Ok(());
        }
        if repair {
            let lost = self.store().generations().discard(scope).await?;
            self.delete_vectors(index, Generation(lost.number)).await;
        }
        report.findings.push(DoctorFinding {
            workspace: Some(workspace.to_owned()),
            problem: "the vectors that were kept to go back to are missing or damaged".to_owned(),
            repaired: repair
                .then(|| "forgotten; the embedder can be changed back instead".to_owned()),
        });
        Ok(())
    }

    async fn blob_problems(&self, repair: bool, report: &mut DoctorReport) -> Result<()> {
        let _keeping = self.keeping_blobs().await;
        let used = self.used_blobs().await?;
        let present = self.present_blobs().await?;
        for missing in used.difference(&present) {
            report.findings.push(DoctorFinding {
                workspace: None,
                problem: format!("the uploaded file {} is missing", missing.display()),
                repaired: None,
            });
        }
        for orphan in present.difference(&used) {
            let repaired = if repair {
                tokio::fs::remove_file(orphan)
                    .await
                    .ok()
                    .map(|()| "removed".to_owned())
            } else {
                None
            };
            report.findings.push(DoctorFinding {
                workspace: None,
                problem: format!("{} belongs to no document", orphan.display()),
                repaired,
            });
        }
        Ok(())
    }
}

fn describe(finding: &Finding) -> String {
    match finding {
        Finding::Damaged { message } => format!("the database is damaged: {message}"),
        Finding::BrokenReference { table, parent } => {
            format!("a row of {table} refers to one of {parent} that is not there")
        }
        Finding::ChunkOrdinals { document, .. } => {
            format!("the chunks of document {document} are not numbered in order")
        }
        Finding::ChunkCounts {
            document,
            chunks,
            embedded,
            ..
        } => format!(
            "document {document} counts its chunks wrongly: there are {chunks}, {embedded} of them embedded"
        ),
        Finding::ReadyButUnembedded {
            document, missing, ..
        } => {
            format!("document {document} counts as ready although {missing} chunks have no vector")
        }
        Finding::NoJob {
            document, status, ..
        } => {
            format!(
                "document {document} is {} and no job works on it",
                status.as_str()
            )
        }
        Finding::NoText { document, .. } => format!("the text of document {document} is missing"),
        Finding::KeyReusable { key, .. } => format!("the chunk key {key} would be given out again"),
    }
}
