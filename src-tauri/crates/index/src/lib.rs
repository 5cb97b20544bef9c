//! Vectors and words of one workspace: LMDB with arroy, one-bit codes, tantivy.
