//! Tests of the whole crate through its public interface.

mod damage;
mod generations;
mod kill;
mod measure;
mod removal;
mod support;
mod vectors;
mod words;
