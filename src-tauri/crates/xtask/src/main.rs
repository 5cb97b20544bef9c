//! Set-up, tests, benchmarks and code generation.
fn main() {}
