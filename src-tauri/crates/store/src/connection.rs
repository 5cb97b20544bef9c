//! Opening the database, and the two ways into it: one connection that writes, a few that read.
//!
//! The writer is the only connection that writes and the only one that checkpoints. SQLite before
//! 3.51.3 can corrupt a WAL when two connections do so at once, and the bundled one is 3.46; an
//! advisory lock beside the file keeps other processes out for the same reason.
//!
//! Transactions are [`WriteTx`], not the driver's: after a full disk SQLite has already rolled back
//! by itself, the driver's own rollback then fails, and its count of open transactions stays wrong
//! for the rest of the connection's life. A transaction that does not end in a commit takes its
//! connection with it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docent_domain::{Timestamp, UserId};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, Sqlite};

use crate::migration::{self, Found, SCHEMA_VERSION};
use crate::row;
use crate::table::{
    chats::Chats, chunks::Chunks, documents::Documents, flags::Flags, folders::Folders,
    generations::Generations, jobs::Jobs, limits::Limits, settings::Settings,
    workspaces::Workspaces,
};
use crate::{Error, Result};

/// Enough for a window, a search and a background job to read at once.
const READERS: u32 = 4;

/// How long a connection waits for a lock of SQLite's. Only the closing of a discarded writer and a
/// backup from outside can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller waits for its turn. The longest transaction replaces the content of a big
/// document, or registers thousands of files.
const TURN_TIMEOUT: Duration = Duration::from_mins(1);

/// The WAL is cut back to this after a checkpoint that a big transaction made necessary.
const WAL_KEPT_BYTES: u32 = 64 << 20;

/// How the database is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    pub journal: Journal,
    /// The size that the file may grow to, in pages of 4096 bytes; beyond, writing fails as on a
    /// full disk. A fault point for tests.
    pub max_pages: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// WAL with `synchronous=FULL`: what was acknowledged survives a power cut.
    #[default]
    Durable,
    /// UNSAFE: `journal_mode=OFF, synchronous=OFF`. A crash loses acknowledged rows and may corrupt
    /// the file. It exists so that the crash tests can show that they would notice.
    Off,
}

impl StoreOptions {
    /// The defaults, except that `DOCENT_UNSAFE_JOURNAL=off` selects [`Journal::Off`].
    #[must_use]
    pub fn from_env() -> Self {
        let journal = match std::env::var("DOCENT_UNSAFE_JOURNAL").as_deref() {
            Ok("off") => {
                tracing::warn!(
                    "DOCENT_UNSAFE_JOURNAL=off: acknowledged data will not survive a crash"
                );
                Journal::Off
            }
            _ => Journal::Durable,
        };
        Self {
            journal,
            max_pages: None,
        }
    }
}

/// The relational store. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    local_user: UserId,
    /// Held as long as the store is open; `None` where the file system has no locks.
    _lock: Option<File>,
}

impl Store {
    /// Opens the database at `path`, creating or upgrading it as needed, for this process alone.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, StoreOptions::default()).await
    }

    pub async fn open_with(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let path = path.as_ref();
        let prepare = |source| Error::Prepare {
            path: path.to_owned(),
            source,
        };
        let lock = prepare_file(path).map_err(prepare)?;
        let lock = match lock.try_lock() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "this file system has no locks; take care to run one Docent");
                None
            }
        };

        refuse_if_not_ours(path).await?;

        let writer = turns(1).connect_with(writing(path, &options)).await?;
        let local_user = prepare_schema(&writer, path).await?;
        let readers = match options.journal {
            Journal::Durable => turns(READERS).connect_lazy_with(reading(path)),
            // Without a journal a reader beside the writer would see half a transaction.
            Journal::Off => writer.clone(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                writer,
                readers,
                local_user,
                _lock: lock,
            }),
        })
    }

    /// Closes every connection, after their current work. Later calls fail.
    pub async fn close(&self) {
        // The writer last: its closing checkpoints the WAL and removes it.
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The user of this machine, who owns every chat on it.
    #[must_use]
    pub fn local_user(&self) -> UserId {
        self.inner.local_user
    }

    #[must_use]
    pub fn workspaces(&self) -> Workspaces<'_> {
        Workspaces::new(self)
    }

    #[must_use]
    pub fn folders(&self) -> Folders<'_> {
        Folders::new(self)
    }

    #[must_use]
    pub fn documents(&self) -> Documents<'_> {
        Documents::new(self)
    }

    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks::new(self)
    }

    #[must_use]
    pub fn generations(&self) -> Generations<'_> {
        Generations::new(self)
    }

    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs::new(self)
    }

    #[must_use]
    pub fn chats(&self) -> Chats<'_> {
        Chats::new(self)
    }

    #[must_use]
    pub fn flags(&self) -> Flags<'_> {
        Flags::new(self)
    }

    #[must_use]
    pub fn limits(&self) -> Limits<'_> {
        Limits::new(self)
    }

    #[must_use]
    pub fn settings(&self) -> Settings<'_> {
        Settings::new(self)
    }

    /// Moves the WAL into the database and empties it, so that deleted text is gone from both.
    /// `false` when somebody was reading from the WAL, so that it must be tried again.
    pub async fn checkpoint(&self) -> Result<bool> {
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&self.inner.writer)
            .await?;
        let busy: i64 = row.try_get(0)?;
        Ok(busy == 0)
    }

    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Waits for the writer and begins a transaction. Dropping it undoes it.
    pub(crate) async fn write(&self) -> Result<WriteTx> {
        WriteTx::begin(&self.inner.writer).await
    }
}

/// A writing transaction, which ends by [`WriteTx::commit`] or has not happened.
pub(crate) struct WriteTx {
    connection: Option<PoolConnection<Sqlite>>,
}

impl WriteTx {
    async fn begin(pool: &SqlitePool) -> Result<Self> {
        let mut tx = Self {
            connection: Some(pool.acquire().await?),
        };
        tx.connection().execute("BEGIN IMMEDIATE").await?;
        Ok(tx)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
            .as_deref_mut()
            .expect("BUG: a transaction was used after its commit")
    }

    /// On the disk when this returns.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.connection().execute("COMMIT").await?;
        // Back into the pool, in a known state.
        drop(self.connection.take());
        Ok(())
    }
}

impl Drop for WriteTx {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closing rolls back whatever state SQLite is in; the pool opens a fresh one.
            drop(connection.detach());
        }
    }
}

fn turns(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // Nothing of the user's text in files that nobody cleans up.
        .pragma("temp_store", "MEMORY")
        // The file is not to be trusted more than its rows.
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging()
}

fn writing(path: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    let (journal, synchronous) = match options.journal {
        Journal::Durable => (SqliteJournalMode::Wal, SqliteSynchronous::Full),
        Journal::Off => (SqliteJournalMode::Off, SqliteSynchronous::Off),
    };
    let connect = common(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(journal)
        .synchronous(synchronous)
        // Deleted text is overwritten, not just unlinked.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", WAL_KEPT_BYTES.to_string());
    match options.max_pages {
        Some(pages) => connect.pragma("max_page_count", pages.to_string()),
        None => connect,
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    // A read-only connection cannot checkpoint, not even when it is the last one to close.
    common(path).read_only(true)
}

/// Creates the folder and the file, readable by their owner alone, and returns the lock's file.
fn prepare_file(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let existed = path.exists();
    // SQLite gives its WAL the permissions of the database.
    options.open(path)?;
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = options.open(PathBuf::from(lock))?;
    if !existed {
        sync_folder_of(path)?;
    }
    Ok(lock)
}

/// Makes the names in the file's folder survive a power cut.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Looks before anything is written, and before the journal mode is changed.
async fn refuse_if_not_ours(path: &Path) -> Result<()> {
    let mut connection = reading(path).connect().await?;
    let found = migration::identify(&mut connection).await;
    connection.close().await?;
    match found? {
        Found::Foreign => Err(Error::ForeignFile {
            path: path.to_owned(),
        }),
        Found::Version(found) if found > SCHEMA_VERSION => Err(Error::NewerVersion {
            found,
            supported: SCHEMA_VERSION,
        }),
        Found::Empty | Found::Version(_) => Ok(()),
    }
}

/// Runs the migrations that are due and makes sure of the local user.
async fn prepare_schema(writer: &SqlitePool, path: &Path) -> Result<UserId> {
    loop {
        let mut tx = WriteTx::begin(writer).await?;
        let version = match migration::identify(tx.connection()).await? {
            Found::Empty => 0,
            Found::Version(version) => version,
            Found::Foreign => {
                return Err(Error::ForeignFile {
                    path: path.to_owned(),
                });
            }
        };
        if version >= SCHEMA_VERSION {
            let user = local_user_in_tx(&mut tx).await?;
            tx.commit().await?;
            return Ok(user);
        }
        migration::run(&mut tx, version).await?;
        tx.commit().await?;
        tracing::info!(version = version + 1, "upgraded the database");
    }
}

async fn local_user_in_tx(tx: &mut WriteTx) -> Result<UserId> {
    let known = sqlx::query("SELECT id FROM users WHERE workspace_id IS NULL ORDER BY id LIMIT 1")
        .fetch_optional(tx.connection())
        .await?;
    if let Some(row) = known {
        return row::id(&row, "id");
    }
    let user = UserId::generate();
    sqlx::query("INSERT INTO users (id, name, role, created_at) VALUES (?1, 'local', 'owner', ?2)")
        .bind(row::blob(user))
        .bind(Timestamp::now().0)
        .execute(tx.connection())
        .await?;
    Ok(user)
}
