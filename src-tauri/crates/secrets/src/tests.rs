//! Key stores that work, are missing, are locked for ever, or refuse; and the file behind them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

/// A key store whose behaviour the test chooses.
struct FakeKeyStore {
    behaviour: Behaviour,
    secrets: Mutex<BTreeMap<String, String>>,
    calls: AtomicUsize,
}

enum Behaviour {
    Works,
    Missing,
    Refuses,
    /// Blocks, as behind a prompt that nobody sees, until the sender is dropped.
    Locked(Mutex<mpsc::Receiver<()>>),
}

impl FakeKeyStore {
    fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self {
            behaviour,
            secrets: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    fn enter(&self) -> Result<(), KeyStoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.behaviour {
            Behaviour::Works => Ok(()),
            Behaviour::Missing => Err(KeyStoreError::Unavailable("no session bus".into())),
            Behaviour::Refuses => Err(KeyStoreError::Refused("too long".into())),
            Behaviour::Locked(prompt) => {
                let _ = prompt.lock().unwrap().recv();
                Ok(())
            }
        }
    }
}

impl KeyStore for FakeKeyStore {
    fn get(&self, name: &str) -> Result<Option<String>, KeyStoreError> {
        self.enter()?;
        Ok(self.secrets.lock().unwrap().get(name).cloned())
    }

    fn set(&self, name: &str, secret: &str) -> Result<(), KeyStoreError> {
        self.enter()?;
        self.secrets
            .lock()
            .unwrap()
            .insert(name.into(), secret.into());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        self.enter()?;
        self.secrets.lock().unwrap().remove(name);
        Ok(())
    }
}

const PATIENT: Duration = Duration::from_mins(1);

fn secrets_over(store: &Arc<FakeKeyStore>, folder: &std::path::Path, wait: Duration) -> Secrets {
    Secrets::over(store.clone(), folder.join("secrets.json"), wait)
}

#[tokio::test]
async fn a_key_store_that_works_is_used_and_no_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeKeyStore::new(Behaviour::Works);
    let secrets = secrets_over(&store, folder.path(), PATIENT);
    assert_eq!(secrets.backend(), Backend::Undecided);
    assert_eq!(
        store.calls.load(Ordering::SeqCst),
        0,
        "nobody is prompted for nothing"
    );

    secrets.set("openai", &Secret::new("key")).await.unwrap();
    assert_eq!(
        secrets.get("openai").await.unwrap(),
        Some(Secret::new("key"))
    );
    assert_eq!(secrets.backend(), Backend::KeyStore);
    assert!(!folder.path().join("secrets.json").exists());
    secrets.delete("openai").await.unwrap();
    assert_eq!(secrets.get("openai").await.unwrap(), None);
}

#[tokio::test]
async fn without_a_key_store_the_file_serves_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeKeyStore::new(Behaviour::Missing);
    let secrets = secrets_over(&store, folder.path(), PATIENT);
    secrets.set("openai", &Secret::new("ključ")).await.unwrap();
    secrets.set("server", &Secret::new("b")).await.unwrap();
    assert_eq!(
        secrets.get("openai").await.unwrap(),
        Some(Secret::new("ključ"))
    );
    assert_eq!(
        secrets.backend(),
        Backend::File {
            reason: "no session bus".into()
        }
    );
    assert_eq!(
        store.calls.load(Ordering::SeqCst),
        1,
        "what is missing isn't asked again"
    );

    let again = secrets_over(&store, folder.path(), PATIENT);
    assert_eq!(again.get("server").await.unwrap(), Some(Secret::new("b")));
    again.delete("server").await.unwrap();
    again.delete("server").await.unwrap();
    assert_eq!(again.get("server").await.unwrap(), None);
    assert_eq!(
        again.get("openai").await.unwrap(),
        Some(Secret::new("ključ"))
    );
}

#[tokio::test]
async fn a_locked_key_ring_costs_one_deadline_and_then_the_file_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (prompt, answered) = mpsc::channel();
    let store = FakeKeyStore::new(Behaviour::Locked(Mutex::new(answered)));
    let secrets = secrets_over(&store, folder.path(), Duration::from_millis(10));
    secrets.set("openai", &Secret::new("key")).await.unwrap();
    assert!(matches!(secrets.backend(), Backend::File { reason } if reason.contains("locked")));
    assert_eq!(
        secrets.get("openai").await.unwrap(),
        Some(Secret::new("key"))
    );
    assert_eq!(store.calls.load(Ordering::SeqCst), 1);
    drop(prompt);
}

#[tokio::test]
async fn a_refusal_is_an_error_and_not_a_reason_for_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = FakeKeyStore::new(Behaviour::Refuses);
    let secrets = secrets_over(&store, folder.path(), PATIENT);
    let error = secrets
        .set("openai", &Secret::new("key"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::KeyStore { .. }), "{error}");
    assert!(!folder.path().join("secrets.json").exists());
}

#[tokio::test]
async fn a_secret_filed_earlier_is_found_and_moves_when_it_is_set_again() {
    let folder = tempfile::tempdir().unwrap();
    let missing = FakeKeyStore::new(Behaviour::Missing);
    secrets_over(&missing, folder.path(), PATIENT)
        .set("openai", &Secret::new("old"))
        .await
        .unwrap();

    let store = FakeKeyStore::new(Behaviour::Works);
    let secrets = secrets_over(&store, folder.path(), PATIENT);
    assert_eq!(
        secrets.get("openai").await.unwrap(),
        Some(Secret::new("old"))
    );
    secrets.set("openai", &Secret::new("new")).await.unwrap();
    let filed = std::fs::read_to_string(folder.path().join("secrets.json")).unwrap();
    assert!(!filed.contains("old") && !filed.contains("new"), "{filed}");
    assert_eq!(
        secrets.get("openai").await.unwrap(),
        Some(Secret::new("new"))
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/secrets.json");
    let secrets = Secrets::in_file(path.clone(), "chosen");
    secrets.set("openai", &Secret::new("key")).await.unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    secrets.get("openai").await.unwrap();
    assert_eq!(mode(), 0o600, "a loosened file is tightened");
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    std::fs::write(&path, "{\"openai\": \"ke").unwrap();
    let secrets = Secrets::in_file(path.clone(), "chosen");
    assert!(matches!(
        secrets.get("openai").await,
        Err(Error::DamagedFile { .. })
    ));
    let error = secrets
        .set("openai", &Secret::new("key"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DamagedFile { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"openai\": \"ke");
}

#[test]
fn a_secret_never_prints_itself() {
    assert_eq!(format!("{:?}", Secret::new("key")), "Secret(…)");
}
