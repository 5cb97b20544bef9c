//! Between rows and domain types: ids as 16 bytes, enums by their serde spelling, boxes packed.

use docent_domain::{
    ChatId, ContentHash, DocumentId, FolderId, JobId, MessageId, PageBox, Timestamp, UserId,
    WorkspaceId,
};
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, DeserializeOwned};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::{Error, Result};

/// An id that is stored as its 16 bytes.
pub(crate) trait Id: Copy {
    fn from_uuid(uuid: Uuid) -> Self;
    fn uuid(&self) -> &Uuid;
}

macro_rules! stored_ids {
    ($($name:ident),+) => {$(
        impl Id for $name {
            fn from_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn uuid(&self) -> &Uuid {
                self.as_uuid()
            }
        }
    )+};
}

stored_ids!(
    ChatId,
    DocumentId,
    FolderId,
    JobId,
    MessageId,
    UserId,
    WorkspaceId
);

pub(crate) fn blob(id: impl Id) -> Vec<u8> {
    id.uuid().as_bytes().to_vec()
}

pub(crate) fn id<T: Id>(row: &SqliteRow, column: &str) -> Result<T> {
    opt_id(row, column)?.ok_or_else(|| undecodable(column, "it is empty"))
}

pub(crate) fn opt_id<T: Id>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    row.try_get::<Option<&[u8]>, _>(column)?
        .map(|bytes| {
            Uuid::from_slice(bytes)
                .map(T::from_uuid)
                .map_err(|error| undecodable(column, error))
        })
        .transpose()
}

/// The stored spelling of an enum without data: its serde name.
pub(crate) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("BUG: an enum without data is a string, not {other:?}"),
    }
}

pub(crate) fn from_word<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    opt_word(row, column)?.ok_or_else(|| undecodable(column, "it is empty"))
}

pub(crate) fn opt_word<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?
        .map(|word| {
            T::deserialize(StrDeserializer::<serde::de::value::Error>::new(word))
                .map_err(|error| undecodable(column, error))
        })
        .transpose()
}

pub(crate) fn from_json<'r, T: Deserialize<'r>>(row: &'r SqliteRow, column: &str) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| undecodable(column, error))
}

pub(crate) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    Ok(Timestamp(row.try_get(column)?))
}

pub(crate) fn opt_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

pub(crate) fn opt_hash(row: &SqliteRow, column: &str) -> Result<Option<ContentHash>> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(ContentHash))
}

/// A count, an offset or a size, which is never negative.
pub(crate) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| undecodable(column, format!("{value} is out of range")))
}

pub(crate) fn opt_number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    match row.try_get::<Option<i64>, _>(column)? {
        None => Ok(None),
        Some(_) => number(row, column).map(Some),
    }
}

pub(crate) fn undecodable(column: &str, why: impl std::fmt::Display) -> Error {
    Error::Decode {
        column: column.to_owned(),
        message: why.to_string(),
    }
}

/// Bytes of one packed box.
const BOX_BYTES: usize = 20;

/// On-disk layout: changing it breaks the marks of every citation already indexed.
pub(crate) fn pack_boxes(boxes: &[PageBox]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(boxes.len() * BOX_BYTES);
    for b in boxes {
        bytes.extend_from_slice(&b.page.to_le_bytes());
        for edge in [b.left, b.top, b.right, b.bottom] {
            bytes.extend_from_slice(&edge.to_le_bytes());
        }
    }
    bytes
}

pub(crate) fn unpack_boxes(bytes: &[u8]) -> Vec<PageBox> {
    let (boxes, _rest) = bytes.as_chunks::<BOX_BYTES>();
    boxes
        .iter()
        .map(|b| {
            let word = |at: usize| [b[at], b[at + 1], b[at + 2], b[at + 3]];
            PageBox {
                page: u32::from_le_bytes(word(0)),
                left: f32::from_le_bytes(word(4)),
                top: f32::from_le_bytes(word(8)),
                right: f32::from_le_bytes(word(12)),
                bottom: f32::from_le_bytes(word(16)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_form_of_a_box_does_not_change() {
        let boxes = [PageBox {
            page: 3,
            left: 0.5,
            top: 0.25,
            right: 1.0,
            bottom: 0.75,
        }];
        let bytes = pack_boxes(&boxes);
        assert_eq!(
            bytes,
            [
                3, 0, 0, 0, 0, 0, 0, 0x3f, 0, 0, 0x80, 0x3e, 0, 0, 0x80, 0x3f, 0, 0, 0x40, 0x3f
            ]
        );
        assert_eq!(unpack_boxes(&bytes), boxes);
    }
}
