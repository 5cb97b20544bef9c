//! Whether the parts work, found out by asking them.

use docent_domain::WorkspaceScope;

use crate::engine::Engine;
use crate::types::{ComponentHealth, Health, HealthStatus, ModelState};

const RECOGNITION: &str = "recognition";

impl Engine {
    /// Asks every component. `models_loaded` says that both models are installed and verified, so
    /// that the next question can be answered; `vector_db_connected` that every open index answers.
    pub async fn health(&self) -> Health {
        let components = vec![
            self.database_health().await,
            self.index_health().await,
            self.model_health().await,
            self.queue_health().await,
            self.removal_health(),
            self.recognition_health().await,
        ];
        let of = |name: &str| {
            components
                .iter()
                .find(|component| component.name == name)
                .map(|component| component.status)
        };
        Health {
            // Only the database is beyond doing without.
            status: match (
                of("database"),
                // Text recognition is an extra that many do without.
                components
                    .iter()
                    .filter(|component| component.name != RECOGNITION)
                    .map(|component| component.status)
                    .max(),
            ) {
                (Some(HealthStatus::Unhealthy), _) => HealthStatus::Unhealthy,
                (_, Some(HealthStatus::Healthy) | None) => HealthStatus::Healthy,
                _ => HealthStatus::Degraded,
            },
            version: env!("CARGO_PKG_VERSION"),
            models_loaded: of("models") == Some(HealthStatus::Healthy),
            vector_db_connected: of("indexes") == Some(HealthStatus::Healthy),
            components,
        }
    }

    async fn database_health(&self) -> ComponentHealth {
        match self.store().workspaces().list().await {
            Ok(workspaces) => component(
                "database",
                HealthStatus::Healthy,
                format!("{} workspaces", workspaces.len()),
            ),
            Err(error) => component("database", HealthStatus::Unhealthy, error.to_string()),
        }
    }

    async fn index_health(&self) -> ComponentHealth {
        let Ok(workspaces) = self.store().workspaces().list().await else {
            return component(
                "indexes",
                HealthStatus::Degraded,
                "the workspaces are unknown".into(),
            );
        };
        for workspace in &workspaces {
            let Some(index) = self
                .indexes()
                .opened(&WorkspaceScope::new(workspace.id))
                .await
            else {
                continue;
            };
            let read = tokio::task::spawn_blocking(move || index.stats()).await;
            let trouble = match read {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            return component(
                "indexes",
                HealthStatus::Degraded,
                format!("the index of {} does not answer: {trouble}", workspace.name),
            );
        }
        let open = self.indexes().count().await;
        component(
            "indexes",
            HealthStatus::Healthy,
            format!("{open} of {} open", workspaces.len()),
        )
    }

    async fn model_health(&self) -> ComponentHealth {
        let status = self.status().await;
        for model in [&status.embedder, &status.generator] {
            let is_coming = model.state == ModelState::Loading && status.ready;
            if !is_coming && !matches!(model.state, ModelState::Idle | ModelState::Ready) {
                let message = model
                    .message
                    .clone()
                    .unwrap_or_else(|| format!("{} is not installed", model.model));
                return component("models", HealthStatus::Degraded, message);
            }
        }
        component(
            "models",
            HealthStatus::Healthy,
            format!("{} and {}", status.generator.model, status.embedder.model),
        )
    }

    async fn recognition_health(&self) -> ComponentHealth {
        let (status, message) = match self.recogniser_found().await {
            Ok(Some(Ok(recogniser))) => (
                HealthStatus::Healthy,
                format!(
                    "Tesseract {} with {}",
                    recogniser.version,
                    recogniser.languages.join(" and ")
                ),
            ),
            Ok(Some(Err(missing))) => (HealthStatus::Degraded, missing.to_string()),
            Ok(None) => (
                HealthStatus::Degraded,
                "turned off by recognise_text in config.toml".to_owned(),
            ),
            Err(error) => (HealthStatus::Degraded, error.to_string()),
        };
        component(RECOGNITION, status, message)
    }

    async fn queue_health(&self) -> ComponentHealth {
        let Ok(workspaces) = self.store().workspaces().list().await else {
            return component(
                "jobs",
                HealthStatus::Degraded,
                "the workspaces are unknown".into(),
            );
        };
        let (mut waiting, mut dead) = (0, 0);
        for workspace in workspaces {
            match self
                .store()
                .jobs()
                .counts(&WorkspaceScope::new(workspace.id))
                .await
            {
                Ok(counts) => {
                    waiting += counts.queued + counts.running;
                    dead += counts.dead;
                }
                Err(error) => return component("jobs", HealthStatus::Degraded, error.to_string()),
            }
        }
        if self.reader().is_disk_full() {
            let message = format!("the disk is full; {waiting} to do when there is room");
            return component("jobs", HealthStatus::Degraded, message);
        }
        component(
            "jobs",
            HealthStatus::Healthy,
            format!("{waiting} to do, {dead} given up"),
        )
    }

    /// Says whether all that was removed is wiped. Never worse than healthy: it is on its way.
    fn removal_health(&self) -> ComponentHealth {
        let (rows, indexes) = self.reader().unwiped();
        let message = match (indexes, rows) {
            (0, false) => "what was removed is wiped".to_owned(),
            (0, true) => "what was removed is being wiped from the database's journal".to_owned(),
            (indexes, _) => format!("what was removed is being wiped from {indexes} indexes"),
        };
        component("removals", HealthStatus::Healthy, message)
    }
}

fn component(name: &'static str, status: HealthStatus, message: String) -> ComponentHealth {
    ComponentHealth {
        name,
        status,
        message,
    }
}
