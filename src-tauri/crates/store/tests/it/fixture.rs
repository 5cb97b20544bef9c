//! A store in a temporary folder, with one workspace, and short ways to fill it.

use std::path::PathBuf;

use docent_domain::{
    ChunkKey, ContentHash, Document, DocumentId, FolderId, Format, Job, JobState, Language,
    NewChunk, Origin, PageBox, Span, Timestamp, WorkspaceName, WorkspaceScope,
};
use docent_store::{
    BootId, Claim, ContentReplaced, DocumentContent, DocumentQuery, FileStamp, JobType,
    NewDocument, Store, StoreOptions,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

pub struct Fixture {
    pub store: Store,
    pub scope: WorkspaceScope,
    pub boot: BootId,
    folder: TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_with(folder.path().join("docent.db"), options)
            .await
            .unwrap();
        let scope = workspace(&store, "Ured").await;
        Self {
            store,
            scope,
            boot: BootId::generate(),
            folder,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("docent.db")
    }

    /// The process ends without a word and another one starts.
    pub async fn restart(&mut self) {
        let path = self.path();
        self.store.close().await;
        // The lock belongs to the last clone.
        let placeholder = tempfile::tempdir().unwrap();
        self.store = Store::open(placeholder.path().join("x.db")).await.unwrap();
        self.store = Store::open(path).await.unwrap();
        self.boot = BootId::generate();
    }

    /// A connection that obeys none of the store's rules.
    pub async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path())
            .foreign_keys(false)
            .connect()
            .await
            .unwrap()
    }

    pub async fn register(&self, path: &str) -> Document {
        let (document, _) = self
            .store
            .documents()
            .register(&self.scope, &file(path), NOW)
            .await
            .unwrap();
        document
    }

    pub async fn claim(&self, kind: JobType) -> Job {
        self.store
            .jobs()
            .claim_next(self.boot, &[kind], NOW)
            .await
            .unwrap()
            .expect("a job is waiting")
    }

    /// Claims the next reading and ends it with these chunks.
    pub async fn read(&self, document: DocumentId, texts: &[&str]) -> ContentReplaced {
        let job = self.claim(JobType::Read).await;
        self.store
            .documents()
            .replace_content(
                &self.scope,
                document,
                Claim::from(&job),
                &content(texts),
                NOW,
            )
            .await
            .unwrap()
    }

    /// Claims the next embedding and ends it.
    pub async fn embed(&self, document: DocumentId, keys: &[ChunkKey]) {
        let job = self.claim(JobType::Embed).await;
        let progress = self
            .store
            .chunks()
            .mark_embedded(&self.scope, document, keys, Claim::from(&job), NOW)
            .await
            .unwrap();
        assert!(progress.is_complete(), "{progress:?}");
    }

    /// A document that is searchable by words and by meaning.
    pub async fn ready(&self, path: &str, texts: &[&str]) -> (DocumentId, Vec<ChunkKey>) {
        let id = self.register(path).await.id;
        let keys = self.read(id, texts).await.added;
        self.embed(id, &keys).await;
        (id, keys)
    }

    /// Whether the claim still holds: the job was neither cancelled nor superseded nor taken over.
    pub async fn holds(&self, claim: Claim) -> bool {
        let job = self.store.jobs().get(&self.scope, claim.job).await.unwrap();
        job.state == JobState::Running && job.fence == claim.fence
    }

    /// The document of a file.
    pub async fn at(&self, path: &str) -> Document {
        let all = DocumentQuery::default();
        let page = self
            .store
            .documents()
            .list(&self.scope, &all)
            .await
            .unwrap();
        let mut documents = page.items.into_iter();
        documents.find(|document| document.path == path).unwrap()
    }

    pub async fn get(&self, id: DocumentId) -> Document {
        self.store.documents().get(&self.scope, id).await.unwrap()
    }
}

pub async fn workspace(store: &Store, name: &str) -> WorkspaceScope {
    let name = WorkspaceName::parse(name).unwrap();
    let workspace = store
        .workspaces()
        .create(&name, "e5-small", NOW)
        .await
        .unwrap();
    WorkspaceScope::new(workspace.id)
}

pub fn file(path: &str) -> NewDocument {
    let inode = path
        .bytes()
        .fold(7, |inode, byte| inode * 31 % 1_000_003 + u64::from(byte));
    NewDocument {
        path: path.into(),
        origin: Origin::File,
        folder_id: None,
        title: path.rsplit('/').next().unwrap().into(),
        stamp: FileStamp {
            size_bytes: 100,
            modified_at: Some(NOW),
            modified_ns: Some(NOW.0 * 1_000_000 + 7),
            file_id: Some((u64::MAX, inode)),
            born_ns: None,
        },
        blob: None,
        read_after: None,
    }
}

pub fn in_folder(path: &str, folder: FolderId) -> NewDocument {
    NewDocument {
        origin: Origin::Folder,
        folder_id: Some(folder),
        ..file(path)
    }
}

pub fn touched(mut new: NewDocument) -> NewDocument {
    new.stamp.modified_ns = new.stamp.modified_ns.map(|ns| ns + 1);
    new
}

pub fn hash(text: &str) -> ContentHash {
    ContentHash(format!("{:0>64}", text.len()))
}

pub fn chunk(text: &str) -> NewChunk {
    NewChunk {
        span: Span::new(0, text.chars().count() as u32),
        text: text.into(),
        heading_path: vec!["Uvod".into(), "1.1 Što".into()],
        page: Some(2),
        boxes: vec![PageBox {
            page: 2,
            left: 0.1,
            top: 0.2,
            right: 0.9,
            bottom: 0.25,
        }],
        token_count: 3,
    }
}

pub fn content(texts: &[&str]) -> DocumentContent {
    let text = texts.concat();
    DocumentContent {
        hash: hash(&text),
        title: None,
        format: Some(Format::Pdf),
        language: Some(Language::Croatian),
        text,
        layout_json: r#"{"blocks":[]}"#.into(),
        page_count: Some(3),
        chunks: texts.iter().map(|text| chunk(text)).collect(),
        note: None,
        problem: None,
        recognise: false,
    }
}
