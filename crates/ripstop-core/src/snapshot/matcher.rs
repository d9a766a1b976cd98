//! Matchers of text, headers and fractions (`type.matcher.v3`, `HeaderMatcher`).
use regex::bytes::Regex;

/// `StringMatcher`.
#[derive(Clone, Debug)]
pub struct StringMatcher {
    /// How.
    pub kind: StringMatch,
    /// `ignore_case`; the pattern is in lower case then. Does not hold for `Regex`.
    pub ignore_case: bool,
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum StringMatch {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    /// Anchored at both ends already.
    Regex(Regex),
}

/// `HeaderMatcher`.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    /// Lower case; `:method`, `:path`, `:authority` and `:scheme` are pseudo headers.
    pub name: Box<[u8]>,
    /// `HeaderId::of(name)`, so that known names are found by number.
    pub id: crate::http::HeaderId,
    /// What its value must be.
    pub kind: HeaderMatch,
    /// `invert_match`
    pub invert: bool,
    /// `treat_missing_header_as_empty`
    pub missing_is_empty: bool,
}

/// `HeaderMatcher.header_match_specifier`. Of several values any may match; Envoy 1.40 does not join them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum HeaderMatch {
    Text(StringMatcher),
    /// From start, up to but without end.
    Range(i64, i64),
    /// True: it must be there; false: it must not.
    Present(bool),
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QueryMatcher {
    pub name: Box<[u8]>,
    /// None: it must be there (`present_match: true`).
    pub value: Option<StringMatcher>,
}
