//! Log lines, as text and as JSON.
use super::value::{Value, value_of};
use super::{render, shorten};
use crate::record::{Record, Told};
use crate::snapshot::{JsonFormat, LogFormat, MetadataValue, Part, Template};
use std::io::Write;

/// Write a record by a format. A text's end is what its template says; a JSON object ends with a new line.
pub fn line(format: &LogFormat, record: &Record<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Text(template) => render(template, record, out),
        LogFormat::Json { fields, omit_empty, .. } => {
            object(fields, record, *omit_empty, out);
            out.push(b'\n');
        }
    }
}

fn object(fields: &[(String, JsonFormat)], record: &Record<'_>, omits: bool, out: &mut Vec<u8>) -> bool {
    let write = |(name, format): &(String, JsonFormat), out: &mut Vec<u8>| {
        string(name.as_bytes(), out);
        out.push(b':');
        value(format, record, omits, out)
    };
    items(fields, [b'{', b'}'], out, write)
}

fn list(formats: &[JsonFormat], record: &Record<'_>, omits: bool, out: &mut Vec<u8>) {
    items(formats, [b'[', b']'], out, |format, out| value(format, record, omits, out));
}

/// Write items in brackets, without those that are not there; false when none was.
fn items<T>(
    items: &[T],
    brackets: [u8; 2],
    out: &mut Vec<u8>,
    write: impl Fn(&T, &mut Vec<u8>) -> bool,
) -> bool {
    out.push(brackets[0]);
    let mut is_first = true;
    for item in items {
        let start = out.len();
        if !is_first {
            out.push(b',');
        }
        match write(item, out) {
            true => is_first = false,
            false => out.truncate(start),
        }
    }
    out.push(brackets[1]);
    !is_first
}

/// Write a value; false when it is not there and such are left out.
fn value(format: &JsonFormat, record: &Record<'_>, omits: bool, out: &mut Vec<u8>) -> bool {
    match format {
        JsonFormat::Template(template) => return templated(template, record, omits, out),
        JsonFormat::Number(value) => number(*value, out),
        JsonFormat::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        JsonFormat::Null if omits => return false,
        JsonFormat::Null => out.extend_from_slice(b"null"),
        JsonFormat::Struct(fields) => return object(fields, record, omits, out) || !omits,
        JsonFormat::List(items) => list(items, record, omits, out),
    }
    true
}

/// One operator alone keeps its type; anything else is text.
fn templated(template: &Template, record: &Record<'_>, omits: bool, out: &mut Vec<u8>) -> bool {
    if let [Part::Operator(operator, longest)] = &template.0[..] {
        return typed(value_of(operator, record), *longest, omits, out);
    }
    let start = out.len();
    out.push(b'"');
    for part in &template.0 {
        match part {
            Part::Literal(text) => escape(text.as_bytes(), out),
            Part::Operator(operator, longest) => {
                let is_there = escaped(value_of(operator, record), *longest, out);
                if !is_there && !omits {
                    out.push(b'-');
                }
            }
        }
    }
    debug_assert!(out.len() > start);
    out.push(b'"');
    true
}

fn typed(value: Value<'_>, longest: Option<u32>, omits: bool, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Missing | Value::Data(MetadataValue::Null) if omits => return false,
        Value::Missing => out.extend_from_slice(b"null"),
        Value::Number(_) | Value::Fields(_) | Value::Dynamic(..) => return value.write(out),
        Value::Data(data) if !matches!(data, MetadataValue::Text(_)) => metadata(data, out),
        value => {
            out.push(b'"');
            escaped(value, longest, out);
            out.push(b'"');
        }
    }
    true
}

/// Write a value's text with escapes. Most texts need none, so they are written first and looked at then.
fn escaped(value: Value<'_>, longest: Option<u32>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if !value.write(out) {
        return false;
    }
    shorten(out, start, longest);
    if out[start..].iter().any(|byte| needs_escape(*byte)) {
        let plain = out.split_off(start);
        escape(&plain, out);
    }
    true
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= 0x7f
}

pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// RFC 8259, section 7. Of a text that is not UTF-8 each octet is taken for a character, as Envoy does.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(text) => text.chars().for_each(|c| escape_char(c, out)),
        Err(_) => text.iter().for_each(|byte| escape_octet(*byte, out)),
    }
}

fn escape_octet(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0x80.. => drop(write!(out, "\\u{byte:04x}")),
        _ => escape_char(char::from(byte), out),
    }
}

fn escape_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        c if c < ' ' || c == '\u{7f}' => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Integers have no point; what JSON cannot say is null.
pub(crate) fn number(value: f64, out: &mut Vec<u8>) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let _ = match value {
        value if !value.is_finite() => out.write_all(b"null"),
        value if value.fract() == 0.0 && value.abs() <= EXACT => write!(out, "{}", value as i64),
        value => write!(out, "{value}"),
    };
}

/// Write metadata as JSON.
pub(super) fn metadata(value: &MetadataValue, out: &mut Vec<u8>) {
    match value {
        MetadataValue::Null => out.extend_from_slice(b"null"),
        MetadataValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        MetadataValue::Number(value) => number(*value, out),
        MetadataValue::Text(text) => string(text.as_bytes(), out),
        MetadataValue::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                metadata(item, out);
            }
            out.push(b']');
        }
        MetadataValue::Struct(fields) => metadata_fields(fields.iter(), out),
    }
}

/// Write fields of metadata as an object; keys are sorted.
pub(super) fn metadata_fields<'a>(
    fields: impl Iterator<Item = (&'a String, &'a MetadataValue)>,
    out: &mut Vec<u8>,
) {
    sorted_fields(fields.map(|(name, value)| (name.as_str(), value)), metadata, out);
}

/// Write dynamic metadata as an object; keys are sorted.
pub(crate) fn told_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a Told)>, out: &mut Vec<u8>) {
    let write = |value: &Told, out: &mut Vec<u8>| match value {
        Told::Word(word) => string(word.as_bytes(), out),
        Told::Value(value) => metadata(value, out),
    };
    sorted_fields(fields, write, out);
}

fn sorted_fields<'a, T>(
    fields: impl Iterator<Item = (&'a str, &'a T)>,
    write: impl Fn(&T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) where
    T: 'a,
{
    let mut sorted: Vec<_> = fields.collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    out.push(b'{');
    for (index, (name, item)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(name.as_bytes(), out);
        out.push(b':');
        write(item, out);
    }
    out.push(b'}');
}
