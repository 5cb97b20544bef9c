//! Chats and their messages.

use docent_domain::{Chat, ChatId, Message, Timestamp, WorkspaceScope};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::types::Topic;

const LONGEST_TITLE_CHARS: usize = 120;

impl Engine {
    /// Pinned ones first, then the most recently used.
    pub async fn chats(&self, scope: &WorkspaceScope) -> Result<Vec<Chat>> {
        Ok(self.store().chats().list(scope).await?)
    }

    pub async fn create_chat(&self, scope: &WorkspaceScope, title: Option<&str>) -> Result<Chat> {
        let title = checked_title(title.unwrap_or_default())?;
        let chat = self
            .store()
            .chats()
            .create(scope, &title, Timestamp::now())
            .await?;
        self.changed(Topic::Chats, Some(scope.workspace()));
        Ok(chat)
    }

    pub async fn chat(&self, scope: &WorkspaceScope, id: ChatId) -> Result<Chat> {
        Ok(self.store().chats().get(scope, id).await?)
    }

    pub async fn update_chat(
        &self,
        scope: &WorkspaceScope,
        id: ChatId,
        title: Option<String>,
        pinned: Option<bool>,
    ) -> Result<Chat> {
        if let Some(title) = title {
            let title = checked_title(&title)?;
            self.store()
                .chats()
                .rename(scope, id, &title, Timestamp::now())
                .await?;
        }
        if let Some(pinned) = pinned {
            self.store().chats().set_pinned(scope, id, pinned).await?;
        }
        self.changed(Topic::Chats, Some(scope.workspace()));
        self.chat(scope, id).await
    }

    pub async fn delete_chat(&self, scope: &WorkspaceScope, id: ChatId) -> Result<()> {
        for message in self.messages(scope, id).await? {
            self.answering().cancel(message.id);
        }
        self.store().chats().delete(scope, id).await?;
        self.expander().forget();
        self.wipe_removed_rows().await;
        self.changed(Topic::Chats, Some(scope.workspace()));
        Ok(())
    }

    pub async fn messages(&self, scope: &WorkspaceScope, chat: ChatId) -> Result<Vec<Message>> {
        self.store().chats().get(scope, chat).await?;
        Ok(self.store().chats().messages(scope, chat).await?)
    }

    /// A chat that was created without a title is called after its first question.
    pub(crate) async fn name_chat(
        &self,
        scope: &WorkspaceScope,
        id: ChatId,
        title: &str,
    ) -> Result<()> {
        if self.chat(scope, id).await?.title.is_empty() {
            self.store()
                .chats()
                .rename(scope, id, title, Timestamp::now())
                .await?;
        }
        Ok(())
    }
}

fn checked_title(title: &str) -> Result<String> {
    let title = title.trim();
    if title.chars().count() > LONGEST_TITLE_CHARS {
        return Err(Error::invalid(format!(
            "a chat's title has at most {LONGEST_TITLE_CHARS} characters"
        )));
    }
    Ok(title.to_owned())
}
