//! What all decoding is done with: the path to where we are, the faults found so far, and the small checks.
use super::{Fault, Files, Refused, version_of};
use prost::{Message, Name};
use prost_types::Any;
use std::collections::BTreeMap;
use std::time::Duration;

/// More are not told: a NACK has to fit into a message.
const MAX_FAULTS: usize = 64;

/// The longest duration there is (google.protobuf.Duration).
const MAX_SECONDS: i64 = 315_576_000_000;

/// Where decoding is, and what was wrong so far.
pub(super) struct Reader<'a> {
    resource: String,
    path: String,
    faults: Vec<Fault>,
    pub(super) files: &'a dyn Files,
}

/// Refuse each of these fields that is set.
macro_rules! refuse {
    ($reader:expr, $($field:ident),+ $(,)?) => {{ $($reader.refuse(stringify!($field), &$field);)+ }};
}

/// Refuse each of these `BoolValue`s that is true; `false` said aloud is what happens anyway.
macro_rules! refuse_true {
    ($reader:expr, $($field:ident),+ $(,)?) => {{
        $($reader.refuse(stringify!($field), &$field.unwrap_or(false));)+
    }};
}

/// These fields are read past, for a reason.
macro_rules! ignore {
    ($reason:literal, $($field:ident),+ $(,)?) => {{ let _: &str = $reason; $(let _ = &$field;)+ }};
}

impl<'a> Reader<'a> {
    /// Read a whole resource: parse `bytes`, decode, and give either the result or every fault.
    pub(super) fn resource<M: Message + Default, T>(
        bytes: &[u8],
        files: &'a dyn Files,
        name: impl FnOnce(&M) -> &str,
        decode: impl FnOnce(&mut Reader<'a>, M, u64) -> Option<T>,
    ) -> Result<T, Refused> {
        let mut reader = Reader { resource: String::new(), path: String::new(), faults: Vec::new(), files };
        let message = match M::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                reader.fault(format!("is not a protobuf message of this type: {error}"));
                return Err(Refused { resource: "(unreadable)".to_owned(), faults: reader.faults });
            }
        };
        name(&message).clone_into(&mut reader.resource);
        let made = decode(&mut reader, message, version_of(bytes));
        match made {
            Some(made) if reader.faults.is_empty() => Ok(made),
            _ => {
                if reader.faults.is_empty() {
                    reader.fault("cannot be read");
                }
                Err(Refused { resource: reader.resource, faults: reader.faults })
            }
        }
    }

    /// The resource and the path within it: no two places have the same one.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.resource, self.path)
    }

    /// Something is wrong with what is read now.
    pub(super) fn fault(&mut self, problem: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { path: self.path.clone(), problem: problem.into() });
        }
    }

    /// Something is wrong with a field of what is read now.
    pub(super) fn fault_at(&mut self, field: &str, problem: impl Into<String>) {
        self.at(field, |reader| reader.fault(problem));
    }

    /// Go into a field.
    pub(super) fn at<T>(&mut self, field: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(field.strip_prefix("r#").unwrap_or(field));
        let made = decode(self);
        self.path.truncate(before);
        made
    }

    /// Go into each of a repeated field; those with faults are left out.
    pub(super) fn each<I, T>(
        &mut self,
        field: &str,
        items: impl IntoIterator<Item = I>,
        mut decode: impl FnMut(&mut Self, I) -> Option<T>,
    ) -> Vec<T> {
        let mut made = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            made.extend(self.at(&format!("{field}[{index}]"), |reader| decode(reader, item)));
        }
        made
    }

    /// Go into each entry of a map.
    pub(super) fn entries<V, T>(
        &mut self,
        field: &str,
        items: BTreeMap<String, V>,
        mut decode: impl FnMut(&mut Self, &str, V) -> Option<T>,
    ) -> Vec<(String, T)> {
        let mut made = Vec::new();
        for (key, value) in items {
            let found = self.at(&format!("{field}[{key}]"), |reader| decode(reader, &key, value));
            made.extend(found.map(|found| (key, found)));
        }
        made
    }

    /// Go into a field that must be there.
    pub(super) fn required<I, T>(
        &mut self,
        field: &str,
        value: Option<I>,
        decode: impl FnOnce(&mut Self, I) -> Option<T>,
    ) -> Option<T> {
        match value {
            Some(value) => self.at(field, |reader| decode(reader, value)),
            None => {
                self.fault_at(field, "is required");
                None
            }
        }
    }

    /// Go into a field that may be missing.
    pub(super) fn optional<I, T>(
        &mut self,
        field: &str,
        value: Option<I>,
        decode: impl FnOnce(&mut Self, I) -> Option<T>,
    ) -> Option<T> {
        self.at(field, |reader| value.and_then(|value| decode(reader, value)))
    }

    /// A field that nothing here does: a fault when it is set.
    pub(super) fn refuse(&mut self, field: &str, value: &impl IsSet) {
        if value.is_set() {
            self.fault_at(field, "is not supported");
        }
    }

    /// A text that must not be empty.
    pub(super) fn text(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.fault_at(field, "must not be empty");
        }
    }

    /// A value of an enum; one that is unknown here is a fault.
    pub(super) fn choice<E: TryFrom<i32> + Default>(&mut self, field: &str, value: i32) -> E {
        E::try_from(value).unwrap_or_else(|_| {
            self.fault_at(field, format!("the value {value} is not known"));
            E::default()
        })
    }

    /// A number within limits, both included.
    pub(super) fn within<N: PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        field: &str,
        value: N,
        least: N,
        most: N,
    ) -> N {
        // Written so that NaN is outside.
        if value >= least && value <= most {
            return value;
        }
        self.fault_at(field, format!("{value} is not between {least} and {most}"));
        least
    }

    /// A port, or any other number of 16 bits.
    pub(super) fn port(&mut self, field: &str, value: u32) -> u16 {
        self.within(field, value, 0, u32::from(u16::MAX)) as u16
    }

    /// A duration, if there is one.
    pub(super) fn span(&mut self, field: &str, value: Option<prost_types::Duration>) -> Option<Duration> {
        let prost_types::Duration { seconds, nanos } = value?;
        match (u64::try_from(seconds), u32::try_from(nanos)) {
            (Ok(whole), Ok(nanos)) if seconds <= MAX_SECONDS && nanos < 1_000_000_000 => {
                Some(Duration::new(whole, nanos))
            }
            _ => {
                self.fault_at(field, format!("{seconds} s and {nanos} ns is not a duration"));
                None
            }
        }
    }

    /// A duration; `default` when there is none.
    pub(super) fn span_or(
        &mut self,
        field: &str,
        value: Option<prost_types::Duration>,
        default: Duration,
    ) -> Duration {
        self.span(field, value).unwrap_or(default)
    }

    /// A duration longer than nothing; `default` when there is none.
    pub(super) fn positive_span_or(
        &mut self,
        field: &str,
        value: Option<prost_types::Duration>,
        default: Duration,
    ) -> Duration {
        let found = self.span(field, value);
        if found.is_some_and(|found| found.is_zero()) {
            self.fault_at(field, "must be longer than 0 s");
        }
        found.unwrap_or(default)
    }

    /// A message out of an `Any` whose type is right.
    pub(super) fn unpack<M: Message + Default>(&mut self, any: &Any) -> Option<M> {
        M::decode(&*any.value)
            .map_err(|error| self.fault(format!("is not a {}: {error}", type_name(any))))
            .ok()
    }

    /// A message out of an `Any` that must be of this type.
    pub(super) fn unpack_only<M: Message + Default + Name>(&mut self, any: &Any) -> Option<M> {
        if type_name(any) != M::full_name() {
            self.unknown(any);
            return None;
        }
        self.unpack(any)
    }

    /// An extension that is not built in.
    pub(super) fn unknown(&mut self, any: &Any) {
        match type_name(any) {
            "" => self.fault("has no type"),
            name => self.fault(format!("the extension {name} is not supported")),
        }
    }

    /// An extension whose configuration must be empty, since its message is not known here.
    pub(super) fn only_empty(&mut self, any: &Any) {
        if !any.value.is_empty() {
            self.fault(format!("{} is supported without settings only", type_name(any)));
        }
    }
}

/// The type's full name out of a type URL.
pub(super) fn type_name(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

/// Whether a field differs from what it is when nobody sets it.
pub(super) trait IsSet {
    /// True when somebody set it to something.
    fn is_set(&self) -> bool;
}

impl IsSet for bool {
    fn is_set(&self) -> bool {
        *self
    }
}

impl<T> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}

macro_rules! numbers_are_set_unless_zero {
    ($($kind:ty),*) => { $(
        impl IsSet for $kind {
            fn is_set(&self) -> bool { *self != <$kind>::default() }
        }
    )* };
}
numbers_are_set_unless_zero!(i32, u32, i64, u64, f64);

impl IsSet for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> IsSet for BTreeMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
