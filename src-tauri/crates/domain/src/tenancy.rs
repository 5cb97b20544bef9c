//! Users, permissions, plans, flags and limits. Stored from the first schema on so that a later
//! server needs no migration of meaning; on the desktop there is one local user.

use serde::{Deserialize, Serialize};

use crate::{ChatId, PermissionId, Timestamp, UserId, WorkspaceId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub workspace_id: Option<WorkspaceId>,
    pub name: String,
    pub email: Option<String>,
    pub role: UserRole,
    pub last_login_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    Owner,
    Admin,
    Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    Read,
    Write,
    Admin,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatPermission {
    pub id: PermissionId,
    pub chat_id: ChatId,
    pub user_id: UserId,
    pub level: AccessLevel,
    pub granted_by: UserId,
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// One's own machine: no limits until the owner sets some.
    Local,
    Free,
    Pro,
}

/// A feature flag; an absent workspace means the global default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureFlag {
    pub name: String,
    pub workspace_id: Option<WorkspaceId>,
    pub enabled: bool,
    pub config: serde_json::Value,
    pub updated_at: Timestamp,
}

/// A limit on an operation, counted over a sliding window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub operation: String,
    pub max: u64,
    pub window_seconds: u64,
}
