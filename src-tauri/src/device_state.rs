//! `ui.db`: what a window remembers on this machine (drafts, layout, recent searches).
//!
//! tauri-plugin-sql serves it. Workspace data lives in other files, and the plugin alone would let
//! a page reach them: `load` takes any path, and `ATTACH` or `VACUUM INTO` work through `select` and
//! `execute`. [`DeviceState`] stands in front of the plugin and lets pass only single statements on
//! rows of this one database.

use serde_json::Value;
use tauri::ipc::{Invoke, InvokeBody};
use tauri::plugin::{Plugin, TauriPlugin};
use tauri::{AppHandle, RunEvent, Runtime};
use tauri_plugin_sql::{Migration, MigrationKind, PluginConfig};

/// The database's name in the page; the file lies in the application's configuration folder.
pub const DATABASE: &str = "sqlite:ui.db";

/// The SQL plugin with its reach cut down to [`DATABASE`].
pub struct DeviceState<R: Runtime> {
    sql: TauriPlugin<R, Option<PluginConfig>>,
}

impl<R: Runtime> DeviceState<R> {
    pub fn new() -> Self {
        let migrations = vec![Migration {
            version: 1,
            description: "what the window remembers, by key",
            sql: "CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;",
            kind: MigrationKind::Up,
        }];
        Self {
            sql: tauri_plugin_sql::Builder::new()
                .add_migrations(DATABASE, migrations)
                .build(),
        }
    }
}

impl<R: Runtime> Plugin<R> for DeviceState<R> {
    fn name(&self) -> &'static str {
        self.sql.name()
    }

    fn initialize(
        &mut self,
        app: &AppHandle<R>,
        config: Value,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.sql.initialize(app, config)
    }

    fn on_event(&mut self, app: &AppHandle<R>, event: &RunEvent) {
        self.sql.on_event(app, event);
    }

    fn extend_api(&mut self, invoke: Invoke<R>) -> bool {
        match refusal(invoke.message.command(), invoke.message.payload()) {
            None => self.sql.extend_api(invoke),
            Some(reason) => {
                invoke.resolver.reject(reason);
                true
            }
        }
    }
}

fn refusal(command: &str, payload: &InvokeBody) -> Option<&'static str> {
    let InvokeBody::Json(arguments) = payload else {
        return Some("the arguments must be JSON");
    };
    if arguments.get("db").and_then(Value::as_str) != Some(DATABASE) {
        return Some("only the window's own database may be used");
    }
    match command {
        "load" => None,
        "select" | "execute" => {
            let query = arguments
                .get("query")
                .and_then(Value::as_str)
                .unwrap_or_default();
            (!is_row_statement(query)).then_some("only one statement on rows may be run")
        }
        _ => Some("this is not offered to windows"),
    }
}

/// Whether the text is one statement that reads or writes rows. Values belong into parameters, so
/// a semicolon inside a string literal isn't worth a parser.
fn is_row_statement(query: &str) -> bool {
    let query = query.trim().trim_end_matches(';');
    let verb = query
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let verbs = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    verbs
        .iter()
        .any(|allowed| verb.eq_ignore_ascii_case(allowed))
        && !query.contains(';')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(command: &str, arguments: Value) -> bool {
        refusal(command, &InvokeBody::Json(arguments)).is_some()
    }

    #[test]
    fn the_window_works_on_its_rows() {
        assert!(!refused("load", json!({ "db": DATABASE })));
        for query in [
            "SELECT value FROM state WHERE key = $1",
            "insert into state (key, value) values ($1, $2)
             on conflict (key) do update set value = excluded.value;",
            "DELETE FROM state WHERE key = $1",
        ] {
            assert!(
                !refused("select", json!({ "db": DATABASE, "query": query })),
                "{query}"
            );
            assert!(
                !refused("execute", json!({ "db": DATABASE, "query": query })),
                "{query}"
            );
        }
    }

    #[test]
    fn no_other_file_is_within_its_reach() {
        for db in [
            "sqlite:docent.db",
            "sqlite:/home/someone/docent.db",
            "sqlite:ui.db?x",
            "",
        ] {
            assert!(refused("load", json!({ "db": db })), "{db}");
            assert!(
                refused("select", json!({ "db": db, "query": "SELECT 1" })),
                "{db}"
            );
        }
        for query in [
            "ATTACH DATABASE '/home/someone/docent.db' AS d",
            "attach 'x' as d",
            "VACUUM INTO '/tmp/copy.db'",
            "PRAGMA writable_schema = 1",
            "SELECT 1; ATTACH 'x' AS d",
            "/* */ ATTACH 'x' AS d",
            "-- a\nATTACH 'x' AS d",
            "DROP TABLE state",
            "WITH x AS (SELECT 1) DELETE FROM state",
            "",
        ] {
            assert!(
                refused("select", json!({ "db": DATABASE, "query": query })),
                "{query}"
            );
            assert!(
                refused("execute", json!({ "db": DATABASE, "query": query })),
                "{query}"
            );
        }
        assert!(refused("close", json!({ "db": DATABASE })));
        assert!(refused("close", json!({})));
    }
}
