//! Rewriting, redirects, normalisation.
use super::super::*;
use super::*;
use proptest::prelude::*;
use regex::bytes::Regex;

fn prefix(path: &str) -> RouteMatch {
    route_match(PathMatch::Prefix(bytes(path)))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

fn rewritten(matches: RouteMatch, forward: Forward, path: &str) -> String {
    let route = route("r", matches, direct());
    let mut head = request("h", path, &[]);
    rewrite_path(&forward, &route, &mut head, true);
    let original = head.headers.get_name(b"x-envoy-original-path").map(show);
    assert_eq!(original.is_some(), show(head.path()) != path || original.as_deref() == Some(path));
    show(head.path())
}

#[test]
fn a_prefix_rewrite_replaces_what_the_match_stands_for() {
    let exact = route_match(PathMatch::Exact(bytes("/p3")));
    let any_case = RouteMatch { case_sensitive: false, ..prefix("/p8") };
    for (matches, new, path, wanted) in [
        (prefix("/p1/"), "/", "/p1/a?x=1", "/a?x=1"),
        (prefix("/p1/"), "/", "/p1/", "/"),
        (prefix("/p2"), "/new", "/p2", "/new"),
        (prefix("/p2"), "/new", "/p2?x", "/new?x"),
        (prefix("/p2"), "/new", "/p2a", "/newa"),
        (exact, "/n3", "/p3?q", "/n3?q"),
        (route_match(PathMatch::Regex(pattern("^(?:/p4/.*)$"))), "/n4", "/p4/a/b?q", "/n4?q"),
        (any_case, "/n8", "/P8/A", "/n8/A"),
        (route_match(PathMatch::Separated(bytes("/p9"))), "/", "/p9/a", "//a"),
        (prefix("/"), "", "/a", "/a"),
    ] {
        let forward = Forward { prefix_rewrite: Some(bytes(new)), ..to_cluster("c") };
        assert_eq!(rewritten(matches, forward, path), wanted);
    }
}

#[test]
fn a_regex_rewrite_replaces_every_match_in_the_path() {
    for (from, to, path, wanted) in [
        (r"/p5/(\w+)/(\w+)", r"/\2/\1/\\x", "/p5/a/b?q=/p5/a/b", r"/b/a/\x?q=/p5/a/b"),
        (r"/p5/(\w+)/(\w+)", r"/\2/\1/\\x", "/p5/a/b/p5/c/d", r"/b/a/\x/d/c/\x"),
        (r"/p5/(\w+)/(\w+)", r"/\2", "/p5/", "/p5/"),
        ("^/p6", "", "/p6/a", "/a"),
        ("^/p6", "", "/p6?x", "/p6?x"),
        ("x*", "-", "/p7xxab", "-/-p-7-a-b-"),
        ("x*", "-", "/p7", "-/-p-7-"),
        ("^/", r"/a\0", "/b", "/a/b"),
    ] {
        let forward = Forward { regex_rewrite: Some((pattern(from), bytes(to))), ..to_cluster("c") };
        assert_eq!(rewritten(prefix("/"), forward, path), wanted, "{from} on {path}");
    }
}

#[test]
fn the_path_that_was_is_told_unless_it_is_to_be_kept_quiet() {
    let forward = Forward { prefix_rewrite: Some(bytes("/new")), ..to_cluster("c") };
    let route = route("r", prefix("/old"), direct());
    for (tells, wanted) in [(true, Some("/old?x".to_owned())), (false, None)] {
        let mut head = request("h", "/old?x", &[]);
        rewrite_path(&forward, &route, &mut head, tells);
        assert_eq!(head.headers.get_name(b"x-envoy-original-path").map(show), wanted);
    }
}

fn plain() -> Redirect {
    Redirect {
        status: 301,
        scheme: None,
        https: false,
        host: None,
        port: 0,
        path: PathRedirect::Keep,
        strips_query: false,
    }
}

fn redirected(made: Redirect, matches: &str, authority: &str, path: &str, proto: &str) -> String {
    let route = route("r", prefix(matches), direct());
    let head = request(authority, path, &[("x-forwarded-proto", proto)]);
    show(&redirect(&made, &route, &head, proto.as_bytes()).1)
}

#[test]
fn a_redirect_keeps_what_it_does_not_change() {
    let full = |path: &str| Redirect { path: PathRedirect::Full(bytes(path)), ..plain() };
    let start = |path: &str| Redirect { path: PathRedirect::Prefix(bytes(path)), ..plain() };
    let regex = PathRedirect::Regex(pattern("/r9/(.*)"), bytes(r"/z/\1"));
    let host = Redirect { host: Some(bytes("h.example")), port: 8443, ..plain() };
    for (made, matches, path, wanted) in [
        (plain(), "/", "/r0/a?b", "http://a.example:80/r0/a?b"),
        (Redirect { https: true, ..plain() }, "/", "/r1/a?b", "https://a.example/r1/a?b"),
        (host, "/", "/r2", "http://h.example:8443/r2"),
        (Redirect { port: 99, ..plain() }, "/", "/r3", "http://a.example:99/r3"),
        (full("/x"), "/", "/r4?a=b", "http://a.example:80/x?a=b"),
        (full("/x?c=d"), "/", "/r5?a=b", "http://a.example:80/x?c=d"),
        (Redirect { strips_query: true, ..full("/x?c=d") }, "/", "/r6?a=b", "http://a.example:80/x?c=d"),
        (Redirect { strips_query: true, ..plain() }, "/", "/r7?a=b", "http://a.example:80/r7"),
        (start("/n8/"), "/r8/", "/r8/a?b", "http://a.example:80/n8/a?b"),
        (Redirect { path: regex.clone(), ..plain() }, "/", "/r9/a?b", "http://a.example:80/z/a?b"),
        (Redirect { path: regex, ..plain() }, "/", "/r9", "http://a.example:80/r9"),
        (Redirect { scheme: Some(bytes("ftp")), ..plain() }, "/", "/ra", "ftp://a.example/ra"),
        (full("rel"), "/", "/rb?q", "http://a.example:80/rel?q"),
        (start("/x?y"), "/rc", "/rc/a?b", "http://a.example:80/x?y/a?b"),
    ] {
        assert_eq!(redirected(made, matches, "a.example:80", path, "http"), wanted);
    }
}

#[test]
fn a_port_goes_only_where_it_would_be_wrong() {
    let https = || Redirect { https: true, ..plain() };
    for (made, authority, proto, wanted) in [
        (https(), "a.example:443", "http", "https://a.example:443/"),
        (https(), "a.example:81", "http", "https://a.example:81/"),
        (https(), "[::1]:80", "http", "https://[::1]/"),
        (https(), "a.example:80", "https", "https://a.example:80/"),
        (Redirect { port: 99, ..plain() }, "[::1]:80", "http", "http://[::1]:99/"),
        (https(), "a.example", "http", "https://a.example/"),
    ] {
        assert_eq!(redirected(made, "/", authority, "/", proto), wanted);
    }
}

#[test]
fn other_answers_have_a_location_too() {
    let head = request("A.example:80", "/d?x", &[]);
    assert_eq!(show(&location(&head, b"http")), "http://A.example:80/d?x");
    assert_eq!(show(&to_tls(&head)), "https://A.example:80/d?x");
}

fn normal(manager: &HttpManager, path: &[u8]) -> Result<(PathChange, Vec<u8>), PathRefused> {
    let mut head = request("h", "", &[]);
    head.set_path(path);
    normalize_path(&mut head, manager).map(|change| (change, head.path().to_vec()))
}

fn check(manager: &HttpManager, cases: &[(&str, &str)]) {
    for (path, wanted) in cases {
        let got = normal(manager, path.as_bytes()).map(|(_, new)| show(&new));
        assert_eq!(got.as_deref(), Ok(*wanted), "{path}");
    }
}

#[test]
fn dot_segments_go() {
    check(
        &manager(),
        &[
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/b/../../..", "/"),
            ("/a/.../b", "/a/.../b"),
            ("/..a", "/..a"),
            ("/a//../b", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/a\\..\\b", "/b"),
            ("/a/..?b", "/?b"),
            ("/a?/../b", "/a?/../b"),
            ("/a/../b?x=%2e%2f//", "/b?x=%2e%2f//"),
            ("/a%2f..%2fb", "/a%2f..%2fb"),
            ("//a/..//b", "///b"),
            ("*", "*"),
        ],
    );
}

#[test]
fn parameters_do_not_hide_dots() {
    check(
        &manager(),
        &[
            ("/a/.;/b", "/a/b"),
            ("/a/..;x=y/b", "/b"),
            ("/a/..;", "/"),
            ("/a/.;?q", "/a/?q"),
            ("/a/...;/b", "/a/...;/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/a/;../b", "/a/;../b"),
            // Envoy leaves these as `..;`; some servers behind it would then climb.
            ("/a/%2e%2e;/b", "/b"),
        ],
    );
}

#[test]
fn escapes_are_kept_or_undone() {
    check(
        &manager(),
        &[
            ("/%41%7e%2d%5F", "/A~-_"),
            ("/%2F%2f%20%25", "/%2F%2f%20%25"),
            ("/a\"b<c>d^e`f{g|h}i", "/a%22b%3Cc%3Ed%5Ee%60f%7Bg%7Ch%7Di"),
            ("/!$&'()*+,:;=@[]", "/!$&'()*+,:;=@[]"),
            ("/%", "/%"),
            ("/%zz%4", "/%zz%4"),
            ("/%%41", "/%A"),
            ("/%a%41", "/%25aA"),
            ("/%%34%31", "/%2541"),
            ("/%2%65", "/%252e"),
            ("/%%32e", "/%252e"),
            ("/%4%2541", "/%4%2541"),
            ("/%c3%A9", "/%c3%A9"),
        ],
    );
}

#[test]
fn what_cannot_be_made_normal_is_refused() {
    for path in [&b"/a#b"[..], b"/a?b#c", b"/a%00b", b"/a\0b", b"/\xff"] {
        assert_eq!(normal(&manager(), path), Err(PathRefused), "{}", show(path));
    }
    let rejecting = HttpManager { escaped_slashes: EscapedSlashes::Reject, ..manager() };
    for path in ["/a%2Fb", "/a%5cb", "/a%2f?q"] {
        assert_eq!(normal(&rejecting, path.as_bytes()), Err(PathRefused), "{path}");
    }
    check(&rejecting, &[("/a?b%2fc", "/a?b%2fc")]);
}

#[test]
fn slashes_are_merged_and_unescaped_when_that_is_wanted() {
    let merging = HttpManager { merge_slashes: true, ..manager() };
    check(
        &merging,
        &[("///a//b/?c//d", "/a/b/?c//d"), ("//", "//"), ("/a/%2F/b", "/a/%2F/b"), ("/a//..//b", "/a/b")],
    );
    let only_merging = HttpManager { normalize_path: false, ..merging.clone() };
    check(&only_merging, &[("/a//./b", "/a/./b"), ("/%41", "/%41")]);
    let forwarding = HttpManager { escaped_slashes: EscapedSlashes::UnescapeAndForward, ..manager() };
    check(&forwarding, &[("/a%2f..%5Cb", "/b"), ("/a/%2e%2e%2f", "/")]);
    let redirecting = HttpManager { escaped_slashes: EscapedSlashes::UnescapeAndRedirect, ..manager() };
    let redirect = Ok((PathChange::Redirect, b"/a/b".to_vec()));
    assert_eq!(normal(&redirecting, b"/a%2fb"), redirect);
    assert_eq!(normal(&redirecting, b"/a/b"), Ok((PathChange::Continue, b"/a/b".to_vec())));
}

fn any_manager() -> impl Strategy<Value = HttpManager> {
    let actions = [
        EscapedSlashes::Keep,
        EscapedSlashes::Reject,
        EscapedSlashes::UnescapeAndForward,
        EscapedSlashes::UnescapeAndRedirect,
    ];
    (any::<bool>(), any::<bool>(), 0..4usize).prop_map(move |(normalize_path, merge_slashes, action)| {
        HttpManager { normalize_path, merge_slashes, escaped_slashes: actions[action], ..manager() }
    })
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing_more(
        manager in any_manager(),
        path in "/([/.a;%\\\\?]|%2e|%2E|%2f|%5c|%41|%4|%25|%65|\\.\\.|é){0,12}",
    ) {
        let manager = HttpManager { escaped_slashes: EscapedSlashes::Keep, ..manager };
        if let Ok((_, once)) = normal(&manager, path.as_bytes()) {
            prop_assert_eq!(normal(&manager, &once).map(|(_, twice)| show(&twice)), Ok(show(&once)));
        }
    }

    #[test]
    fn a_normal_path_has_no_dot_segments(path in "/([/.;\\\\]|%2e|%2E|a){0,12}") {
        let (_, new) = normal(&manager(), path.as_bytes()).unwrap();
        let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        let new = show(&new);
        prop_assert!(new.starts_with('/') && !new.split('/').any(is_dots), "{}", new);
    }

    #[test]
    fn no_path_makes_it_panic(manager in any_manager(), path in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = normal(&manager, &path);
        let forward = Forward { prefix_rewrite: Some(bytes("/x")), ..to_cluster("c") };
        let mut head = request("h", "", &[]);
        head.set_path(&path);
        rewrite_path(&forward, &route("r", prefix("/long/prefix"), direct()), &mut head, true);
    }
}
