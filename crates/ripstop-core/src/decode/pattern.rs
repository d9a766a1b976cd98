//! Regular expressions: RE2's syntax and meaning, run by the `regex` crate.
//!
//! The two differ in little: `\d`, `\w`, `\s` and `\b` mean ASCII in RE2, and a `[` or `&` within a class is only
//! itself. Patterns are written anew for that before they are compiled.
use super::reader::Reader;
use regex::bytes::{Regex, RegexBuilder};
use ripstop_xds::envoy::r#type::matcher::v3 as matcher;

/// Memory that one compiled expression may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A `RegexMatcher` that must match all of a text (RE2::FullMatch, as Envoy does).
pub(super) fn full_match(reader: &mut Reader, regex: matcher::RegexMatcher) -> Option<Regex> {
    let pattern = checked(reader, regex)?;
    compile(reader, &format!("^(?:{pattern})$"))
}

/// A `RegexMatchAndSubstitute`: an expression that may match anywhere, and what takes its place.
pub(super) fn substitution(
    reader: &mut Reader,
    rewrite: matcher::RegexMatchAndSubstitute,
) -> Option<(Regex, Box<[u8]>)> {
    let matcher::RegexMatchAndSubstitute { pattern, substitution } = rewrite;
    let regex = reader.required("pattern", pattern, |reader, pattern| {
        let pattern = checked(reader, pattern)?;
        compile(reader, &pattern)
    })?;
    if let Err(problem) = check_substitution(&substitution, regex.captures_len() - 1) {
        reader.fault_at("substitution", problem);
    }
    Some((regex, substitution.into_bytes().into()))
}

/// The pattern in the `regex` crate's words, known to be well-formed by itself.
fn checked(reader: &mut Reader, regex: matcher::RegexMatcher) -> Option<String> {
    let matcher::RegexMatcher { regex, engine_type } = regex;
    ignore!("how large RE2's program may be says nothing about ours, which has its own limit", engine_type);
    if regex.is_empty() {
        reader.fault_at("regex", "must not be empty");
        return None;
    }
    let pattern = translate(&regex);
    // By itself first: `a)|(?:b` would pass within a group.
    compile(reader, &pattern)?;
    Some(pattern)
}

fn compile(reader: &mut Reader, pattern: &str) -> Option<Regex> {
    let built = RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build();
    built.map_err(|error| reader.fault_at("regex", format!("is not a regular expression: {error}"))).ok()
}

/// Envoy's check: `\0` to `\9` for groups that are there, `\\` for a backslash, nothing else after a backslash.
fn check_substitution(text: &str, groups: usize) -> Result<(), String> {
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            continue;
        }
        match rest.next() {
            Some('\\') => {}
            Some(digit) if digit.is_ascii_digit() => {
                let group = digit.to_digit(10).unwrap_or(0) as usize;
                if group > groups {
                    return Err(format!("\\{group} is a group that the pattern does not have"));
                }
            }
            _ => return Err("a backslash is followed by a digit or a backslash".to_owned()),
        }
    }
    Ok(())
}

/// Rewrite RE2's pattern for the `regex` crate.
fn translate(pattern: &str) -> String {
    let mut made = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some(escaped) => made.push_str(&escape(escaped, in_class)),
                None => made.push('\\'),
            },
            '[' if in_class => made.push_str(if rest.peek() == Some(&':') { "[" } else { "\\[" }),
            '[' => {
                in_class = true;
                made.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    made.push('^');
                }
                // A bracket that closes at once is a member.
                if rest.next_if_eq(&']').is_some() {
                    made.push_str("\\]");
                }
            }
            ':' if in_class
                && rest.peek() == Some(&']')
                && made.ends_with(|c: char| c.is_ascii_lowercase()) =>
            {
                made.push(':');
                // `[:alpha:]` ends here, not the class around it.
                if made.rfind("[:").is_some_and(|start| made[start + 2..].bytes().all(is_class_name)) {
                    rest.next();
                    made.push(']');
                }
            }
            ']' if in_class => {
                in_class = false;
                made.push(']');
            }
            '&' | '~' if in_class => {
                made.push('\\');
                made.push(next);
            }
            _ => made.push(next),
        }
    }
    made
}

fn is_class_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'^' || byte == b':'
}

/// What stands for `\x` of RE2.
fn escape(escaped: char, in_class: bool) -> String {
    let class = match escaped {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => "\\t\\n\\x0c\\r ",
        'b' | 'B' if !in_class => return format!("(?-u:\\{escaped})"),
        _ => return format!("\\{escaped}"),
    };
    match (escaped.is_ascii_lowercase(), in_class) {
        (true, true) => class.to_owned(),
        (true, false) => format!("[{class}]"),
        (false, _) => format!("[^{class}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full_match(pattern: &str, text: &str) -> bool {
        Regex::new(&format!("^(?:{})$", translate(pattern))).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn classes_mean_ascii_as_in_re2() {
        assert!(is_full_match(r"\d+\w", "12a"));
        assert!(!is_full_match(r"\w", "é"));
        assert!(!is_full_match(r"\d", "٣"));
        assert!(is_full_match(r"\W", "é"));
        assert!(is_full_match(r"[\w.-]+", "a.b-c"));
        assert!(!is_full_match(r"[^\d]", "7"));
        assert!(is_full_match(r"a\b.*", "a-b"));
    }

    #[test]
    fn a_bracket_or_an_ampersand_in_a_class_is_itself() {
        assert!(is_full_match(r"[[a&&b]+", "[a&b"));
        assert!(is_full_match(r"[]a]+", "]a"));
        assert!(is_full_match(r"[[:alpha:]_]+", "ab_"));
        assert!(is_full_match(r"[a:]+b", "a:b"));
    }

    #[test]
    fn a_substitution_names_groups_that_are_there() {
        assert!(check_substitution(r"/x\1\\", 1).is_ok());
        assert!(check_substitution(r"\2", 1).is_err());
        assert!(check_substitution(r"\n", 1).is_err());
    }
}
