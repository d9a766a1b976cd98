//! Results of the core as frozen Python classes, written down once: attributes, `as_dict()`, `repr()`.
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use ripstop_core::snapshot::{Metadata, MetadataValue};
use std::collections::HashMap;
use std::sync::Arc;

/// What a value of the core is in a Python class.
pub trait Plain {
    /// The type of the attribute.
    type Out;
    /// Turn it into that.
    fn plain(self) -> Self::Out;
}

/// What an attribute is in `as_dict()`: something that JSON has.
pub trait Show {
    /// The value.
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

macro_rules! scalars {
    ($($type:ty),*) => {$(
        impl Plain for $type {
            type Out = $type;
            fn plain(self) -> $type { self }
        }
        impl Show for $type {
            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.into_pyobject(py)?.to_owned().into_any())
            }
        }
    )*};
}
scalars!(bool, u16, u32, u64, usize, f64, String);

macro_rules! texts {
    ($($type:ty),*) => {$(
        impl Plain for $type {
            type Out = String;
            fn plain(self) -> String { (*self).to_owned() }
        }
    )*};
}
texts!(&'static str, Arc<str>);

impl<T: Plain> Plain for Option<T> {
    type Out = Option<T::Out>;
    fn plain(self) -> Self::Out {
        self.map(Plain::plain)
    }
}

impl<T: Plain> Plain for Vec<T> {
    type Out = Vec<T::Out>;
    fn plain(self) -> Self::Out {
        self.into_iter().map(Plain::plain).collect()
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    type Out = (A::Out, B::Out);
    fn plain(self) -> Self::Out {
        (self.0.plain(), self.1.plain())
    }
}

impl<T: Show> Show for Option<T> {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.as_ref().map_or_else(|| Ok(py.None().into_bound(py)), |value| value.show(py))
    }
}

impl<T: Show> Show for Vec<T> {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shown = self.iter().map(|value| value.show(py)).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, shown)?.into_any())
    }
}

impl<A: Show, B: Show> Show for (A, B) {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, [self.0.show(py)?, self.1.show(py)?])?.into_any())
    }
}

/// `filter_metadata` as a dict of dicts.
#[derive(Clone, Debug)]
pub struct Meta(Metadata);

impl Plain for Metadata {
    type Out = Meta;
    fn plain(self) -> Meta {
        Meta(self)
    }
}

impl Show for Meta {
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let made = PyDict::new(py);
        for (filter, fields) in sorted(&self.0.0) {
            made.set_item(filter, dict(py, fields)?)?;
        }
        Ok(made.into_any())
    }
}

impl<'py> IntoPyObject<'py> for Meta {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;
    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.show(py)
    }
}

fn shown<'py>(py: Python<'py>, value: &MetadataValue) -> PyResult<Bound<'py, PyAny>> {
    match value {
        MetadataValue::Null => Ok(py.None().into_bound(py)),
        MetadataValue::Bool(value) => value.show(py),
        MetadataValue::Number(value) => value.show(py),
        MetadataValue::Text(value) => value.show(py),
        MetadataValue::List(values) => {
            let values = values.iter().map(|value| shown(py, value)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, values)?.into_any())
        }
        MetadataValue::Struct(fields) => Ok(dict(py, fields)?.into_any()),
    }
}

fn dict<'py>(py: Python<'py>, fields: &HashMap<String, MetadataValue>) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    for (key, value) in sorted(fields) {
        made.set_item(key, shown(py, value)?)?;
    }
    Ok(made)
}

/// Equal metadata is to look equal.
fn sorted<T>(fields: &HashMap<String, T>) -> Vec<(&String, &T)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| *key);
    fields
}

/// A frozen class of a struct of the core, field by field.
macro_rules! plain {
    ($(#[doc = $doc:literal])* $name:ident from $core:ty { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[doc = $doc])*
        #[pyclass(frozen, get_all, module = "ripstop._core", skip_from_py_object)]
        #[derive(Clone, Debug)]
        pub struct $name { $($field: $type),* }

        #[pymethods]
        impl $name {
            /// Everything as JSON has it.
            fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let made = PyDict::new(py);
                $(made.set_item(stringify!($field), self.$field.show(py)?)?;)*
                Ok(made)
            }

            fn __repr__(&self) -> String {
                format!("{self:?}")
            }
        }

        impl Plain for $core {
            type Out = $name;
            fn plain(self) -> $name {
                $name { $($field: self.$field.plain()),* }
            }
        }

        impl Show for $name {
            fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.as_dict(py)?.into_any())
            }
        }
    };
}
pub(crate) use plain;
