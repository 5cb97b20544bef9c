//! What can be asked on the command line. Scripts rely on these names.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use docent_domain::{ChatId, DocumentStatus, JobId, JobState, JobType, Language};

/// Answers from your own documents, on your own machine.
#[derive(Debug, Parser)]
#[command(name = "docent", version, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Folder for everything Docent keeps [default: docent in the user's data folder]
    #[arg(long, global = true, value_name = "FOLDER", env = "DOCENT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folder of the models [default: models in the data folder]
    #[arg(long, global = true, value_name = "FOLDER", env = "DOCENT_MODELS_DIR")]
    pub models_dir: Option<PathBuf>,
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Model that writes answers, by its id in the catalog
    #[arg(long, global = true, value_name = "ID", env = "DOCENT_GENERATOR")]
    pub model: Option<String>,
    /// Model that new workspaces are indexed with, by its id in the catalog
    #[arg(long, global = true, value_name = "ID", env = "DOCENT_EMBEDDER")]
    pub embedder: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read files and folders into a workspace and wait until all of it is searchable
    Ingest(Ingest),
    /// Find the passages nearest to a question
    Search(Search),
    /// Answer a question from the documents, with citations
    Ask(Ask),
    /// Measure retrieval and answers on a file of questions
    Eval(Eval),
    /// Measure, each figure against its baseline in the same run
    Bench(Bench),
    /// Serve the API and the window's pages on this machine
    Serve(Serve),
    /// List, fetch and verify models
    #[command(subcommand)]
    Models(Models),
    /// Check that rows, chunks, full-text, vectors and blobs agree
    Doctor(Doctor),
    /// List, create and delete workspaces
    #[command(subcommand)]
    Workspaces(Workspaces),
    /// List the documents of a workspace
    #[command(subcommand)]
    Documents(Documents),
    /// Watch folders, and choose what is read of them
    #[command(subcommand)]
    Folders(Folders),
    /// List, pause, cancel and retry background work, and say what happened to every file
    #[command(subcommand)]
    Jobs(Jobs),
    /// Print the OpenAPI document of the API
    Openapi,
}

#[derive(Debug, Args)]
pub struct InWorkspace {
    /// Name or id
    #[arg(
        long,
        short,
        value_name = "NAME",
        env = "DOCENT_WORKSPACE",
        default_value = "default"
    )]
    pub workspace: String,
}

#[derive(Debug, Args)]
pub struct Ingest {
    /// Files and folders. Folders are watched from now on, unless --once
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Created when it does not exist
    #[command(flatten)]
    pub workspace: InWorkspace,
    /// Add the files that are in the folders now, and don't watch the folders
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct Search {
    pub question: String,
    #[command(flatten)]
    pub workspace: InWorkspace,
    /// How many hits
    #[arg(short, long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub k: u16,
    /// Let the local model widen the question first, as `ask` does
    #[arg(long)]
    pub expand: bool,
    #[arg(long, value_enum, default_value_t)]
    pub language: LanguageChoice,
}

#[derive(Debug, Args)]
pub struct Ask {
    pub question: String,
    #[command(flatten)]
    pub workspace: InWorkspace,
    /// Continue this chat; without it a new one begins
    #[arg(long, value_name = "ID")]
    pub chat: Option<ChatId>,
    #[arg(long, value_enum, default_value_t)]
    pub language: LanguageChoice,
    /// How many passages the answer may stand on
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub max_results: u16,
}

/// The language of the question and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LanguageChoice {
    /// That of the question
    #[default]
    Auto,
    Hr,
    En,
}

impl From<LanguageChoice> for Option<Language> {
    fn from(choice: LanguageChoice) -> Self {
        match choice {
            LanguageChoice::Auto => None,
            LanguageChoice::Hr => Some(Language::Croatian),
            LanguageChoice::En => Some(Language::English),
        }
    }
}

/// Lines of the file: {"id", "question", "language", "answerable", "expected": [{"path",
/// "contains"}], "answer_contains": [...]}. A hit is right when its path ends with the path of one
/// of the expected and, where `contains` is given, its text contains that (without regard to case
/// and white space). Where no expected passage has `contains`, whole documents are ranked instead
/// of passages.
#[derive(Debug, Args)]
pub struct Eval {
    #[arg(value_name = "FILE.jsonl")]
    pub file: PathBuf,
    #[command(flatten)]
    pub workspace: InWorkspace,
    /// Measure retrieval alone, without answers
    #[arg(long)]
    pub retrieval_only: bool,
    /// Measure retrieval with the question widened by the local model too
    #[arg(long)]
    pub expand: bool,
    /// Fit the confidence below which questions are refused, and print how well it tells
    #[arg(long)]
    pub calibrate: bool,
}

/// Everything is made anew in folders of its own, with default settings; the data folder is not
/// touched. The documents are those that `cargo xtask corpus` makes.
#[derive(Debug, Args)]
pub struct Bench {
    /// Which; all when none is named
    #[arg(value_enum, value_name = "NAME")]
    pub names: Vec<Benchmark>,
    /// Of how many measurements each figure is the median
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Folder of the documents [default: docent/corpus in the user's cache folder]
    #[arg(long, value_name = "FOLDER", env = "DOCENT_CORPUS_DIR")]
    pub corpus_dir: Option<PathBuf>,
    /// Folder of what is kept between runs [default: docent/bench in the user's cache folder]
    #[arg(long = "bench-dir", value_name = "FOLDER", env = "DOCENT_BENCH_DIR")]
    pub work_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// A streamed answer against llama.cpp's own loop
    Generation,
    /// A folder made searchable against embedding its passages alone
    Ingest,
    /// PDF pages until their words are searchable
    Words,
    /// A chat's second question against its first
    FollowUp,
    /// Search among 100,000 passages; the first run embeds them
    Retrieval,
    /// Comparing a tree of 200,000 files with what is known of it
    Folder,
    /// Real documents of every format against independent readers; not measured unless named
    Formats,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// A loopback address; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7466")]
    pub listen: SocketAddr,
    /// Secret of this start [default: made up and printed]
    #[arg(long, env = "DOCENT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Folder of the window's built pages [default: beside the program or in its source tree]
    #[arg(long, value_name = "FOLDER", env = "DOCENT_UI_DIR")]
    pub ui_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Models {
    /// Every known model, and what is here of it
    List,
    /// Bring models here and verify them; without any name the starter set
    #[command(group(ArgGroup::new("which").args(["ids", "starter", "tests"])))]
    Fetch {
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// The set that Docent needs to answer at all
        #[arg(long)]
        starter: bool,
        /// The starter set and what the tests need besides
        #[arg(long)]
        tests: bool,
    },
    /// Compare every byte of models with the catalog; without any name all that are here
    Verify {
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Put right what can be: derived data is rebuilt, rows are never deleted
    #[arg(long)]
    pub repair: bool,
}

#[derive(Debug, Subcommand)]
pub enum Workspaces {
    List,
    Create {
        name: String,
    },
    /// What embeds a workspace, and how its change to another embedder stands. Without an option
    /// nothing is changed
    Embedder(Embedder),
    /// Delete a workspace with its chats and everything derived from its documents. Files in
    /// watched folders are not touched
    Delete {
        /// Name or id
        name: String,
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

/// A change runs in whatever Docent has the data folder open: here it goes on until it is done or
/// interrupted, and next time from where it was. Questions are answered all the time.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each option, of which at most one is given"
)]
#[command(group(ArgGroup::new("what").args(["to", "pause", "resume", "cancel", "rollback", "discard"])))]
pub struct Embedder {
    /// Workspace, by name or id
    pub name: String,
    /// Say what it costs to change to this one; with --yes, do it
    #[arg(long, value_name = "ID")]
    pub to: Option<String>,
    /// Really
    #[arg(long, requires = "to")]
    pub yes: bool,
    /// Stop a change for a while
    #[arg(long)]
    pub pause: bool,
    /// Go on with a change
    #[arg(long)]
    pub resume: bool,
    /// Give a change up, and delete what was made for it
    #[arg(long)]
    pub cancel: bool,
    /// Go back to the embedder before, whose vectors are kept for a week
    #[arg(long)]
    pub rollback: bool,
    /// Delete the vectors of the embedder before
    #[arg(long)]
    pub discard: bool,
}

#[derive(Debug, Subcommand)]
pub enum Documents {
    /// List the documents with their status
    List {
        #[command(flatten)]
        workspace: InWorkspace,
        /// Only those in this status
        #[arg(long, value_parser = parse_status, value_name = "queued|reading|words|ready|failed|skipped")]
        status: Option<DocumentStatus>,
    },
    /// List what cannot be found, or not all of it, with what to do about it
    Problems {
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Remove documents from the searches, and their text from Docent's files. Their own files stay; a
    /// watched folder does not bring them back
    Remove {
        /// Their paths or ids, as `documents list` shows them
        #[arg(value_name = "DOCUMENT", required = true)]
        documents: Vec<String>,
        #[command(flatten)]
        workspace: InWorkspace,
    },
}

/// A folder is named by its path or its id. Patterns are written as in a .gitignore file, relative to
/// the folder: `*.pdf`, `/Reports/`, `**/drafts/*.md`.
#[derive(Debug, Subcommand)]
pub enum Folders {
    /// Every watched folder, and how it is
    List {
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Watch a folder, and wait until it is searchable
    Add {
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        #[command(flatten)]
        patterns: Patterns,
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Replace a folder's patterns (by none, with neither option), and wait until it follows them
    Patterns {
        #[arg(value_name = "FOLDER")]
        folder: String,
        #[command(flatten)]
        patterns: Patterns,
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Compare a folder with the disk now, and wait until what has changed is searchable
    Scan {
        #[arg(value_name = "FOLDER")]
        folder: String,
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Let a paused folder go on: what is gone from the disk leaves the workspace
    Resume {
        #[arg(value_name = "FOLDER")]
        folder: String,
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Stop watching a folder and forget its documents. Its files are not touched
    Remove {
        #[arg(value_name = "FOLDER")]
        folder: String,
        #[command(flatten)]
        workspace: InWorkspace,
    },
}

#[derive(Debug, Args)]
pub struct Patterns {
    /// Only files that this matches, or another --include
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// No files or folders that this matches
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// How far the work is, and its jobs: waiting ones in their order, others newest first
    List {
        #[command(flatten)]
        workspace: InWorkspace,
        /// Only those in this state
        #[arg(long, value_parser = parse_state, value_name = "queued|running|done|dead|cancelled")]
        state: Option<JobState>,
        /// Only those of this kind
        #[arg(long, value_parser = parse_kind, value_name = "read|embed|scan")]
        kind: Option<JobType>,
        /// How many at most; the counts above the list are of all
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Do no background work in the workspace until it is resumed
    Pause {
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Let the background work go on
    Resume {
        #[command(flatten)]
        workspace: InWorkspace,
    },
    /// Cancel a job, or all that wait or run; what was indexed before stays
    #[command(group(ArgGroup::new("what").args(["id", "all"]).required(true)))]
    Cancel {
        #[command(flatten)]
        workspace: InWorkspace,
        /// As `docent jobs list` shows it
        #[arg(value_name = "ID")]
        id: Option<JobId>,
        /// All that wait or run. What was indexed before stays
        #[arg(long)]
        all: bool,
    },
    /// Try a job again, or all that failed, or all that were cancelled
    #[command(group(ArgGroup::new("what").args(["id", "failed", "cancelled"]).required(true)))]
    Retry {
        #[command(flatten)]
        workspace: InWorkspace,
        /// As `docent jobs list` shows it
        #[arg(value_name = "ID")]
        id: Option<JobId>,
        /// All that were given up after their attempts
        #[arg(long)]
        failed: bool,
        /// All that were cancelled
        #[arg(long)]
        cancelled: bool,
    },
    /// Print what happened to every file: all documents and all jobs, with reasons
    Export {
        #[command(flatten)]
        workspace: InWorkspace,
        #[arg(long, value_enum, default_value_t)]
        format: ExportChoice,
        /// Write to this file instead
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportChoice {
    #[default]
    Csv,
    Json,
}

fn parse_state(text: &str) -> Result<JobState, String> {
    JobState::ALL
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| format!("there is no state {text:?}"))
}

fn parse_kind(text: &str) -> Result<JobType, String> {
    JobType::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("there is no kind {text:?}"))
}

fn parse_status(text: &str) -> Result<DocumentStatus, String> {
    DocumentStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| format!("there is no status {text:?}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_contract_with_scripts() {
        for line in [
            "docent ingest a b/ --workspace W",
            "docent --data-dir d --models-dir m --json ingest a --workspace W",
            "docent search Q --workspace W -k 10 --expand",
            "docent ask Q --workspace W --chat 01890a5d-ac96-774b-bcce-b302099a8057 --json",
            "docent eval f.jsonl --workspace W --retrieval-only --expand",
            "docent bench",
            "docent bench generation follow-up --rounds 1 --json",
            "docent serve --listen 127.0.0.1:0 --token T",
            "docent models list",
            "docent models fetch",
            "docent models fetch a b",
            "docent models fetch --starter",
            "docent models fetch --tests",
            "docent models verify",
            "docent doctor --repair",
            "docent workspaces create W",
            "docent workspaces embedder W",
            "docent workspaces embedder W --to bge-m3 --yes",
            "docent workspaces embedder W --resume --json",
            "docent documents list --workspace W --status failed",
            "docent folders list --workspace W",
            "docent folders add d --include *.pdf --include /a/ --exclude *.log --workspace W",
            "docent folders patterns d --exclude drafts/ --workspace W",
            "docent folders scan d",
            "docent folders resume d",
            "docent folders remove d",
            "docent jobs list --workspace W --state dead --kind read --json",
            "docent jobs pause --workspace W",
            "docent jobs resume --workspace W",
            "docent jobs cancel --all --workspace W",
            "docent jobs cancel 01890a5d-ac96-774b-bcce-b302099a8057 --workspace W",
            "docent jobs retry --failed --workspace W",
            "docent jobs retry --cancelled --workspace W",
            "docent jobs export --format csv --output f.csv --workspace W",
            "docent openapi",
        ] {
            if let Err(error) = Arguments::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "docent",
            "docent ingest",
            "docent search Q -k 0",
            "docent bench everything",
            "docent bench --rounds 0",
            "docent models fetch a --tests",
            "docent workspaces embedder W --to x --cancel",
            "docent workspaces embedder W --yes",
            "docent jobs cancel",
            "docent jobs retry",
            "docent jobs list --state lost",
        ] {
            assert!(
                Arguments::try_parse_from(line.split(' ')).is_err(),
                "{line}"
            );
        }
    }
}
