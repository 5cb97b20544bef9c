//! Walks and watches folders, extracts text with positions, chunks.

pub mod worker;
