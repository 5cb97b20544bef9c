//! The system's key store: Secret Service, Keychain or Credential Manager. Blocking.

use keyring::Entry;

/// Why the key store gave no answer.
#[derive(Debug)]
pub(crate) enum KeyStoreError {
    /// It isn't there, or can't be reached: no session bus, no key ring, access denied.
    Unavailable(String),
    /// It is there and rejects this secret.
    Refused(String),
}

pub(crate) trait KeyStore: Send + Sync {
    fn get(&self, name: &str) -> Result<Option<String>, KeyStoreError>;
    fn set(&self, name: &str, secret: &str) -> Result<(), KeyStoreError>;
    /// Deleting what isn't there succeeds.
    fn delete(&self, name: &str) -> Result<(), KeyStoreError>;
}

pub(crate) struct SystemKeyStore {
    service: String,
}

impl SystemKeyStore {
    pub(crate) fn new(service: String) -> Self {
        Self { service }
    }

    fn entry(&self, name: &str) -> Result<Entry, KeyStoreError> {
        Entry::new(&self.service, name).map_err(explain)
    }
}

impl KeyStore for SystemKeyStore {
    fn get(&self, name: &str) -> Result<Option<String>, KeyStoreError> {
        absent_is_none(self.entry(name)?.get_password())
    }

    fn set(&self, name: &str, secret: &str) -> Result<(), KeyStoreError> {
        self.entry(name)?.set_password(secret).map_err(explain)
    }

    fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        absent_is_none(self.entry(name)?.delete_credential()).map(drop)
    }
}

fn absent_is_none<T>(result: keyring::Result<T>) -> Result<Option<T>, KeyStoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(keyring::Error::NoEntry) => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

fn explain(error: keyring::Error) -> KeyStoreError {
    match error {
        keyring::Error::NoStorageAccess(_) | keyring::Error::PlatformFailure(_) => {
            KeyStoreError::Unavailable(error.to_string())
        }
        other => KeyStoreError::Refused(other.to_string()),
    }
}
