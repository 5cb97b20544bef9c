//! Workspaces, and the scope that every data method wants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Plan, Timestamp, WorkspaceId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: WorkspaceName,
    pub status: WorkspaceStatus,
    pub plan: Plan,
    /// Catalog id of the embedder whose vectors this workspace holds.
    pub embedder: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceStatus {
    Active,
    Suspended,
}

/// Proof that a caller works inside one workspace. Store and index methods take it, so that a
/// query without a workspace cannot be written. Later it also carries the acting user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkspaceScope {
    workspace: WorkspaceId,
}

impl WorkspaceScope {
    #[must_use]
    pub const fn new(workspace: WorkspaceId) -> Self {
        Self { workspace }
    }

    #[must_use]
    pub const fn workspace(&self) -> WorkspaceId {
        self.workspace
    }
}

/// A workspace's name: 1 to 80 characters without control characters, outer white space removed.
/// Unique without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceName(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a workspace needs a name")]
    Empty,
    #[error("a workspace's name has at most 80 characters, this one has {0}")]
    TooLong(usize),
    #[error("a workspace's name may not contain control characters")]
    ControlCharacter,
}

impl WorkspaceName {
    const MAX_CHARS: usize = 80;

    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        let name = name.trim();
        let length = name.chars().count();
        if length == 0 {
            Err(InvalidName::Empty)
        } else if length > Self::MAX_CHARS {
            Err(InvalidName::TooLong(length))
        } else if name.chars().any(char::is_control) {
            Err(InvalidName::ControlCharacter)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that uniqueness is judged by.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl TryFrom<String> for WorkspaceName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<WorkspaceName> for String {
    fn from(name: WorkspaceName) -> Self {
        name.0
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(
            WorkspaceName::parse("  Ured Horvat ").map(String::from),
            Ok("Ured Horvat".into())
        );
        assert_eq!(WorkspaceName::parse(" \t "), Err(InvalidName::Empty));
        assert_eq!(
            WorkspaceName::parse(&"š".repeat(81)),
            Err(InvalidName::TooLong(81))
        );
        assert_eq!(
            WorkspaceName::parse("a\nb"),
            Err(InvalidName::ControlCharacter)
        );
    }
}
