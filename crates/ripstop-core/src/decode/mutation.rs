//! Changes of headers: `HeaderValueOption`, names to remove, `HeaderMutation`.
use super::access_log::template_at;
use super::matching::header_name;
use super::reader::Reader;
use crate::snapshot::{AppendAction, HeaderAdd, HeaderChanges};
use ripstop_xds::envoy::config::common::mutation_rules::v3 as rules;
use ripstop_xds::envoy::config::core::v3 as core;

/// `{which}_headers_to_add` and `{which}_headers_to_remove`.
pub(super) fn changes(
    reader: &mut Reader,
    which: &str,
    add: Vec<core::HeaderValueOption>,
    remove: Vec<String>,
) -> HeaderChanges {
    HeaderChanges {
        add: reader.each(&format!("{which}_headers_to_add"), add, header_add),
        remove: reader.each(&format!("{which}_headers_to_remove"), remove, removed),
    }
}

/// A name to remove.
fn removed(reader: &mut Reader, name: String) -> Option<Box<[u8]>> {
    let before = header_name_here(reader, &name)?;
    may_be_changed(reader, &before).then_some(before)
}

fn header_name_here(reader: &mut Reader, name: &str) -> Option<Box<[u8]>> {
    let token = name.strip_prefix(':').unwrap_or(name);
    if token.is_empty() || !token.bytes().all(super::matching::is_token) {
        reader.fault(format!("'{name}' is not a header name"));
        return None;
    }
    Some(name.to_ascii_lowercase().into_bytes().into())
}

/// Envoy keeps its hands off the host and pseudo headers; routes rewrite those by fields of their own.
fn may_be_changed(reader: &mut Reader, name: &[u8]) -> bool {
    if name.starts_with(b":") || name == b"host" {
        reader.fault("pseudo headers and Host cannot be changed here");
        return false;
    }
    true
}

/// A `HeaderValueOption`.
pub(super) fn header_add(reader: &mut Reader, option: core::HeaderValueOption) -> Option<HeaderAdd> {
    use core::header_value_option::HeaderAppendAction as Action;
    let core::HeaderValueOption { header, append, append_action, keep_empty_value } = option;
    let action = match reader.choice("append_action", append_action) {
        Action::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        Action::AddIfAbsent => AppendAction::AddIfAbsent,
        Action::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        Action::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    if append.is_some() && action != AppendAction::AppendIfExistsOrAdd {
        reader.fault_at("append", "append and append_action are both set");
    }
    let action = if append == Some(false) { AppendAction::OverwriteIfExistsOrAdd } else { action };
    reader.required("header", header, |reader, header| {
        let core::HeaderValue { key, value, raw_value } = header;
        refuse!(reader, raw_value);
        let name = header_name(reader, "key", &key);
        may_be_changed(reader, &name);
        // A line break would end the header, wherever the rest of it comes from.
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            reader.fault_at("value", "must not hold line breaks");
        }
        let value = template_at(reader, "value", &value)?;
        Some(HeaderAdd { name, value, action, keep_empty: keep_empty_value })
    })
}

/// `HeaderMutation`s, which are applied in order.
pub(super) fn mutations(
    reader: &mut Reader,
    field: &str,
    mutations: Vec<rules::HeaderMutation>,
) -> HeaderChanges {
    use rules::header_mutation::Action;
    let mut made = HeaderChanges::default();
    reader.each(field, mutations, |reader, mutation| -> Option<()> {
        match mutation.action {
            Some(Action::Append(option)) => {
                made.add.extend(reader.at("append", |reader| header_add(reader, option)));
            }
            Some(Action::Remove(name)) => {
                let name = reader.at("remove", |reader| removed(reader, name))?;
                // Removals are done first: what was added before this one must go too.
                made.add.retain(|add| add.name != name);
                made.remove.push(name);
            }
            Some(Action::RemoveOnMatch(_)) => reader.fault_at("remove_on_match", "is not supported"),
            None => reader.fault("is empty"),
        }
        None
    });
    made
}
