//! Relational rows, the truth: SQLite behind workspace-scoped methods.
