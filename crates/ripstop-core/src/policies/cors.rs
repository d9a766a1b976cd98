//! Cross-origin requests (`filters.http.cors`; Fetch standard, "CORS protocol"). Envoy applies them to routes that forward
//! only, not to direct responses and redirects.
use crate::http::{HeaderId, Method, RequestHead, ResponseHead};
use crate::route::is_in_share;
use crate::snapshot::Cors;

/// Answer a preflight: fills `answer` and says true when the request is one that is answered here, with status 200 and no
/// body (details `cors_response`). `random` decides `filter_enabled`.
pub fn preflight(cors: &Cors, head: &RequestHead, random: u64, answer: &mut ResponseHead) -> bool {
    let fields = &head.headers;
    let Some(origin) = enforced_origin(cors, head, random) else { return false };
    let asked = fields.get(HeaderId::AccessControlRequestMethod).unwrap_or_default();
    if head.method() != Method::Options || asked.is_empty() {
        return false;
    }
    let is_allowed = allows(cors, origin);
    if !is_allowed && cors.forwards_not_matching_preflights {
        return false;
    }
    answer.clear();
    answer.status = 200;
    if is_allowed {
        answer.headers.set(HeaderId::AccessControlAllowOrigin, origin);
    }
    tell_credentials(cors, answer);
    let asked_headers = fields.get(HeaderId::AccessControlRequestHeaders).unwrap_or_default();
    let methods = or_asked(&cors.allow_methods, asked);
    let headers = or_asked(&cors.allow_headers, asked_headers);
    set_some(answer, HeaderId::AccessControlAllowMethods, methods);
    set_some(answer, HeaderId::AccessControlAllowHeaders, headers);
    set_some(answer, HeaderId::AccessControlMaxAge, cors.max_age.as_bytes());
    if is_allowed {
        set_some(answer, HeaderId::AccessControlExposeHeaders, cors.expose_headers.as_bytes());
    }
    true
}

/// Add what a browser needs to the answer of any other request with an allowed origin. `head` is the request, `random`
/// the number that `preflight` had.
pub fn actual(cors: &Cors, head: &RequestHead, random: u64, answer: &mut ResponseHead) {
    let Some(origin) = enforced_origin(cors, head, random).filter(|origin| allows(cors, origin)) else {
        return;
    };
    answer.headers.set(HeaderId::AccessControlAllowOrigin, origin);
    tell_credentials(cors, answer);
    set_some(answer, HeaderId::AccessControlExposeHeaders, cors.expose_headers.as_bytes());
}

fn enforced_origin<'a>(cors: &Cors, head: &'a RequestHead, random: u64) -> Option<&'a [u8]> {
    let origin = head.headers.get(HeaderId::Origin).filter(|origin| !origin.is_empty())?;
    is_in_share(cors.enabled, random).then_some(origin)
}

/// A matcher that matches `*` allows any origin.
fn allows(cors: &Cors, origin: &[u8]) -> bool {
    cors.allow_origins.iter().any(|allowed| allowed.matches(b"*") || allowed.matches(origin))
}

fn tell_credentials(cors: &Cors, answer: &mut ResponseHead) {
    if cors.allow_credentials {
        answer.headers.set(HeaderId::AccessControlAllowCredentials, b"true");
    }
}

/// `*` allows what is asked for.
fn or_asked<'a>(configured: &'a str, asked: &'a [u8]) -> &'a [u8] {
    if configured == "*" { asked } else { configured.as_bytes() }
}

fn set_some(answer: &mut ResponseHead, id: HeaderId, value: &[u8]) {
    if !value.is_empty() {
        answer.headers.set(id, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Millionths, StringMatch, StringMatcher};

    fn policy() -> Cors {
        let origin = StringMatch::Exact(b"https://shop.example".as_slice().into());
        Cors {
            allow_origins: vec![StringMatcher { kind: origin, ignore_case: false }],
            allow_methods: "GET,PUT".into(),
            allow_headers: "*".into(),
            expose_headers: "x-total".into(),
            max_age: "60".into(),
            allow_credentials: true,
            enabled: Millionths::ALL,
            shadow_enabled: Millionths(0),
            forwards_not_matching_preflights: false,
        }
    }

    fn request(method: &str, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.set_method(method.as_bytes());
        for (name, value) in fields {
            head.headers.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn shown(answer: &ResponseHead) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        answer.headers.iter().map(|f| format!("{}: {}", text(f.name), text(f.value))).collect()
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_is_answered() {
        let asked = [
            ("origin", "https://shop.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, x-b"),
        ];
        let mut answer = ResponseHead::default();
        assert!(preflight(&policy(), &request("OPTIONS", &asked), 0, &mut answer));
        assert_eq!(answer.status, 200);
        let wanted = [
            "access-control-allow-origin: https://shop.example",
            "access-control-allow-credentials: true",
            "access-control-allow-methods: GET,PUT",
            "access-control-allow-headers: x-a, x-b",
            "access-control-max-age: 60",
            "access-control-expose-headers: x-total",
        ];
        assert_eq!(shown(&answer), wanted);
    }

    #[test]
    fn a_preflight_of_another_origin_is_answered_without_it_or_handed_on() {
        let asked = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
        let head = request("OPTIONS", &asked);
        let mut answer = ResponseHead::default();
        assert!(preflight(&policy(), &head, 0, &mut answer));
        assert!(!answer.headers.has(HeaderId::AccessControlAllowOrigin));
        let lenient = Cors { forwards_not_matching_preflights: true, ..policy() };
        assert!(!preflight(&lenient, &head, 0, &mut answer));
    }

    #[test]
    fn other_requests_are_not_preflights() {
        let mut answer = ResponseHead::default();
        for head in [
            request("GET", &[("origin", "https://shop.example"), ("access-control-request-method", "PUT")]),
            request("OPTIONS", &[("origin", "https://shop.example")]),
            request("OPTIONS", &[("access-control-request-method", "PUT")]),
        ] {
            assert!(!preflight(&policy(), &head, 0, &mut answer));
        }
    }

    #[test]
    fn an_answer_names_an_allowed_origin_only() {
        let mut answer = ResponseHead::default();
        actual(&policy(), &request("GET", &[("origin", "https://evil.example")]), 0, &mut answer);
        assert!(answer.headers.is_empty());
        actual(&policy(), &request("GET", &[("origin", "https://shop.example")]), 0, &mut answer);
        let wanted = [
            "access-control-allow-origin: https://shop.example",
            "access-control-allow-credentials: true",
            "access-control-expose-headers: x-total",
        ];
        assert_eq!(shown(&answer), wanted);
    }

    #[test]
    fn a_policy_that_is_not_enabled_does_nothing() {
        let off = Cors { enabled: Millionths(0), ..policy() };
        let mut answer = ResponseHead::default();
        actual(&off, &request("GET", &[("origin", "https://shop.example")]), 0, &mut answer);
        assert!(answer.headers.is_empty());
    }
}
