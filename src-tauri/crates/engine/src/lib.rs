//! The use-cases of Docent.

pub mod worker;
