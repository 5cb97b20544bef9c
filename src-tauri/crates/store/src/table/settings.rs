//! Settings of this installation: keys with JSON values.

use docent_domain::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, Store, row};

/// Handle on the settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    store: &'a Store,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        sqlx::query("SELECT value FROM settings WHERE key = ?1")
            .bind(key)
            .fetch_optional(self.store.reader())
            .await?
            .as_ref()
            .map(|row| row::from_json(row, "value"))
            .transpose()
    }

    pub async fn set<T: Serialize + Sync>(
        &self,
        key: &str,
        value: &T,
        now: Timestamp,
    ) -> Result<()> {
        let value = serde_json::to_string(value)?;
        let mut tx = self.store.write().await?;
        sqlx::query(
            "INSERT INTO settings (key, value, updated_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value,
                 updated_at = excluded.updated_at",
        )
        .bind(key)
        .bind(value)
        .bind(now.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Returns whether there was a value.
    pub async fn remove(&self, key: &str) -> Result<bool> {
        let mut tx = self.store.write().await?;
        let done = sqlx::query("DELETE FROM settings WHERE key = ?1")
            .bind(key)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
