//! Extraction from real files, in this process and in the worker; watching of real folders.

mod bad_input;
mod docx;
mod email;
mod epub;
mod extractor;
mod fixtures;
mod ocr;
mod odt;
mod pdf;
mod pictures;
mod pptx;
mod seeds;
mod spreadsheets;
mod watch;
