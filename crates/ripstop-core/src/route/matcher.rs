//! Matchers of text, headers and query parameters (`type.matcher.v3`, `HeaderMatcher`, `QueryParameterMatcher`).
use crate::http::{HeaderId, Headers, RequestHead};
use crate::snapshot::{HeaderMatch, HeaderMatcher, QueryMatcher, StringMatch, StringMatcher};

impl StringMatcher {
    /// Whether `value` is what is wanted.
    pub fn matches(&self, value: &[u8]) -> bool {
        match (&self.kind, self.ignore_case) {
            (StringMatch::Exact(wanted), false) => value == &wanted[..],
            (StringMatch::Exact(wanted), true) => value.eq_ignore_ascii_case(wanted),
            (StringMatch::Prefix(wanted), false) => value.starts_with(wanted),
            (StringMatch::Prefix(wanted), true) => starts_with_any_case(value, wanted),
            (StringMatch::Suffix(wanted), false) => value.ends_with(wanted),
            (StringMatch::Suffix(wanted), true) => ends_with_any_case(value, wanted),
            (StringMatch::Contains(wanted), false) => memchr::memmem::find(value, wanted).is_some(),
            (StringMatch::Contains(wanted), true) => contains_any_case(value, wanted),
            (StringMatch::Regex(pattern), _) => pattern.is_match(value),
        }
    }
}

/// Whether `text` begins with `prefix`, case aside.
pub(crate) fn starts_with_any_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn ends_with_any_case(text: &[u8], suffix: &[u8]) -> bool {
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

fn contains_any_case(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

impl HeaderMatcher {
    /// Whether a request has what is wanted. Pseudo headers and `host` are found too.
    pub fn matches(&self, head: &RequestHead) -> bool {
        if self.name.first() == Some(&b':') || self.id == HeaderId::Host {
            return self.judge(head.value_of(&self.name).into_iter());
        }
        self.matches_fields(&head.headers)
    }

    /// Whether fields alone have what is wanted (responses, trailers).
    pub fn matches_fields(&self, fields: &Headers) -> bool {
        if self.id == HeaderId::Other {
            self.judge(fields.get_all_name(&self.name))
        } else {
            self.judge(fields.get_all(self.id))
        }
    }

    /// Of several values any may be the one that is wanted; they are not joined. A field that is missing matches nothing
    /// but `present_match`, inverted or not, unless it counts as empty.
    fn judge<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut values = values.peekable();
        let is_there = values.peek().is_some() || self.missing_is_empty;
        let is_match = match &self.kind {
            HeaderMatch::Present(wanted) => is_there == *wanted,
            _ if !is_there => return false,
            kind if values.peek().is_none() => kind.fits(b""),
            kind => values.any(|value| kind.fits(value)),
        };
        is_match != self.invert
    }
}

impl HeaderMatch {
    fn fits(&self, value: &[u8]) -> bool {
        match self {
            HeaderMatch::Text(wanted) => wanted.matches(value),
            HeaderMatch::Range(start, end) => {
                number(value).is_some_and(|number| (*start..*end).contains(&number))
            }
            HeaderMatch::Present(_) => true,
        }
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_matches(|c: char| c.is_ascii_whitespace()).parse().ok()
}

impl QueryMatcher {
    /// Whether a query (without its question mark) has what is wanted; of several equal names the first counts.
    pub fn matches(&self, query: &[u8]) -> bool {
        match (query_value(query, &self.name), &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(wanted)) => wanted.matches(value),
        }
    }
}

/// The first value of a parameter in a query, as it came (nothing is unescaped).
pub fn query_value<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).find_map(|part| {
        let (key, value) = match memchr::memchr(b'=', part) {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &b""[..]),
        };
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: StringMatch, ignore_case: bool) -> StringMatcher {
        StringMatcher { kind, ignore_case }
    }

    fn bytes(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    fn header(name: &str, kind: HeaderMatch) -> HeaderMatcher {
        HeaderMatcher {
            name: bytes(name),
            id: HeaderId::of(name.as_bytes()),
            kind,
            invert: false,
            missing_is_empty: false,
        }
    }

    fn request(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.set_method(b"GET");
        head.set_authority(b"shop.example");
        head.set_path(b"/a?b=1");
        for (name, value) in fields {
            head.headers.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn text_matches_in_each_way_with_and_without_case() {
        for (matcher, value, wanted) in [
            (text(StringMatch::Exact(bytes("abc")), false), "abc", true),
            (text(StringMatch::Exact(bytes("abc")), false), "ABC", false),
            (text(StringMatch::Exact(bytes("abc")), true), "aBC", true),
            (text(StringMatch::Prefix(bytes("ab")), false), "abc", true),
            (text(StringMatch::Prefix(bytes("ab")), true), "ABc", true),
            (text(StringMatch::Prefix(bytes("abcd")), true), "ab", false),
            (text(StringMatch::Suffix(bytes("bc")), true), "aBC", true),
            (text(StringMatch::Suffix(bytes("bc")), false), "abC", false),
            (text(StringMatch::Contains(bytes("b")), false), "abc", true),
            (text(StringMatch::Contains(bytes("bc")), true), "ABCd", true),
            (text(StringMatch::Contains(bytes("x")), true), "ABCd", false),
            (text(StringMatch::Regex(regex::bytes::Regex::new("^(?:a+)$").unwrap()), false), "aa", true),
        ] {
            assert_eq!(matcher.matches(value.as_bytes()), wanted, "{matcher:?} on {value}");
        }
    }

    #[test]
    fn a_missing_field_matches_only_absence_even_when_inverted() {
        let exact = || HeaderMatch::Text(text(StringMatch::Exact(bytes("1")), false));
        let head = request(&[]);
        assert!(!header("x-a", exact()).matches(&head));
        assert!(!HeaderMatcher { invert: true, ..header("x-a", exact()) }.matches(&head));
        let counts = HeaderMatcher { invert: true, missing_is_empty: true, ..header("x-a", exact()) };
        assert!(counts.matches(&head));
        assert!(header("x-a", HeaderMatch::Present(false)).matches(&head));
        assert!(!header("x-a", HeaderMatch::Present(true)).matches(&head));
        assert!(HeaderMatcher { invert: true, ..header("x-a", HeaderMatch::Present(true)) }.matches(&head));
    }

    #[test]
    fn of_several_values_any_may_match() {
        let head = request(&[("x-a", "1"), ("x-b", "7"), ("x-a", "2")]);
        for (value, wanted) in [("1", true), ("2", true), ("1,2", false), ("7", false)] {
            let exact = || HeaderMatch::Text(text(StringMatch::Exact(bytes(value)), false));
            assert_eq!(header("x-a", exact()).matches(&head), wanted, "{value}");
            let inverted = HeaderMatcher { invert: true, ..header("x-a", exact()) };
            assert_eq!(inverted.matches(&head), !wanted, "{value}");
        }
    }

    #[test]
    fn pseudo_headers_and_host_are_found() {
        let head = request(&[]);
        for (name, value) in [
            (":method", "GET"),
            (":authority", "shop.example"),
            ("host", "shop.example"),
            (":path", "/a?b=1"),
        ] {
            let wanted = HeaderMatch::Text(text(StringMatch::Exact(bytes(value)), false));
            assert!(header(name, wanted).matches(&head), "{name}");
        }
    }

    #[test]
    fn a_range_has_its_start_but_not_its_end() {
        for (value, wanted) in [("-3", true), ("4", true), ("5", false), ("x", false), ("", false)] {
            let head = request(&[("x-n", value)]);
            assert_eq!(header("x-n", HeaderMatch::Range(-3, 5)).matches(&head), wanted, "{value}");
        }
    }

    #[test]
    fn query_parameters_are_found_as_they_came() {
        assert_eq!(query_value(b"a=1&b&a=2&=x", b"a"), Some(&b"1"[..]));
        assert_eq!(query_value(b"a=1&b&a=2", b"b"), Some(&b""[..]));
        assert_eq!(query_value(b"a%20=1", b"a "), None);
        assert_eq!(query_value(b"", b"a"), None);
    }
}
