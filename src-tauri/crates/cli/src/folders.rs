//! Where Docent keeps its things when nobody says otherwise.

use std::env;
use std::path::{Path, PathBuf};

/// `docent` in the folder that the system gives applications for a user's data.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    let home = || from("HOME").unwrap_or_else(env::temp_dir);
    let base = if cfg!(windows) {
        from("LOCALAPPDATA").unwrap_or_else(home)
    } else if cfg!(target_os = "macos") {
        home().join("Library/Application Support")
    } else {
        // The specification says that a relative path there is to be ignored.
        from("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| home().join(".local/share"))
    };
    base.join("docent")
}

/// Where `cargo xtask` keeps what is worth keeping between clones: `docent` in the user's cache
/// folder.
#[must_use]
pub fn default_cache_dir() -> PathBuf {
    let base = from("XDG_CACHE_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("docent")
}

fn from(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The models folder of a data folder. (`cargo xtask` names another one in `DOCENT_MODELS_DIR`, so
/// that clones of the source share their models.)
#[must_use]
pub fn default_models_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("models")
}

/// The window's built pages: beside the program, or in the source tree it was built in.
#[must_use]
pub fn find_ui_dir() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    program
        .ancestors()
        .skip(1)
        .take(4)
        .flat_map(|folder| [folder.join("ui"), folder.join("ui/dist")])
        // The source tree's own `ui` holds a page that only its build makes useful.
        .find(|folder| folder.join("index.html").is_file() && !folder.join("package.json").exists())
}
