//! From files on disk to chunks: walks and watches folders, extracts text with positions, chunks.
//!
//! [`scan`] says what is there and [`FolderWatcher`] hints when to look again; [`Extractor`] reads
//! one file in a worker process with limits and returns its text as [`Extracted`]; [`chunk`] cuts
//! that into passages of a size that the embedder takes. Every position is a span of characters in
//! the extracted text, and a chunk's text is always the span's text, verbatim.
//!
//! Nothing here knows of workspaces, rows or jobs: the engine decides what is read when, and what
//! becomes of it.

mod characters;
mod chunker;
mod extract;
mod extracted;
mod extractor;
mod format;
mod hash;
mod patterns;
mod refusal;
mod scan;
mod sentences;
mod source;
mod watch;
mod wire;
pub mod worker;

pub use chunker::{ChunkOptions, Tokens, chunk};
pub use extract::ocr::{Grey, Recogniser, RecogniserMissing};
pub use extract::pdf::draw_page;
pub use extract::{Bounds, extract_here};
pub use extracted::{
    Block, BlockKind, Extracted, LineBox, PageKind, PageLayout, Turn, Warning, blocks_between,
    boxes_of,
};
pub use extractor::{ExtractError, ExtractLimits, Extractor};
pub use format::{Detection, HEAD_BYTES, SUPPORTED_EXTENSIONS, detect_format};
pub use hash::{hash_file, hash_stable};
pub use patterns::{PatternError, Patterns};
pub use refusal::Refusal;
pub use scan::{FoundFile, LeftOut, Scan, ScanError, ScanOptions, Seen, passes_over, scan, walk};
pub use source::{FileStamp, Inspection, inspect};
pub use watch::{FolderWatcher, Hint, HintCause, WatchedBy};
