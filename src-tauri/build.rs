//! Tells Tauri which commands exist, so that each needs a permission, and where these are given.

/// Every command of `src/commands.rs`. One that is missing here can't be invoked by any window.
const COMMANDS: &[&str] = &[
    "api_call",
    "api_read",
    "api_write",
    "api_cancel",
    "open_external",
    "save_text",
    "notify",
];

fn main() {
    // The built UI is embedded by a macro, which cargo can't see reading files.
    if std::env::var_os("CARGO_FEATURE_CUSTOM_PROTOCOL").is_some() {
        println!("cargo:rerun-if-changed=ui/dist");
    }
    tauri_build::try_build(
        tauri_build::Attributes::new()
            .app_manifest(tauri_build::AppManifest::new().commands(COMMANDS))
            .capabilities_path_pattern("src-tauri/capabilities/**/*"),
    )
    .expect("the desktop shell's configuration is wrong");
}
