//! Chats and their messages.
//!
//! A message changes while it is streaming and never again (citations point at what was shown), but for the
//! text of documents that the user removes.

use std::collections::HashSet;

use docent_domain::{
    Answer, Chat, ChatId, DocumentId, Message, MessageId, MessageStatus, Role, Timestamp,
    Visibility, WorkspaceScope,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::workspaces;
use crate::connection::WriteTx;
use crate::row::{self, blob, word};
use crate::{Entity, Error, Result, Store};

const CHAT: &str = "workspace_id, id, owner, title, visibility, pinned, created_at, updated_at";
const MESSAGE: &str = "id, chat_id, role, content, status, answer, created_at";

/// Handle on the chats.
#[derive(Clone, Copy, Debug)]
pub struct Chats<'a> {
    store: &'a Store,
}

/// A message about to be added.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    pub role: Role,
    pub content: String,
    pub status: MessageStatus,
    pub answer: Option<Answer>,
}

impl<'a> Chats<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Creates a private chat of the local user. The title may be empty.
    pub async fn create(
        &self,
        scope: &WorkspaceScope,
        title: &str,
        now: Timestamp,
    ) -> Result<Chat> {
        let mut tx = self.store.write().await?;
        workspaces::require_in_tx(&mut tx, scope).await?;
        let row = sqlx::query(&format!(
            "INSERT INTO chats
                 (workspace_id, id, owner, title, visibility, pinned, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6) RETURNING {CHAT}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(ChatId::generate()))
        .bind(blob(self.store.local_user()))
        .bind(title)
        .bind(word(Visibility::Private))
        .bind(now.0)
        .fetch_one(tx.connection())
        .await?;
        let chat = chat(&row)?;
        tx.commit().await?;
        Ok(chat)
    }

    /// Pinned ones first, then by last use.
    pub async fn list(&self, scope: &WorkspaceScope) -> Result<Vec<Chat>> {
        sqlx::query(&format!(
            "SELECT {CHAT} FROM chats WHERE workspace_id = ?1
             ORDER BY pinned DESC, updated_at DESC, id DESC"
        ))
        .bind(blob(scope.workspace()))
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(chat)
        .collect()
    }

    pub async fn get(&self, scope: &WorkspaceScope, id: ChatId) -> Result<Chat> {
        let row = sqlx::query(&format!(
            "SELECT {CHAT} FROM chats WHERE workspace_id = ?1 AND id = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Chat))?;
        chat(&row)
    }

    pub async fn rename(
        &self,
        scope: &WorkspaceScope,
        id: ChatId,
        title: &str,
        now: Timestamp,
    ) -> Result<Chat> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE chats SET title = ?3, updated_at = ?4 WHERE workspace_id = ?1 AND id = ?2
             RETURNING {CHAT}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(title)
        .bind(now.0)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Chat))?;
        let chat = chat(&row)?;
        tx.commit().await?;
        Ok(chat)
    }

    /// Pinning is not use: the chat keeps its place among the pinned or the others.
    pub async fn set_pinned(
        &self,
        scope: &WorkspaceScope,
        id: ChatId,
        pinned: bool,
    ) -> Result<Chat> {
        let mut tx = self.store.write().await?;
        let row = sqlx::query(&format!(
            "UPDATE chats SET pinned = ?3 WHERE workspace_id = ?1 AND id = ?2 RETURNING {CHAT}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(pinned)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound(Entity::Chat))?;
        let chat = chat(&row)?;
        tx.commit().await?;
        Ok(chat)
    }

    pub async fn delete(&self, scope: &WorkspaceScope, id: ChatId) -> Result<()> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("DELETE FROM chats WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(id))
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound(Entity::Chat));
        }
        tx.commit().await
    }

    /// Adds messages to the end of a chat, all or none: a question and its coming answer belong
    /// together.
    pub async fn add_messages(
        &self,
        scope: &WorkspaceScope,
        chat: ChatId,
        messages: &[NewMessage],
        now: Timestamp,
    ) -> Result<Vec<Message>> {
        let mut tx = self.store.write().await?;
        touch_in_tx(&mut tx, scope, chat, now).await?;
        let mut added = Vec::with_capacity(messages.len());
        for new in messages {
            let answer = new.answer.as_ref().map(serde_json::to_string).transpose()?;
            let row = sqlx::query(&format!(
                "INSERT INTO messages
                     (workspace_id, chat_id, id, role, content, status, answer, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING {MESSAGE}"
            ))
            .bind(blob(scope.workspace()))
            .bind(blob(chat))
            .bind(blob(MessageId::generate()))
            .bind(word(new.role))
            .bind(&new.content)
            .bind(word(new.status))
            .bind(answer)
            .bind(now.0)
            .fetch_one(tx.connection())
            .await?;
            added.push(message(&row)?);
        }
        tx.commit().await?;
        Ok(added)
    }

    /// Adds one message to the end of a chat.
    pub async fn add_message(
        &self,
        scope: &WorkspaceScope,
        chat: ChatId,
        message: NewMessage,
        now: Timestamp,
    ) -> Result<Message> {
        let added = self.add_messages(scope, chat, &[message], now).await?;
        added
            .into_iter()
            .next()
            .ok_or(Error::NotFound(Entity::Message))
    }

    /// Writes the text so far, or the end, of a streaming message. What was removed while the answer
    /// was being made is cited without its text.
    pub async fn update_message(
        &self,
        scope: &WorkspaceScope,
        id: MessageId,
        content: &str,
        status: MessageStatus,
        answer: Option<&Answer>,
        now: Timestamp,
    ) -> Result<Message> {
        let mut tx = self.store.write().await?;
        let answer = match answer {
            Some(answer) => Some(still_citable_in_tx(&mut tx, scope, answer.clone()).await?),
            None => None,
        };
        let answer = answer.as_ref().map(serde_json::to_string).transpose()?;
        let known =
            sqlx::query("SELECT chat_id, status FROM messages WHERE workspace_id = ?1 AND id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(id))
                .fetch_optional(tx.connection())
                .await?
                .ok_or(Error::NotFound(Entity::Message))?;
        if row::from_word::<MessageStatus>(&known, "status")? != MessageStatus::Streaming {
            return Err(Error::MessageSettled);
        }
        touch_in_tx(&mut tx, scope, row::id(&known, "chat_id")?, now).await?;
        let row = sqlx::query(&format!(
            "UPDATE messages SET content = ?3, status = ?4, answer = ?5
             WHERE workspace_id = ?1 AND id = ?2 RETURNING {MESSAGE}"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .bind(content)
        .bind(word(status))
        .bind(answer)
        .fetch_one(tx.connection())
        .await?;
        let message = message(&row)?;
        tx.commit().await?;
        Ok(message)
    }

    pub async fn get_message(&self, scope: &WorkspaceScope, id: MessageId) -> Result<Message> {
        let row = sqlx::query(&format!(
            "SELECT {MESSAGE} FROM messages WHERE workspace_id = ?1 AND id = ?2"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(id))
        .fetch_optional(self.store.reader())
        .await?
        .ok_or(Error::NotFound(Entity::Message))?;
        message(&row)
    }

    /// Every message of a chat, oldest first.
    pub async fn messages(&self, scope: &WorkspaceScope, chat: ChatId) -> Result<Vec<Message>> {
        self.get(scope, chat).await?;
        self.recent_messages(scope, chat, u32::MAX).await
    }

    /// The last `limit` messages of a chat, oldest first: the turns that a follow-up refers to.
    pub async fn recent_messages(
        &self,
        scope: &WorkspaceScope,
        chat: ChatId,
        limit: u32,
    ) -> Result<Vec<Message>> {
        let mut messages = sqlx::query(&format!(
            "SELECT {MESSAGE} FROM messages WHERE workspace_id = ?1 AND chat_id = ?2
             ORDER BY seq DESC LIMIT ?3"
        ))
        .bind(blob(scope.workspace()))
        .bind(blob(chat))
        .bind(limit)
        .fetch_all(self.store.reader())
        .await?
        .iter()
        .map(message)
        .collect::<Result<Vec<_>>>()?;
        messages.reverse();
        Ok(messages)
    }
}

/// An answer without the text of documents that are not there (any more).
async fn still_citable_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    mut answer: Answer,
) -> Result<Answer> {
    let cited: HashSet<DocumentId> = answer
        .citations
        .iter()
        .chain(&answer.nearest)
        .map(|citation| citation.document_id)
        .collect();
    let mut gone = HashSet::new();
    for document in cited {
        let there = sqlx::query("SELECT 1 FROM documents WHERE workspace_id = ?1 AND id = ?2")
            .bind(blob(scope.workspace()))
            .bind(blob(document))
            .fetch_optional(tx.connection())
            .await?;
        if there.is_none() {
            gone.insert(document);
        }
    }
    forget_documents(&mut answer, &gone);
    Ok(answer)
}

/// Whether the answer cites any of them.
fn forget_documents(answer: &mut Answer, documents: &HashSet<DocumentId>) -> bool {
    let mut cites = false;
    for citation in answer.citations.iter_mut().chain(&mut answer.nearest) {
        if documents.contains(&citation.document_id) {
            citation.forget_text();
            cites = true;
        }
    }
    cites
}

/// Takes the text of removed documents out of what answers cite. The answers' own text stays.
pub(crate) async fn forget_documents_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    documents: &HashSet<DocumentId>,
) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, answer FROM messages WHERE workspace_id = ?1 AND answer IS NOT NULL",
    )
    .bind(blob(scope.workspace()))
    .fetch_all(tx.connection())
    .await?;
    for row in &rows {
        let mut answer: Answer = row::from_json(row, "answer")?;
        if forget_documents(&mut answer, documents) {
            sqlx::query("UPDATE messages SET answer = ?3 WHERE workspace_id = ?1 AND id = ?2")
                .bind(blob(scope.workspace()))
                .bind(blob(row::id::<MessageId>(row, "id")?))
                .bind(serde_json::to_string(&answer)?)
                .execute(tx.connection())
                .await?;
        }
    }
    Ok(())
}

/// At start every streaming message was being written by a process that is gone.
pub(crate) async fn interrupt_streaming_in_tx(tx: &mut WriteTx) -> Result<u64> {
    Ok(
        sqlx::query("UPDATE messages SET status = 'interrupted' WHERE status = 'streaming'")
            .execute(tx.connection())
            .await?
            .rows_affected(),
    )
}

async fn touch_in_tx(
    tx: &mut WriteTx,
    scope: &WorkspaceScope,
    chat: ChatId,
    now: Timestamp,
) -> Result<()> {
    let done = sqlx::query("UPDATE chats SET updated_at = ?3 WHERE workspace_id = ?1 AND id = ?2")
        .bind(blob(scope.workspace()))
        .bind(blob(chat))
        .bind(now.0)
        .execute(tx.connection())
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::NotFound(Entity::Chat));
    }
    Ok(())
}

fn chat(row: &SqliteRow) -> Result<Chat> {
    Ok(Chat {
        id: row::id(row, "id")?,
        workspace_id: row::id(row, "workspace_id")?,
        owner: row::id(row, "owner")?,
        title: row.try_get("title")?,
        visibility: row::from_word(row, "visibility")?,
        pinned: row.try_get("pinned")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

fn message(row: &SqliteRow) -> Result<Message> {
    let answer = match row.try_get::<Option<&str>, _>("answer")? {
        None => None,
        Some(_) => Some(row::from_json(row, "answer")?),
    };
    Ok(Message {
        id: row::id(row, "id")?,
        chat_id: row::id(row, "chat_id")?,
        role: row::from_word(row, "role")?,
        content: row.try_get("content")?,
        status: row::from_word(row, "status")?,
        answer,
        created_at: row::time(row, "created_at")?,
    })
}
