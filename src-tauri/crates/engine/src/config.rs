//! Configuration: one documented file, `config.toml` in the data folder, and the environment over
//! it. Unknown keys are refused, so that a misspelt one cannot be silently without effect.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Catalog id of the model that writes answers, or `openai` for [`Config::openai`].
    /// `DOCENT_GENERATOR` overrides it.
    pub generator: String,
    /// Catalog id of the embedder that new workspaces get, or `openai`. `DOCENT_EMBEDDER`
    /// overrides it.
    pub embedder: String,
    /// Largest chunk in tokens of the embedder, for documents read from now on. Smaller chunks are
    /// found more precisely, larger ones carry more of their context.
    pub chunk_tokens: usize,
    /// How much of a chunk's end the next chunk of its section repeats, at most, in the same tokens:
    /// whole sentences, rows or lines.
    pub chunk_overlap_tokens: usize,
    /// Context of the local generator in tokens, prompt and answer together. Its memory grows with
    /// it: about 28 KB a token for Qwen2.5-1.5B.
    pub context_tokens: usize,
    /// Tokens of passages in the first prompt of a chat. Reading them is what one waits for before
    /// the first word: at 68 tokens a second (Qwen2.5-1.5B on two cores) 1,000 take 15 seconds.
    pub passage_tokens: usize,
    /// Tokens of new passages in each further prompt of a chat.
    pub follow_up_passage_tokens: usize,
    /// Longest answer in tokens.
    pub answer_tokens: u32,
    /// Below this confidence, from 0 to 1, an answer is refused. Measured on 166 natural questions:
    /// at 0.35 all questions off the topic are refused, six in ten of those that the documents only
    /// touch on, and one in ten that they answer.
    pub refuse_below: f32,
    /// Whether the local model may widen a question before it is answered.
    pub expansion: ExpansionPolicy,
    /// Threads of one model; 0 means one per physical core.
    pub threads: usize,
    /// Largest upload in bytes.
    pub upload_max_bytes: u64,
    /// A model that nobody asked for so long gives its memory back; 0 keeps it.
    pub unload_after_seconds: u64,
    /// How often watched folders are compared with the disk even without a hint of change; less
    /// than 10 counts as 10.
    pub rescan_seconds: u64,
    /// A file that was written to within so many seconds is not read yet; 0 reads at once.
    pub quiet_seconds: u64,
    /// A file that has not been quiet for so long (a log) is read as it is.
    pub restless_seconds: u64,
    /// Whether the text of scanned pages is recognised where Tesseract is installed, after all other
    /// reading. It takes seconds of one core a page.
    pub recognise_text: bool,
    /// A server that speaks OpenAI's protocol, for those who have one.
    pub openai: Option<OpenAiConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpansionPolicy {
    /// Where it pays: a question in one language over documents in another, or weak first results.
    Auto,
    Never,
}

/// The key is not here but in the system's key store, under `openai`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiConfig {
    /// Such as `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    pub generator_model: Option<String>,
    pub embedder_model: Option<String>,
    /// Width of the embedder's vectors; required with `embedder_model`.
    pub embedder_dimensions: Option<usize>,
    /// Context of the remote generator in tokens.
    #[serde(default = "default_remote_context")]
    pub context_tokens: usize,
}

const fn default_remote_context() -> usize {
    8192
}

impl Default for Config {
    fn default() -> Self {
        Self {
            generator: "qwen2.5-coder-1.5b-instruct".into(),
            embedder: "multilingual-e5-small".into(),
            chunk_tokens: 256,
            chunk_overlap_tokens: 0,
            context_tokens: 6144,
            passage_tokens: 1100,
            follow_up_passage_tokens: 180,
            answer_tokens: 400,
            refuse_below: 0.35,
            expansion: ExpansionPolicy::Auto,
            threads: 0,
            upload_max_bytes: 2 << 30,
            unload_after_seconds: 600,
            rescan_seconds: 300,
            quiet_seconds: 2,
            recognise_text: true,
            restless_seconds: 60,
            openai: None,
        }
    }
}

impl Config {
    /// Reads `file` when it is there, then the environment. Blocking.
    pub fn load(file: &Path) -> Result<Self> {
        let mut config = match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(
                    Error::invalid(format!("{} cannot be read", file.display())).with_source(error)
                );
            }
        };
        if let Ok(generator) = std::env::var("DOCENT_GENERATOR") {
            config.generator = generator;
        }
        if let Ok(embedder) = std::env::var("DOCENT_EMBEDDER") {
            config.embedder = embedder;
        }
        config.validate(file)?;
        Ok(config)
    }

    fn parse(text: &str, file: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            Error::invalid(format!("{} is not a valid configuration", file.display()))
                .with_source(error)
                .with_hint("Correct the line it names, or move the file away to use the defaults")
        })
    }

    fn validate(&self, file: &Path) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("{}: {what}", file.display())));
        if self.chunk_tokens < 32 {
            return refuse("chunk_tokens must be at least 32");
        }
        if self.chunk_overlap_tokens * 2 > self.chunk_tokens {
            return refuse("chunk_overlap_tokens must not be more than half of chunk_tokens");
        }
        if !(1024..=131_072).contains(&self.context_tokens) {
            return refuse("context_tokens must be between 1024 and 131072");
        }
        if self.passage_tokens + self.answer_tokens as usize + 512 > self.context_tokens {
            return refuse("passage_tokens and answer_tokens do not fit into context_tokens");
        }
        if !(0.0..=1.0).contains(&self.refuse_below) {
            return refuse("refuse_below must be between 0 and 1");
        }
        let wants_openai = self.generator == "openai" || self.embedder == "openai";
        match &self.openai {
            None if wants_openai => {
                refuse("generator or embedder is openai, but there is no [openai]")
            }
            Some(openai) if self.generator == "openai" && openai.generator_model.is_none() => {
                refuse("[openai] needs generator_model")
            }
            Some(openai)
                if self.embedder == "openai"
                    && (openai.embedder_model.is_none()
                        || openai.embedder_dimensions.is_none()) =>
            {
                refuse("[openai] needs embedder_model and embedder_dimensions")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        let file = Path::new("config.toml");
        assert_eq!(
            Config::parse("", file).expect("empty is the default"),
            Config::default()
        );
        let error = Config::parse("genrator = \"x\"", file).expect_err("a misspelt key");
        assert!(error.to_string().contains("genrator"), "{error}");
        let config = Config {
            passage_tokens: 6000,
            ..Config::default()
        };
        assert!(config.validate(file).is_err());
        let config = Config {
            generator: "openai".into(),
            ..Config::default()
        };
        assert!(config.validate(file).is_err(), "openai needs its section");
    }
}
