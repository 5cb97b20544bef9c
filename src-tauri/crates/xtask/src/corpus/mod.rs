//! Public documents for tests and benchmarks, taken from Debian packages into the cache:
//!
//! - `help/{en,hr}/*.html`: the GNOME and administrator's help, one file a page, in both languages;
//! - `known-item/{en,hr}/*.html`: the same pages without description and without the title in the
//!   text, and `known-item/{question}-{documents}.jsonl`: each page's description as the question
//!   whose answer is that page;
//! - `translations/{language}/*.html`: the help pages in all other languages there are, for bulk;
//! - `manuals/*.pdf` and the same or similar manuals as text, HTML and EPUB;
//! - `natural/{en,hr,manuals}`: the help pages and some of the manuals, under the paths that
//!   `tests/corpora/questions.jsonl` expects. They are links to the files above.

pub mod formats;
mod mallard;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use walkdir::WalkDir;

use crate::repo::{Repo, run, succeeds};
use mallard::{Entry, Page};

/// The packages, all documentation under free licences (CC-BY-SA, GPL).
const PACKAGES: &[&str] = &[
    "gnome-user-docs",
    "debian-policy",
    "developers-reference",
    "r-doc-pdf",
];

/// Bumped whenever the converted files change, so that an older cache is made again.
const LAYOUT: &str = "3";

/// Languages of the help: ours, and the folder they have in the package.
const LANGUAGES: [(&str, &str); 2] = [("en", "C"), ("hr", "hr")];

const GUIDES: [&str; 2] = ["gnome-help", "system-admin-guide"];

/// The manuals that `tests/corpora/questions.jsonl` asks about and those around them: the name under
/// `manuals`, and the path under `natural/manuals`.
const NATURAL_MANUALS: [(&str, &str); 14] = [
    ("r-doc-pdf-R-FAQ.pdf", "R-FAQ.pdf"),
    ("r-doc-pdf-R-admin.pdf", "R-admin.pdf"),
    ("r-doc-pdf-R-data.pdf", "R-data.pdf"),
    ("r-doc-pdf-R-intro.pdf", "R-intro.pdf"),
    ("debian-policy-policy.pdf", "policy.pdf"),
    (
        "developers-reference-developers-reference-best-pkging-practices.html",
        "developers-reference/best-pkging-practices.html",
    ),
    (
        "developers-reference-developers-reference-beyond-pkging.html",
        "developers-reference/beyond-pkging.html",
    ),
    (
        "developers-reference-developers-reference-developer-duties.html",
        "developers-reference/developer-duties.html",
    ),
    (
        "developers-reference-developers-reference-l10n.html",
        "developers-reference/l10n.html",
    ),
    (
        "developers-reference-developers-reference-new-maintainer.html",
        "developers-reference/new-maintainer.html",
    ),
    (
        "developers-reference-developers-reference-pkgs.html",
        "developers-reference/pkgs.html",
    ),
    (
        "developers-reference-developers-reference-resources.html",
        "developers-reference/resources.html",
    ),
    (
        "developers-reference-developers-reference-scope.html",
        "developers-reference/scope.html",
    ),
    (
        "developers-reference-developers-reference-tools.html",
        "developers-reference/tools.html",
    ),
];

/// `cargo xtask corpus`.
pub fn command(repo: &Repo, with_formats: bool) -> Result<()> {
    fetch(repo)?;
    if with_formats {
        formats::fetch(repo)?;
    }
    println!("The corpus is in {}", repo.corpus_dir().display());
    Ok(())
}

/// Makes the corpus unless it is there.
pub fn fetch(repo: &Repo) -> Result<()> {
    let corpus = repo.corpus_dir();
    let made = corpus.join("made");
    if fs::read_to_string(&made).is_ok_and(|layout| layout == LAYOUT) {
        return Ok(());
    }
    let packages = corpus.join("packages");
    fs::create_dir_all(&packages)?;
    for package in PACKAGES {
        unpack(repo, &packages, package)?;
    }
    let pages = packages.join("gnome-user-docs/usr/share/help");
    help(&pages, &corpus)?;
    translations(&pages, &corpus.join("translations"))?;
    manuals(repo, &packages, &corpus.join("manuals"))?;
    natural(&corpus)?;
    fs::write(made, LAYOUT)?;
    Ok(())
}

fn unpack(repo: &Repo, packages: &Path, package: &str) -> Result<()> {
    let folder = packages.join(package);
    if folder.is_dir() {
        return Ok(());
    }
    let find = || -> Result<Option<PathBuf>> {
        let prefix = format!("{package}_");
        for entry in fs::read_dir(packages)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".deb") {
                return Ok(Some(packages.join(&*name)));
            }
        }
        Ok(None)
    };
    if find()?.is_none() {
        ensure!(
            succeeds(repo.command("apt-get").arg("--version")),
            "the test corpus comes from Debian packages, and there is no apt-get here; download \
             {} for Debian 12 into {} and run this again",
            PACKAGES.join(", "),
            packages.display()
        );
        run(repo
            .command("apt-get")
            .current_dir(packages)
            .args(["download", "-q", package]))?;
    }
    let file = find()?.with_context(|| format!("apt-get downloaded no {package}"))?;
    let partial = packages.join(format!("{package}.partial"));
    run(repo.command("dpkg-deb").arg("-x").arg(file).arg(&partial))?;
    fs::rename(partial, folder)?;
    Ok(())
}

/// Converts the help pages and makes the known-item sets.
fn help(source: &Path, corpus: &Path) -> Result<()> {
    let mut sets = Vec::new();
    for (language, folder) in LANGUAGES {
        let pages = pages(&source.join(folder))?;
        let shown = corpus.join("help").join(language);
        let known = corpus.join("known-item").join(language);
        fs::create_dir_all(&shown)?;
        fs::create_dir_all(&known)?;
        for (name, page) in &pages {
            fs::write(shown.join(name), page.html(language))?;
            fs::write(known.join(name), page.html_without_description(language))?;
        }
        println!("{} help pages in {language}", pages.len());
        sets.push((language, pages));
    }

    // A page counts when both languages describe it. A book's front page describes the book.
    let described = |pages: &[(String, Page)]| -> BTreeSet<String> {
        pages
            .iter()
            .filter(|(name, page)| !page.description.is_empty() && !name.ends_with("index.html"))
            .map(|(name, _)| name.clone())
            .collect()
    };
    let shared: BTreeSet<String> = described(&sets[0].1)
        .intersection(&described(&sets[1].1))
        .cloned()
        .collect();
    println!("{} questions for each direction", shared.len());
    for (asked, pages) in &sets {
        for (searched, _) in &sets {
            let mut lines = String::new();
            for (name, page) in pages.iter().filter(|(name, _)| shared.contains(name)) {
                let line = json!({
                    "id": format!("{asked}-{searched}-{}", name.trim_end_matches(".html")),
                    "question": page.description,
                    "language": asked,
                    "answerable": true,
                    "expected": [{ "path": format!("{searched}/{name}") }],
                });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            fs::write(
                corpus
                    .join("known-item")
                    .join(format!("{asked}-{searched}.jsonl")),
                lines,
            )?;
        }
    }
    Ok(())
}

/// Converts the help pages of the languages that are not ours.
fn translations(source: &Path, translations: &Path) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if LANGUAGES.iter().any(|(_, folder)| *folder == name) {
            continue;
        }
        let folder = translations.join(&name);
        fs::create_dir_all(&folder)?;
        let pages = pages(&source.join(&name))?;
        for (file, page) in &pages {
            fs::write(folder.join(file), page.html(&name))?;
        }
        println!("{} help pages in {name}", pages.len());
    }
    Ok(())
}

/// All pages of a language by the file name they get, sorted.
fn pages(folder: &Path) -> Result<Vec<(String, Page)>> {
    let mut pages: Vec<(String, Page)> = Vec::new();
    for guide in GUIDES {
        let folder = folder.join(guide);
        // Some languages have the one guide and not the other.
        if !folder.is_dir() {
            continue;
        }
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .with_context(|| format!("reading {}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "page")
        });
        files.sort();
        let entries = files
            .iter()
            .map(|file| Entry::parse(stem(file), &fs::read_to_string(file)?))
            .collect::<Result<Vec<_>>>()?;
        for file in files {
            let xml = fs::read_to_string(&file)?;
            let page = Page::parse(&stem(&file), &xml, &entries)
                .with_context(|| format!("converting {}", file.display()))?;
            let mut name = format!("{}.html", stem(&file));
            if pages.iter().any(|(taken, _)| *taken == name) {
                name = format!("{guide}-{name}");
            }
            pages.push((name, page));
        }
    }
    if pages.is_empty() {
        bail!("{} holds no help pages", folder.display());
    }
    pages.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pages)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Collects the manuals, unpacking what Debian compresses.
fn manuals(repo: &Repo, packages: &Path, manuals: &Path) -> Result<()> {
    fs::create_dir_all(manuals)?;
    let mut count = 0;
    for package in PACKAGES
        .iter()
        .filter(|package| **package != "gnome-user-docs")
    {
        for entry in WalkDir::new(packages.join(package)).sort_by_file_name() {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // `refman.pdf` is the same file as `fullrefman.pdf`; notes about a package aren't manuals.
            let wanted = entry.file_type().is_file()
                && name != "refman.pdf"
                && !name.starts_with("README")
                && !name.starts_with("changelog")
                && !matches!(&*name, "copyright" | "search.html" | "genindex.html")
                && !path.components().any(|part| {
                    matches!(
                        part.as_os_str().to_str(),
                        Some("_sources" | "_static" | "_images")
                    )
                });
            let plain = name.trim_end_matches(".gz");
            let extension = Path::new(plain)
                .extension()
                .and_then(|extension| extension.to_str());
            if !wanted || !matches!(extension, Some("pdf" | "txt" | "html" | "epub")) {
                continue;
            }
            // Many files of a manual split into pages have names such as `index.html`.
            let parent = stem(path.parent().unwrap_or(path));
            let unique = match extension {
                Some("html") => format!("{package}-{parent}-{plain}"),
                _ => format!("{package}-{plain}"),
            };
            let target = manuals.join(unique);
            if plain == name {
                fs::copy(path, target)?;
            } else {
                let text = repo.command("gzip").arg("-dc").arg(path).output()?;
                ensure!(
                    text.status.success(),
                    "gzip could not unpack {}",
                    path.display()
                );
                fs::write(target, text.stdout)?;
            }
            count += 1;
        }
    }
    println!("{count} files of manuals");
    Ok(())
}

/// Links the corpus of the natural questions together. It replaces an older one in one step, so that
/// a half of it is never read.
fn natural(corpus: &Path) -> Result<()> {
    let partial = corpus.join("natural.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    for (language, _) in LANGUAGES {
        let help = corpus.join("help").join(language);
        for page in fs::read_dir(&help).with_context(|| format!("reading {}", help.display()))? {
            let page = page?;
            link(&page.path(), &partial.join(language).join(page.file_name()))?;
        }
    }
    for (manual, path) in NATURAL_MANUALS {
        link(
            &corpus.join("manuals").join(manual),
            &partial.join("manuals").join(path),
        )?;
    }
    let natural = corpus.join("natural");
    if natural.exists() {
        fs::remove_dir_all(&natural)?;
    }
    fs::rename(partial, natural)?;
    Ok(())
}

/// A second name for a file; a copy where the file system has no links.
fn link(file: &Path, name: &Path) -> Result<()> {
    if let Some(folder) = name.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::hard_link(file, name).is_err() {
        fs::copy(file, name)
            .with_context(|| format!("copying {} to {}", file.display(), name.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_natural_corpus_holds_every_manual_that_is_asked_about() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpora/questions.jsonl");
        let help = LANGUAGES.map(|(language, _)| language);
        let mut asked = BTreeSet::new();
        for line in fs::read_to_string(file).unwrap().lines() {
            let question: Value = serde_json::from_str(line).unwrap();
            for expected in question["expected"].as_array().unwrap() {
                let path = Path::new(expected["path"].as_str().unwrap());
                if !help.iter().any(|language| path.starts_with(language)) {
                    asked.insert(path.to_owned());
                }
            }
        }
        assert!(asked.len() >= 9, "{asked:?}");
        for path in asked {
            assert!(
                NATURAL_MANUALS
                    .iter()
                    .any(|(_, natural)| Path::new(natural) == path),
                "{} is asked about and not made",
                path.display()
            );
        }
    }

    #[test]
    fn an_older_natural_corpus_is_replaced() {
        let corpus = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = corpus.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (language, _) in LANGUAGES {
            write(&format!("help/{language}/page.html"), language);
        }
        for (manual, _) in NATURAL_MANUALS {
            write(&format!("manuals/{manual}"), manual);
        }
        write("natural/en/gone.html", "of an older layout");
        write(
            "natural.partial/en/half.html",
            "of a run that was cut short",
        );

        natural(corpus.path()).unwrap();
        let read = |path: &str| fs::read_to_string(corpus.path().join("natural").join(path));
        assert_eq!(read("hr/page.html").unwrap(), "hr");
        for (manual, path) in NATURAL_MANUALS {
            assert_eq!(read(&format!("manuals/{path}")).unwrap(), manual);
        }
        assert!(read("en/gone.html").is_err());
        assert!(read("en/half.html").is_err());
        assert!(!corpus.path().join("natural.partial").exists());
    }
}
