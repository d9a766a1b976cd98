//! `ripstop._core`: what Python asks of the data core.
mod check;
mod plain;
mod snapshot;
mod told;

use pyo3::prelude::*;

/// The module. Each part stands in the file of its subject, and in `src/ripstop/_core.pyi`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::check::check;
    #[pymodule_export]
    use super::snapshot::{Fault, Snapshot};
    #[pymodule_export]
    use super::told::{
        EndpointShare, Fallback, Filter, Forward, Match, NearRule, Picks, Retry, Route, Rules, Unmet,
    };
}
