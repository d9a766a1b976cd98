//! `/config_dump`, `/server_info` and `/memory`, as JSON.
use crate::control::plane::Plane;
use std::fmt::Write;

/// Names and versions of what is held, and whether it is in use yet.
pub(super) fn config_dump(plane: &Plane) -> String {
    let warming = plane.store.warming();
    let mut out = String::from("{\n \"configs\": [");
    let mut separator = "";
    for (kind, name, version) in plane.store.versions() {
        let is_warming = warming.contains(&name);
        let (kind, name, version) = (text(kind.short()), text(&name), text(&version));
        let _ = write!(
            out,
            "{separator}\n  {{\"type\": {kind}, \"name\": {name}, \"version\": {version}, \"warming\": {is_warming}}}"
        );
        separator = ",";
    }
    let _ = write!(out, "\n ],\n \"generation\": {}\n}}\n", plane.store.snapshot().generation);
    out
}

pub(super) fn server_info(plane: &Plane) -> String {
    let uptime = plane.epoch.elapsed().as_secs();
    format!(
        "{{\n \"version\": {},\n \"state\": {},\n \"uptime_current_epoch\": \"{uptime}s\",\n \
         \"uptime_all_epochs\": \"{uptime}s\",\n \"concurrency\": {},\n \"node\": {{\"id\": {}, \"cluster\": {}}}\n}}\n",
        text(concat!("ripstop-proxy/", env!("CARGO_PKG_VERSION"))),
        text(plane.state()),
        plane.workers.len(),
        text(&plane.bootstrap.node.id),
        text(&plane.bootstrap.node.cluster),
    )
}

pub(super) fn memory() -> String {
    let bytes = crate::memory::Memory::default().resident();
    format!("{{\n \"allocated\": \"{bytes}\",\n \"total_physical_bytes\": \"{bytes}\"\n}}\n")
}

/// A JSON string.
fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
