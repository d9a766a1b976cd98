//! `ripstop._core`: what Python asks of the data core.
mod check;

use pyo3::prelude::*;

/// The module. Each function stands in the file of its subject, and in `src/ripstop/_core.pyi`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::check::check;
}
