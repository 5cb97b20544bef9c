//! Secrets in the system's key store, with a file fallback.
