//! The docent binary.
