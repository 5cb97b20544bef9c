//! Schema versions. Each migration and the version it leads to are one transaction, so that an
//! interrupted upgrade leaves the old schema or the new one, never something between.
//!
//! The version is SQLite's `user_version`; `application_id` marks the file as Docent's.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Row as _};

use crate::connection::WriteTx;
use crate::{Error, Result};

/// `DCNT` in ASCII. On disk: changing it makes every existing database a foreign file.
const APPLICATION_ID: i32 = 0x4443_4e54;

/// In order; a released one is never edited, only followed.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_removed_files.sql"),
    include_str!("../migrations/0003_formats.sql"),
    include_str!("../migrations/0004_problems.sql"),
    include_str!("../migrations/0005_embedder_change.sql"),
    include_str!("../migrations/0006_folder_patterns.sql"),
    include_str!("../migrations/0007_job_control.sql"),
    include_str!("../migrations/0008_recognition.sql"),
    include_str!("../migrations/0009_pictures.sql"),
    include_str!("../migrations/0010_consent_and_removed_files.sql"),
    include_str!("../migrations/0011_cancelled.sql"),
    include_str!("../migrations/0012_file_identity.sql"),
];

/// The schema that this version writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// What a file is, from its marks alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Empty,
    Foreign,
    Version(u32),
}

pub(crate) async fn identify(connection: &mut SqliteConnection) -> Result<Found> {
    let row = sqlx::query(
        "SELECT (SELECT application_id FROM pragma_application_id) AS application,
                (SELECT user_version FROM pragma_user_version) AS version,
                (SELECT count(*) FROM sqlite_schema) AS objects",
    )
    .fetch_one(connection)
    .await?;
    let application: i32 = row.try_get("application")?;
    let version: i32 = row.try_get("version")?;
    let objects: i64 = row.try_get("objects")?;
    Ok(match (application, objects) {
        (APPLICATION_ID, _) => Found::Version(version as u32),
        (0, 0) if version == 0 => Found::Empty,
        _ => Found::Foreign,
    })
}

/// Brings the schema from `version` (0 for an empty file) to [`SCHEMA_VERSION`].
pub(crate) async fn run(tx: &mut WriteTx, version: u32) -> Result<()> {
    let number = version + 1;
    let sql = MIGRATIONS[version as usize];
    async {
        tx.connection().execute(sqlx::raw_sql(sql)).await?;
        // Pragmas take no parameters. Both are numbers of ours, and part of the transaction.
        let marks =
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}");
        tx.connection().execute(sqlx::raw_sql(&marks)).await?;
        Ok(())
    }
    .await
    .map_err(|source: sqlx::Error| Error::Migrate {
        version: number,
        source: Box::new(source.into()),
    })
}
