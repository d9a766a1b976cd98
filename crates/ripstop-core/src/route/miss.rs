//! Why a route does not match a request.
use super::select::{is_in_share, path_for_matching, path_matches};
use crate::http::RequestHead;
use crate::snapshot::{HeaderMatcher, QueryMatcher, RouteMatch};

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// `path`, `share` (`runtime_fraction`), `grpc`, `header` or `query`.
    pub part: &'static str,
    /// The header's or parameter's name; empty for other parts.
    pub name: String,
    /// What was wanted, in words.
    pub wanted: String,
    /// What was there; None when nothing was.
    pub found: Option<String>,
}

/// The first condition of a route that a request does not fulfil; None when it matches. `random` is that of `find_route`.
pub fn first_miss(wanted: &RouteMatch, head: &RequestHead, random: u64) -> Option<Miss> {
    let path = path_for_matching(head.path());
    if !path_matches(wanted, head, path) {
        let text = match wanted.case_sensitive {
            true => wanted.path.to_string(),
            false => format!("{} in any case", wanted.path),
        };
        return Some(miss("path", b"", text, (!path.is_empty()).then_some(path)));
    }
    if let Some(share) = wanted.fraction.filter(|share| !is_in_share(*share, random)) {
        return Some(miss("share", b"", format!("{} % of requests", f64::from(share.0) / 10_000.0), None));
    }
    if wanted.only_grpc && !head.is_grpc() {
        let found = head.value_of(b"content-type");
        return Some(miss("grpc", b"content-type", "application/grpc".to_owned(), found));
    }
    let header = wanted.headers.iter().find(|header| !header.matches(head));
    header.map(|header| header_miss(header, head)).or_else(|| query_miss(&wanted.query, head))
}

/// What a header was wanted to be and is.
pub(crate) fn header_miss(header: &HeaderMatcher, head: &RequestHead) -> Miss {
    miss("header", &header.name, header.to_string(), head.value_of(&header.name))
}

fn query_miss(wanted: &[QueryMatcher], head: &RequestHead) -> Option<Miss> {
    let query = head.query().unwrap_or_default();
    let parameter = wanted.iter().find(|parameter| !parameter.matches(query))?;
    let found = super::query_value(query, &parameter.name);
    Some(miss("query", &parameter.name, parameter.to_string(), found))
}

fn miss(part: &'static str, name: &[u8], wanted: String, found: Option<&[u8]>) -> Miss {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Miss { part, name: text(name), wanted, found: found.map(text) }
}
