//! Generations of vectors: which embedder's answer, which are being made, and which answered before.
//!
//! A change of embedder is a row here from its start to its end, so it survives the process. Every
//! step is one transaction: the embedder, its generation and the one kept to go back to change
//! together or not at all. The vectors themselves are the index's.

use docent_domain::{Timestamp, WorkspaceScope, WorkspaceStatus};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::connection::WriteTx;
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store};

/// Handle on the generations.
#[derive(Clone, Copy, Debug)]
pub struct Generations<'a> {
    store: &'a Store,
}

/// A set of vectors, and what makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub number: u32,
    /// A catalog id.
    pub embedder: String,
}

/// The generation that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextGeneration {
    pub generation: Generation,
    pub state: ChangeState,
    /// What it waits for, or why it stopped.
    pub reason: Option<String>,
    pub started_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    Running,
    /// The user stopped it for a while.
    Paused,
    /// It cannot go on by itself.
    Failed,
}

/// The generation that answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousGeneration {
    pub generation: Generation,
    pub replaced_at: Timestamp,
}

/// Every generation of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceGenerations {
    /// The one that answers.
    pub live: Generation,
    pub next: Option<NextGeneration>,
    pub previous: Option<PreviousGeneration>,
}

impl WorkspaceGenerations {
    /// Their numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        let next = self.next.as_ref().map(|next| next.generation.number);
        let previous = self.previous.as_ref().map(|kept| kept.generation.number);
        [Some(self.live.number), next, previous]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl<'a> Generations<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    pub async fn get(&self, scope: &WorkspaceScope) -> Result<WorkspaceGenerations> {
        // One statement, so that what it returns was true at one time.
        let rows = sqlx::query(
            "SELECT 'live' AS role, generation, embedder, NULL AS state, NULL AS reason,
                    updated_at AS since
             FROM workspaces WHERE id = ?1
             UNION ALL
             SELECT role, generation, embedder, state, reason, since
             FROM generations WHERE workspace_id = ?1",
        )
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?;
        gathered(&rows)
    }

    /// Those active workspaces whose next generation is being made.
    pub async fn running(&self) -> Result<Vec<WorkspaceScope>> {
        sqlx::query(
            "SELECT g.workspace_id FROM generations g JOIN workspaces w ON w.id = g.workspace_id
             WHERE g.role = 'next' AND g.state = ?1 AND w.status = ?2 AND w.paused = 0 ORDER BY g.since",
        )
        .bind(word(ChangeState::Running))
        .bind(word(WorkspaceStatus::Active))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| Ok(WorkspaceScope::new(row::id(row, "workspace_id")?)))
        .collect()
    }

    /// Every workspace's generation that was replaced before `replaced_before`.
    pub async fn outdated(
        &self,
        replaced_before: Timestamp,
    ) -> Result<Vec<(WorkspaceScope, PreviousGeneration)>> {
        sqlx::query(
            "SELECT * FROM generations WHERE role = 'previous' AND since < ?1 ORDER BY since",
        )
        .bind(replaced_before.0)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(|row| {
            Ok((
                WorkspaceScope::new(row::id(row, "workspace_id")?),
                previous(row)?,
            ))
        })
        .collect()
    }

    /// Begins a generation for another embedder. Refused while one is being made.
    pub async fn begin(
        &self,
        scope: &WorkspaceScope,
        embedder: &str,
        now: Timestamp,
    ) -> Result<Generation> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(
            "UPDATE workspaces SET last_generation = last_generation + 1 WHERE id = ?1
             RETURNING last_generation",
        )
        .bind(blob(scope.workspace()))
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Workspace))?;
        let generation = Generation {
            number: row::number(&row, "last_generation")?,
            embedder: embedder.to_owned(),
        };
        sqlx::query(
            "INSERT INTO generations (workspace_id, role, generation, embedder, state, since)
             VALUES (?1, 'next', ?2, ?3, ?4, ?5)",
        )
        .bind(blob(scope.workspace()))
        .bind(generation.number)
        .bind(embedder)
        .bind(word(ChangeState::Running))
        .bind(now.0)
        .execute(tx.connection())
        .await
        .map_err(|error| {
            let error = Error::from(error);
            if error.is_unique_violation() {
                Error::ChangeUnderWay
            } else {
                error
            }
        })?;
        tx.commit().await?;
        Ok(generation)
    }

    /// Notes how the making of the next generation stands.
    pub async fn set_state(
        &self,
        scope: &WorkspaceScope,
        generation: u32,
        state: ChangeState,
        reason: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query(
            "UPDATE generations SET state = ?3, reason = ?4
             WHERE workspace_id = ?1 AND role = 'next' AND generation = ?2",
        )
        .bind(blob(scope.workspace()))
        .bind(generation)
        .bind(word(state))
        .bind(reason)
        .execute(tx.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::EmbedderChange));
        }
        tx.commit().await
    }

    /// Gives up the generation that is being made, and says which it was.
    pub async fn cancel(&self, scope: &WorkspaceScope) -> Result<Generation> {
        let mut tx = self.store.write().await?;
        let cancelled = take_in_tx(&mut tx, scope, "next").await?;
        tx.commit().await?;
        cancelled.ok_or(Error::NotFound(Entity::EmbedderChange))
    }

    /// Has the next generation answer. The one that answered is kept as the previous one; the one
    /// that was kept before, if any, is returned and known no more.
    pub async fn cut_over(
        &self,
        scope: &WorkspaceScope,
        generation: u32,
        now: Timestamp,
    ) -> Result<Option<Generation>> {
        let mut tx = self.store.write().await?;
        let dropped = take_in_tx(&mut tx, scope, "previous").await?;
        let next = take_in_tx(&mut tx, scope, "next")
            .await?
            .filter(|next| next.number == generation)
            .ok_or(Error::NotFound(Entity::EmbedderChange))?;
        replace_in_tx(&mut tx, scope, &next, now).await?;
        tx.commit().await?;
        Ok(dropped)
    }

    /// Has the previous generation answer again, and keeps the one that answered as the previous one.
    pub async fn roll_back(&self, scope: &WorkspaceScope, now: Timestamp) -> Result<Generation> {
        let mut tx = self.store.write().await?;
        let previous = take_in_tx(&mut tx, scope, "previous")
            .await?
            .ok_or(Error::NotFound(Entity::PreviousVectors))?;
        replace_in_tx(&mut tx, scope, &previous, now).await?;
        tx.commit().await?;
        Ok(previous)
    }

    /// Forgets the previous generation, and says which it was.
    pub async fn discard(&self, scope: &WorkspaceScope) -> Result<Generation> {
        let mut tx = self.store.write().await?;
        let discarded = take_in_tx(&mut tx, scope, "previous").await?;
        tx.commit().await?;
        discarded.ok_or(Error::NotFound(Entity::PreviousVectors))
    }
}

/// Removes the row of a role, and says which generation had it.
async fn take_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    role: &str,
) -> Result<Option<Generation>> {
    sqlx::query("DELETE FROM generations WHERE workspace_id = ?1 AND role = ?2 RETURNING *")
        .bind(blob(scope.workspace()))
        .bind(role)
        .fetch_optional(tx.connection())
        .await?
        .as_ref()
        .map(generation)
        .transpose()
}

/// Makes a generation the one that answers, and the one that did the previous one.
async fn replace_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    by: &Generation,
    now: Timestamp,
) -> Result<()> {
    let kept = sqlx::query(
        "INSERT INTO generations (workspace_id, role, generation, embedder, since)
         SELECT id, 'previous', generation, embedder, ?2 FROM workspaces WHERE id = ?1",
    )
    .bind(blob(scope.workspace()))
    .bind(now.0)
    .execute(tx.connection())
    .await?;
    if kept.rows_affected() == 0 {
        return Err(Error::NotFound(Entity::Workspace));
    }
    sqlx::query(
        "UPDATE workspaces SET generation = ?2, embedder = ?3, updated_at = ?4 WHERE id = ?1",
    )
    .bind(blob(scope.workspace()))
    .bind(by.number)
    .bind(&by.embedder)
    .bind(now.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn gathered(rows: &[SqliteRow]) -> Result<WorkspaceGenerations> {
    let (mut live, mut next, mut kept) = (None, None, None);
    for row in rows {
        match row.try_get("role")? {
            "live" => live = Some(generation(row)?),
            "next" => {
                next = Some(NextGeneration {
                    generation: generation(row)?,
                    state: row::from_word(row, "state")?,
                    reason: row.try_get("reason")?,
                    started_at: row::time(row, "since")?,
                });
            }
            _ => kept = Some(previous(row)?),
        }
    }
    Ok(WorkspaceGenerations {
        live: live.ok_or(Error::NotFound(Entity::Workspace))?,
        next,
        previous: kept,
    })
}

fn generation(row: &SqliteRow) -> Result<Generation> {
    Ok(Generation {
        number: row::number(row, "generation")?,
        embedder: row.try_get("embedder")?,
    })
}

fn previous(row: &SqliteRow) -> Result<PreviousGeneration> {
    Ok(PreviousGeneration {
        generation: generation(row)?,
        replaced_at: row::time(row, "since")?,
    })
}
