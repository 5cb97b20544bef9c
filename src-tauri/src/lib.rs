//! The desktop shell: one window over the API's router. Wiring only; what Docent does is in the
//! crates below, and this is the only code that names Tauri.

mod commands;
mod device_state;
mod opening;
pub mod tunnel;
