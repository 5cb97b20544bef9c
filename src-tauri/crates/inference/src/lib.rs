//! Generator, Embedder, Reranker; the model catalog and downloads.

pub mod worker;
