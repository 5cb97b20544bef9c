//! Child processes of the same binary: framing, limits, supervision.
