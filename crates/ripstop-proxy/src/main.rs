//! `ripstop-proxy --config FILE`: the native data plane.
fn main() {}
