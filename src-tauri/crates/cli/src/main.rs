//! The `docent` binary.

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("worker"), Some(role)) => docent_engine::worker::run(&role),
        _ => Err(std::io::Error::other("usage: docent worker ROLE")),
    }
}
