//! Templates with operators (`%REQ(:METHOD)%`), log lines, log filters and the mapping of local replies.
mod civil;
mod filter;
pub(crate) mod json;
mod reply;
#[cfg(test)]
mod tests;
mod value;

pub use civil::{Civil, format_time};
pub use filter::passes;
pub use json::line;
pub use reply::map_reply;

use crate::record::Record;
use crate::snapshot::{Part, Template};

/// Write a template's text; what is not there is `-`.
pub fn render(template: &Template, record: &Record<'_>, out: &mut Vec<u8>) {
    render_with(template, record, b"-", out);
}

/// Write a template's text; what is not there is empty (header values, `omit_empty_values`).
pub fn render_or_empty(template: &Template, record: &Record<'_>, out: &mut Vec<u8>) {
    render_with(template, record, b"", out);
}

fn render_with(template: &Template, record: &Record<'_>, missing: &[u8], out: &mut Vec<u8>) {
    for part in &template.0 {
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Operator(operator, longest) => {
                let start = out.len();
                if value::value_of(operator, record).write(out) {
                    shorten(out, start, *longest);
                } else {
                    out.extend_from_slice(missing);
                }
            }
        }
    }
}

/// Cut what was written since `start` to at most `longest` octets.
fn shorten(out: &mut Vec<u8>, start: usize, longest: Option<u32>) {
    if let Some(longest) = longest {
        out.truncate(start.saturating_add(longest as usize).min(out.len()));
    }
}
