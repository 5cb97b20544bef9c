//! A workspace's embedder and its change.

use docent_engine as engine;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

mirrored! {
    ChangeState mirrors engine::ChangeState {
        Running = "running",
        Paused = "paused",
        Failed = "failed",
    }
}

/// What it would cost to change a workspace's embedder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbedderPlan {
    pub from: String,
    pub to: String,
    pub chunks: u64,
    /// As measured just now on a few of the workspace's chunks; null where it cannot be told.
    #[schema(required)]
    pub seconds: Option<f64>,
    /// About how much the new vectors take on the disk, beside the old ones.
    #[schema(required)]
    pub disk_bytes: Option<u64>,
    #[schema(required)]
    pub free_bytes: Option<u64>,
    pub installed: bool,
    #[schema(required)]
    pub long_passages: Option<LongPassages>,
    /// Why it cannot begin, for people.
    #[schema(required)]
    pub obstacle: Option<String>,
}

/// Passages that are longer than what the embedder reads at once: what stands behind that is found
/// by its words only.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LongPassages {
    pub looked_at: u64,
    pub longer: u64,
    pub max_tokens: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbedderStatus {
    /// Catalog id of the one that answers.
    pub embedder: String,
    pub size_bytes: u64,
    #[schema(required)]
    pub change: Option<EmbedderChange>,
    #[schema(required)]
    pub previous: Option<PreviousVectors>,
}

/// A change under way. The old embedder answers until it is done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmbedderChange {
    pub to: String,
    pub state: ChangeState,
    /// What it waits for, or why it stopped.
    #[schema(required)]
    pub reason: Option<String>,
    /// Chunks that have their new vector.
    pub done: u64,
    pub total: u64,
    /// While nothing else wants the machine.
    #[schema(required)]
    pub seconds_left: Option<f64>,
    pub size_bytes: u64,
    pub started_at: i64,
}

/// Vectors of the embedder before, kept to go back to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousVectors {
    pub embedder: String,
    pub size_bytes: u64,
    pub replaced_at: i64,
    /// They are deleted then.
    pub kept_until: i64,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEmbedder {
    /// Catalog id.
    pub to: String,
    /// Begin although some passages are longer than what it reads at once.
    #[serde(default)]
    pub accept_long_passages: bool,
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EmbedderPlanParameters {
    /// Catalog id.
    pub to: String,
}

impl From<engine::EmbedderPlan> for EmbedderPlan {
    fn from(plan: engine::EmbedderPlan) -> Self {
        Self {
            from: plan.from,
            to: plan.to,
            chunks: plan.chunks,
            seconds: plan.seconds,
            disk_bytes: plan.disk_bytes,
            free_bytes: plan.free_bytes,
            installed: plan.installed,
            long_passages: plan.long_passages.map(|long| LongPassages {
                looked_at: long.looked_at,
                longer: long.longer,
                max_tokens: long.max_tokens,
            }),
            obstacle: plan.obstacle,
        }
    }
}

impl From<engine::EmbedderStatus> for EmbedderStatus {
    fn from(status: engine::EmbedderStatus) -> Self {
        Self {
            embedder: status.embedder,
            size_bytes: status.size_bytes,
            change: status.change.map(|change| EmbedderChange {
                to: change.to,
                state: change.state.into(),
                reason: change.reason,
                done: change.done,
                total: change.total,
                seconds_left: change.seconds_left,
                size_bytes: change.size_bytes,
                started_at: change.started_at.0,
            }),
            previous: status.previous.map(|kept| PreviousVectors {
                embedder: kept.embedder,
                size_bytes: kept.size_bytes,
                replaced_at: kept.replaced_at.0,
                kept_until: kept.kept_until.0,
            }),
        }
    }
}
