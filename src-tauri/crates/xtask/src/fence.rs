//! The dependency fence: who may depend on whom, and which crate a heavy dependency lives in.
//!
//! `ARCHITECTURE.md` says it in words; this is the list that fails. Test-only dependencies are free,
//! except that nothing but tests may depend on the testkit.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use walkdir::WalkDir;

use crate::repo::{Repo, output};

/// Each package of the workspace and the packages of ours it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("docent-domain", &[]),
    ("docent-worker", &[]),
    ("docent-secrets", &[]),
    ("docent-store", &["docent-domain"]),
    ("docent-index", &["docent-domain"]),
    ("docent-inference", &["docent-domain", "docent-worker"]),
    ("docent-ingest", &["docent-domain", "docent-worker"]),
    (
        "docent-engine",
        &[
            "docent-domain",
            "docent-worker",
            "docent-secrets",
            "docent-store",
            "docent-index",
            "docent-inference",
            "docent-ingest",
        ],
    ),
    ("docent-api", &["docent-domain", "docent-engine"]),
    (
        "docent-cli",
        &["docent-domain", "docent-engine", "docent-api"],
    ),
    // The window keeps its data where the command line looks for it.
    (
        "docent-desktop",
        &["docent-domain", "docent-engine", "docent-api", "docent-cli"],
    ),
    ("docent-testkit", &["docent-domain"]),
    ("docent-tests", &["docent-testkit"]),
    ("xtask", &[]),
];

/// Heavy dependencies and the only packages that may name them. A name that ends in `*` stands for
/// all that begin so.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["docent-store"]),
    ("heed", &["docent-index"]),
    ("arroy", &["docent-index"]),
    ("tantivy*", &["docent-index"]),
    ("llama-cpp*", &["docent-inference"]),
    ("fastembed", &["docent-inference"]),
    ("ort", &["docent-inference"]),
    ("tokenizers", &["docent-inference"]),
    ("notify", &["docent-ingest"]),
    ("pdfium*", &["docent-ingest"]),
    // It loads PDFium.
    ("libloading", &["docent-ingest"]),
    ("keyring", &["docent-secrets"]),
    // The window's tunnel carries the API's router, so the shell names its type.
    ("axum", &["docent-api", "docent-cli", "docent-desktop"]),
    ("tauri*", &["docent-desktop"]),
];

/// Folders of `ui/src` and what they may import. Features don't know each other; `app` and the
/// files beside it put everything together and may import all.
const UI_LAYERS: &[(&str, &[&str])] = &[
    ("platform", &[]),
    ("lib", &["platform"]),
    ("api", &["lib", "platform"]),
    ("components", &["lib"]),
    ("features", &["components", "api", "lib", "platform"]),
];

/// The one folder of the UI that may speak to the desktop.
const UI_DESKTOP: &str = "platform/tauri";

/// Fails with every dependency that crosses the fence.
pub fn check(repo: &Repo) -> Result<()> {
    let metadata = output(
        repo.cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"]),
    )?;
    let metadata = serde_json::from_str(&metadata).context("cargo's metadata")?;
    let mut crossings = crate_crossings(&metadata);
    crossings.extend(ui_crossings(&repo.ui().join("src"))?);
    if crossings.is_empty() {
        return Ok(());
    }
    bail!(
        "dependencies cross the fence:\n  {}",
        crossings.join("\n  ")
    )
}

fn crate_crossings(metadata: &Value) -> Vec<String> {
    let mut crossings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, below)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            crossings.push(format!("{name} has no place in the fence's list of layers"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let wanted = dependency["name"].as_str().unwrap_or_default();
            let only_tests = dependency["kind"] == "dev";
            if only_tests {
                continue;
            }
            let ours = LAYERS.iter().any(|(layer, _)| *layer == wanted);
            if ours && !below.contains(&wanted) {
                crossings.push(format!("{name} depends on {wanted}"));
            }
            let home = HOMES.iter().find(|(heavy, _)| matches_name(heavy, wanted));
            if let Some((_, homes)) = home
                && !homes.contains(&name)
            {
                crossings.push(format!(
                    "{name} depends on {wanted}, which lives in {}",
                    homes.join(", ")
                ));
            }
        }
    }
    crossings
}

fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

fn ui_crossings(sources: &Path) -> Result<Vec<String>> {
    let mut crossings = Vec::new();
    for entry in WalkDir::new(sources).sort_by_file_name() {
        let path = entry?.into_path();
        if !path
            .extension()
            .is_some_and(|extension| extension == "ts" || extension == "tsx")
        {
            continue;
        }
        let from = path.strip_prefix(sources).unwrap_or(&path).to_owned();
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for import in imports(&text) {
            if let Some(crossing) = ui_crossing(&from, import) {
                crossings.push(crossing);
            }
        }
    }
    Ok(crossings)
}

fn ui_crossing(from: &Path, import: &str) -> Option<String> {
    let shown = format!("ui/src/{} imports {import}", from.display());
    if import.starts_with("@tauri-apps/") {
        return (!from.starts_with(UI_DESKTOP)).then(|| format!("{shown}; only {UI_DESKTOP} may"));
    }
    if !import.starts_with('.') {
        return None;
    }
    let to = resolve(from.parent().unwrap_or(Path::new("")), import);
    let (layer, target) = (first(from), first(&to));
    let (_, below) = UI_LAYERS.iter().find(|(name, _)| *name == layer)?;
    if layer == target {
        let feature = |path: &Path| {
            path.components()
                .nth(1)
                .map(|part| part.as_os_str().to_owned())
        };
        let other_feature = layer == "features" && feature(from) != feature(&to);
        return other_feature.then(|| format!("{shown}; features do not know each other"));
    }
    (!below.contains(&target.as_str())).then(|| format!("{shown}; {layer} stands below {target}"))
}

fn first(path: &Path) -> String {
    path.components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn resolve(folder: &Path, import: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in Path::new(import).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The module names in `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    ["from ", "import ", "import("]
        .into_iter()
        .flat_map(move |keyword| {
            text.match_indices(keyword).filter_map(move |(at, _)| {
                let rest = text[at + keyword.len()..].trim_start();
                let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
                rest[1..].split(quote).next()
            })
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    fn crossings_of(package: &Value) -> usize {
        crate_crossings(&json!({ "packages": [package] })).len()
    }

    #[test]
    fn dependencies_point_one_way() {
        assert_eq!(
            crossings_of(&package("docent-api", &[("docent-engine", None)])),
            0
        );
        assert_eq!(
            crossings_of(&package("docent-engine", &[("docent-api", None)])),
            1
        );
        assert_eq!(
            crossings_of(&package("docent-store", &[("docent-index", None)])),
            1
        );
        assert_eq!(
            crossings_of(&package("docent-store", &[("docent-testkit", Some("dev"))])),
            0
        );
        assert_eq!(
            crossings_of(&package("docent-store", &[("docent-testkit", None)])),
            1
        );
        assert_eq!(crossings_of(&package("docent-newcomer", &[])), 1);
    }

    #[test]
    fn a_heavy_dependency_stays_in_its_crate() {
        assert_eq!(crossings_of(&package("docent-store", &[("sqlx", None)])), 0);
        assert_eq!(
            crossings_of(&package("docent-engine", &[("sqlx", None)])),
            1
        );
        assert_eq!(
            crossings_of(&package("docent-engine", &[("llama-cpp-sys-2", None)])),
            1
        );
        assert_eq!(
            crossings_of(&package("docent-engine", &[("tauri-plugin-sql", None)])),
            1
        );
        assert_eq!(
            crossings_of(&package(
                "docent-desktop",
                &[("tauri-build", Some("build"))]
            )),
            0
        );
        assert_eq!(
            crossings_of(&package("docent-engine", &[("axum", Some("dev"))])),
            0
        );
    }

    #[test]
    fn every_form_of_import_is_seen() {
        let text = "import a from './a'\nexport { b } from \"../b\"\nimport 'c.css'\n\
                    const d = await import('d')\n} from '@tauri-apps/api/core'\n";
        let mut found: Vec<_> = imports(text).collect();
        found.sort_unstable();
        assert_eq!(found, ["../b", "./a", "@tauri-apps/api/core", "c.css", "d"]);
    }

    #[test]
    fn the_ui_is_layered() {
        let crosses = |from: &str, import: &str| ui_crossing(Path::new(from), import).is_some();
        assert!(!crosses(
            "features/chat/ChatView.tsx",
            "../../components/Button"
        ));
        assert!(!crosses("features/chat/ChatView.tsx", "./Composer"));
        assert!(!crosses("app/App.tsx", "../features/chat/ChatView"));
        assert!(!crosses("main.tsx", "./app/App"));
        assert!(!crosses("platform/tauri/index.ts", "@tauri-apps/api/core"));
        assert!(!crosses("components/Button.tsx", "react"));
        assert!(crosses(
            "features/chat/ChatView.tsx",
            "../documents/DocumentsView"
        ));
        assert!(crosses("features/chat/ChatView.tsx", "../../app/router"));
        assert!(crosses("components/Button.tsx", "../api/client"));
        assert!(crosses("lib/paths.ts", "../components/Button"));
        assert!(crosses("lib/paths.ts", "@tauri-apps/api/core"));
        assert!(crosses("platform/http.ts", "@tauri-apps/api/core"));
    }
}
