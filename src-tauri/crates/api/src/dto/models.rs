//! Health, readiness and the models on this machine.

use docent_engine as engine;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Progress, all};

mirrored! {
    HealthStatus mirrors engine::HealthStatus {
        Healthy = "healthy",
        Degraded = "degraded",
        Unhealthy = "unhealthy",
    }
}
mirrored! {
    ModelState mirrors engine::ModelState {
        Missing = "missing",
        Idle = "idle",
        Loading = "loading",
        Ready = "ready",
        Failed = "failed",
    }
}
mirrored! {
    Installed mirrors engine::Installed {
        Missing = "missing",
        Partial = "partial",
        Verified = "verified",
        Damaged = "damaged",
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    pub status: HealthStatus,
    pub version: String,
    pub models_loaded: bool,
    pub vector_db_connected: bool,
    pub components: Vec<ComponentHealth>,
}

impl From<engine::Health> for Health {
    fn from(health: engine::Health) -> Self {
        Self {
            status: health.status.into(),
            version: health.version.to_owned(),
            models_loaded: health.models_loaded,
            vector_db_connected: health.vector_db_connected,
            components: all(health.components),
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComponentHealth {
    pub name: String,
    pub status: HealthStatus,
    pub message: String,
}

impl From<engine::ComponentHealth> for ComponentHealth {
    fn from(component: engine::ComponentHealth) -> Self {
        Self {
            name: component.name.to_owned(),
            status: component.status.into(),
            message: component.message,
        }
    }
}

/// What the first-run screen shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    pub version: String,
    /// Both models are there, so questions can be answered.
    pub ready: bool,
    pub generator: ModelStatus,
    pub embedder: ModelStatus,
    pub data_dir: String,
}

impl From<engine::Status> for Status {
    fn from(status: engine::Status) -> Self {
        Self {
            version: status.version.to_owned(),
            ready: status.ready,
            generator: status.generator.into(),
            embedder: status.embedder.into(),
            data_dir: status.data_dir,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelStatus {
    /// Catalog id.
    pub model: String,
    pub state: ModelState,
    #[schema(required)]
    pub message: Option<String>,
}

impl From<engine::ModelStatus> for ModelStatus {
    fn from(status: engine::ModelStatus) -> Self {
        Self {
            model: status.model,
            state: status.state.into(),
            message: status.message,
        }
    }
}

/// A model of the catalog, with what is on this machine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelInfo {
    pub id: String,
    /// `generator`, `embedder`, `reranker` or `runtime`.
    pub role: String,
    pub name: String,
    pub size_bytes: u64,
    pub memory_bytes: u64,
    pub licence: String,
    pub installed: Installed,
    pub active: bool,
    /// Whether this machine has the memory for it.
    pub fits: bool,
    /// Bytes of a fetch in progress.
    #[schema(required)]
    pub progress: Option<Progress>,
    #[schema(required)]
    pub note: Option<String>,
}

impl From<engine::ModelInfo> for ModelInfo {
    fn from(model: engine::ModelInfo) -> Self {
        Self {
            id: model.id,
            role: model.role,
            name: model.name,
            size_bytes: model.size_bytes,
            memory_bytes: model.memory_bytes,
            licence: model.licence,
            installed: model.installed.into(),
            active: model.active,
            fits: model.fits,
            progress: model.progress.map(Progress::from),
            note: model.note,
        }
    }
}
