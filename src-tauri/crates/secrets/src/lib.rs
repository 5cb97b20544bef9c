//! Secrets (keys of remote models and servers) in the system's key store, or in a private file
//! where there is none: a headless machine, a container, a session without a key ring.
//!
//! A locked key ring asks the person for its password and blocks until they answer, which may be
//! never. So every call runs on a thread of its own with a deadline, nothing is asked before the
//! first secret is wanted, and a key store that failed once isn't asked again by this process.
//! Which of the two holds the secrets is reported by [`Secrets::backend`], never hidden.

mod file;
mod key_store;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use file::SecretFile;
use key_store::{KeyStore, KeyStoreError, SystemKeyStore};

/// Time for a person to find the prompt and type the password of their key ring.
const PROMPT_DEADLINE: Duration = Duration::from_secs(45);

/// What went wrong, by operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the key store refused the secret {name:?}: {reason}")]
    KeyStore { name: String, reason: String },
    #[error("reading the secrets in {path}: {source}")]
    ReadFile { path: PathBuf, source: io::Error },
    #[error("writing the secrets to {path}; what was there before is unchanged: {source}")]
    WriteFile { path: PathBuf, source: io::Error },
    #[error("{path} is not a file of secrets any more; move it away and enter the secrets again")]
    DamagedFile { path: PathBuf },
    #[error("the thread that asks for secrets could not run to its end")]
    Interrupted,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A secret's text. It prints as dots, so that no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where secrets are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Nothing was asked for yet.
    Undecided,
    /// The key store of the system.
    KeyStore,
    /// A file that only this user may read, because of the reason.
    File { reason: String },
}

/// Secrets of one installation, by name. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

struct Inner {
    key_store: Arc<dyn KeyStore>,
    file: Arc<SecretFile>,
    deadline: Duration,
    backend: Mutex<Backend>,
    /// One caller at a time: two would put two prompts on the screen.
    turn: tokio::sync::Mutex<()>,
}

impl Secrets {
    /// `service` names the application in the key store; `file` is the fallback, made when needed.
    pub fn new(service: impl Into<String>, file: PathBuf) -> Self {
        Self::over(
            Arc::new(SystemKeyStore::new(service.into())),
            file,
            PROMPT_DEADLINE,
        )
    }

    /// Keeps everything in `file` and never asks the key store: for tests, and for servers whose
    /// administrator wants it so.
    pub fn in_file(file: PathBuf, reason: impl Into<String>) -> Self {
        let secrets = Self::new(String::new(), file);
        secrets.set_backend(Backend::File {
            reason: reason.into(),
        });
        secrets
    }

    fn over(key_store: Arc<dyn KeyStore>, file: PathBuf, deadline: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                key_store,
                file: Arc::new(SecretFile::new(file)),
                deadline,
                backend: Mutex::new(Backend::Undecided),
                turn: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Where secrets are kept, as far as that is known.
    pub fn backend(&self) -> Backend {
        self.inner
            .backend
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The secret of that name. One that was filed while the key store was away is still found.
    pub async fn get(&self, name: &str) -> Result<Option<Secret>> {
        let _turn = self.inner.turn.lock().await;
        let asked = name.to_owned();
        if let Some(Some(text)) = self.ask(name, move |store| store.get(&asked)).await? {
            return Ok(Some(Secret(text)));
        }
        let asked = name.to_owned();
        Ok(self
            .with_file(move |file| file.get(&asked))
            .await?
            .map(Secret))
    }

    /// Keeps a secret, in place of an older one of that name.
    pub async fn set(&self, name: &str, secret: &Secret) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        let (asked, text) = (name.to_owned(), secret.0.clone());
        let kept = self
            .ask(name, move |store| store.set(&asked, &text))
            .await?;
        let (asked, text) = (name.to_owned(), secret.0.clone());
        if kept.is_some() {
            // An older one in the file would come back if the key store went away.
            self.with_file(move |file| file.delete(&asked)).await
        } else {
            self.with_file(move |file| file.set(&asked, &text)).await
        }
    }

    /// Forgets a secret; one that isn't there is no error.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        let asked = name.to_owned();
        self.ask(name, move |store| store.delete(&asked)).await?;
        let asked = name.to_owned();
        self.with_file(move |file| file.delete(&asked)).await
    }

    /// Runs one call of the key store within the deadline. `None`: the key store is out of use.
    async fn ask<T: Send + 'static>(
        &self,
        name: &str,
        call: impl FnOnce(&dyn KeyStore) -> Result<T, KeyStoreError> + Send + 'static,
    ) -> Result<Option<T>> {
        if matches!(self.backend(), Backend::File { .. }) {
            return Ok(None);
        }
        let store = self.inner.key_store.clone();
        let (sender, answer) = tokio::sync::oneshot::channel();
        // Not one of the runtime's threads: a program that ends waits for those, and this one may
        // be behind a prompt that nobody sees.
        std::thread::Builder::new()
            .name("key-store".into())
            .spawn(move || drop(sender.send(call(store.as_ref()))))
            .map_err(|_| Error::Interrupted)?;
        match tokio::time::timeout(self.inner.deadline, answer).await {
            Ok(Ok(Ok(value))) => {
                self.set_backend(Backend::KeyStore);
                Ok(Some(value))
            }
            Ok(Ok(Err(KeyStoreError::Refused(reason)))) => Err(Error::KeyStore {
                name: name.to_owned(),
                reason,
            }),
            Ok(Ok(Err(KeyStoreError::Unavailable(reason)))) => {
                self.give_up(reason);
                Ok(None)
            }
            Ok(Err(_)) => Err(Error::Interrupted),
            // The thread stays blocked on the prompt; there is one at most, since nobody asks again.
            Err(_) => {
                self.give_up(format!(
                    "the key ring did not answer within {} seconds; it may be locked",
                    self.inner.deadline.as_secs()
                ));
                Ok(None)
            }
        }
    }

    fn give_up(&self, reason: String) {
        tracing::warn!(%reason, "secrets are kept in a private file, not in the key store");
        self.set_backend(Backend::File { reason });
    }

    fn set_backend(&self, backend: Backend) {
        *self
            .inner
            .backend
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = backend;
    }

    async fn with_file<T: Send + 'static>(
        &self,
        call: impl FnOnce(&SecretFile) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = self.inner.file.clone();
        tokio::task::spawn_blocking(move || call(&file))
            .await
            .map_err(|_| Error::Interrupted)?
    }
}

#[cfg(test)]
mod tests;
