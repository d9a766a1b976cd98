use super::*;

#[test]
fn wildcards_cover_one_label() {
    let covers = dns_pattern_covers;
    assert!(covers("a.example.com", "A.example.COM"));
    assert!(covers("*.example.com", "a.example.com"));
    assert!(covers("b*.example.com", "bar.example.com"));
    assert!(covers("*z.example.com", "baz.example.com"));
    assert!(covers("*.example.com", "xn--bcher-kva.example.com"));
    for (pattern, host) in [
        ("*.example.com", "example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.com", "example.com"),
        ("*", "localhost"),
        ("a.*.com", "a.b.com"),
        ("b*z.example.com", "bz.example.com"),
        ("**.example.com", "a.example.com"),
        ("xn--*.example.com", "xn--a.example.com"),
        ("x*.example.com", "xn--a.example.com"),
    ] {
        assert!(!covers(pattern, host), "{pattern} {host}");
    }
}

#[test]
fn a_uri_matcher_wants_the_only_uri() {
    let prefix = |text: &str| SanMatcher {
        kind: SanKind::Uri,
        value: StringMatcher { kind: StringMatch::Prefix(text.as_bytes().into()), ignore_case: false },
    };
    let of =
        |uris: &[&str]| Names { uris: uris.iter().map(|uri| Arc::from(*uri)).collect(), ..Names::default() };
    assert!(of(&["spiffe://mesh/a"]).satisfies(&prefix("spiffe://mesh/")));
    assert!(!of(&["spiffe://mesh.evil/a"]).satisfies(&prefix("spiffe://mesh/")));
    assert!(!of(&["spiffe://mesh/a", "spiffe://mesh/b"]).satisfies(&prefix("spiffe://mesh/")));
    assert!(!of(&[]).satisfies(&prefix("")));
}

#[test]
fn special_characters_of_subjects_are_escaped() {
    assert_eq!(escaped("a,b+c\"d\\e<f>g;h"), "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h");
    assert_eq!(escaped(" #x "), "\\ #x\\ ");
    assert_eq!(escaped("#x y"), "\\#x y");
}
