use super::super::fixtures::*;
use super::super::{client_config, server_config};
use ripstop_core::snapshot::*;

/// A handshake between a server and a client with these validations; both ends.
fn meet(server: (&Leaf, Option<Validation>), client: (&Leaf, Option<Validation>), sni: &str) -> (End, End) {
    meet_with(server, client, sni, false)
}

fn meet_with(
    server: (&Leaf, Option<Validation>),
    client: (&Leaf, Option<Validation>),
    sni: &str,
    auto_san_validation: bool,
) -> (End, End) {
    let none = Named::default();
    let down = downstream(context(vec![server.0.inline()], server.1, &[]), false);
    let up = upstream(context(vec![client.0.inline()], client.1, &[]));
    let up = UpstreamTls { auto_san_validation, ..up };
    let (down, up) = (server_config(&down, &none).unwrap(), client_config(&up, &none).unwrap());
    let (mut client, mut server) = (End::client(&up, sni), End::server(&down));
    talk(&mut client, &mut server);
    (server, client)
}

fn is_connected(end: &End) -> bool {
    end.failure.is_none() && !end.session.is_handshaking()
}

#[test]
fn another_trust_domain_is_refused_by_either_end() {
    let authority = Authority::new("mesh");
    let (ours, theirs) = (authority.leaf(&["spiffe://mesh/a"]), authority.leaf(&["spiffe://other/a"]));
    let mesh = || Some(trusting(&authority, "spiffe://mesh/"));
    let (server, client) = meet((&ours, mesh()), (&theirs, mesh()), "");
    assert!(
        server.reason().ends_with("verify cert failed: verify SAN list:TLS_error_end"),
        "{:?}",
        server.failure
    );
    assert!(client.reason().contains("SSLV3_ALERT_CERTIFICATE_UNKNOWN"), "{:?}", client.failure);
    let (_, client) = meet((&theirs, mesh()), (&ours, mesh()), "");
    assert!(client.reason().contains("268435581") && client.reason().contains("verify SAN list"));
}

#[test]
fn another_authority_is_refused() {
    let (ours, theirs) = (Authority::new("mesh"), Authority::new("mesh"));
    let (a, b) = (ours.leaf(&["spiffe://mesh/a"]), theirs.leaf(&["spiffe://mesh/a"]));
    let (server, client) = meet((&a, Some(trusting(&ours, "spiffe://mesh/"))), (&b, None), "");
    assert!(server.reason().contains("CERTIFICATE_VERIFY_FAILED"), "{:?}", server.failure);
    assert!(client.failure.is_some());
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new("mesh");
    let (fresh, expired) =
        (authority.leaf(&["spiffe://mesh/a"]), authority.leaf_until(&["spiffe://mesh/a"], 2020));
    let mesh = || Some(trusting(&authority, ""));
    let (server, client) = meet((&fresh, mesh()), (&expired, mesh()), "");
    assert!(server.reason().contains("certificate has expired"), "{:?}", server.failure);
    assert!(client.reason().contains("SSLV3_ALERT_CERTIFICATE_EXPIRED"));
    let (_, client) = meet((&expired, mesh()), (&fresh, mesh()), "");
    assert!(client.reason().contains("certificate has expired"));
}

#[test]
fn an_upstream_context_without_validation_accepts_any_certificate() {
    let authority = Authority::new("whoever");
    let expired = authority.leaf_until(&["example.com"], 2020);
    let (server, client) = meet((&expired, None), (&expired, None), "other.example.com");
    assert!(is_connected(&client) && is_connected(&server));
    assert_eq!(client.session.info().peer.as_ref().unwrap().dns_names, ["example.com"]);
    assert_eq!(server.session.info().peer, None, "no certificate was asked for");
}

#[test]
fn who_is_accepted_untrusted_has_no_identity_downstream() {
    let (ours, theirs) = (Authority::new("mesh"), Authority::new("other"));
    let (a, b) = (ours.leaf(&["spiffe://mesh/a"]), theirs.leaf(&["spiffe://mesh/admin"]));
    let lenient = || Some(Validation { accepts_untrusted: true, ..trusting(&ours, "spiffe://mesh/") });
    let (server, _) = meet((&a, lenient()), (&b, None), "");
    assert!(is_connected(&server));
    assert_eq!(server.session.info().peer, None);
    let (server, _) = meet((&a, lenient()), (&a, None), "");
    assert!(server.session.info().peer.is_some());
}

#[test]
fn a_certificate_may_be_named_by_its_hash() {
    let authority = Authority::new("mesh");
    let (a, b) = (authority.leaf(&["a.mesh"]), authority.leaf(&["b.mesh"]));
    let der = x509_parser::pem::parse_x509_pem(a.chain.as_bytes()).unwrap().1.contents;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let pinned = || {
        Some(Validation {
            certificate_hashes: vec![hash.as_ref().try_into().unwrap()],
            ..Validation::default()
        })
    };
    let (_, client) = meet((&a, None), (&b, pinned()), "");
    assert!(is_connected(&client));
    let (_, client) = meet((&b, None), (&b, pinned()), "");
    assert!(client.reason().contains("cert hash and spki"), "{:?}", client.failure);
    let (server, _) = meet((&a, pinned()), (&a, None), "");
    assert!(server.session.info().peer.is_some(), "a certificate known by its hash is an identity");
}

#[test]
fn a_certificate_that_is_itself_trusted_is_accepted_while_it_is_valid() {
    let authority = Authority::new("whoever");
    for (year, is_accepted) in [(2090, true), (2020, false)] {
        let leaf = authority.leaf_until(&["a.mesh"], year);
        let trust = SecretRef::Inline(std::sync::Arc::new(Secret::Trust(leaf.chain.as_bytes().to_vec())));
        let validation = Validation { trust: Some(trust), ..Validation::default() };
        let (_, client) = meet((&leaf, None), (&leaf, Some(validation)), "");
        assert_eq!(is_connected(&client), is_accepted, "{:?}", client.failure);
    }
}

#[test]
fn an_exact_dns_matcher_is_held_against_wildcards() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["*.example.com"]);
    for (wanted, is_accepted) in [("a.example.com", true), ("a.b.example.com", false), ("example.com", false)]
    {
        let matcher = san(SanKind::Dns, StringMatch::Exact(wanted.as_bytes().into()));
        let validation = Validation { san_matchers: vec![matcher], ..trusting(&authority, "") };
        let (_, client) = meet((&leaf, None), (&leaf, Some(validation)), "");
        assert_eq!(is_connected(&client), is_accepted, "{wanted}");
    }
}

#[test]
fn with_auto_validation_the_certificate_must_be_for_the_sni() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["a.example.com"]);
    for (sni, is_accepted) in [("a.example.com", true), ("b.example.com", false), ("", true)] {
        let validation = Some(trusting(&authority, ""));
        let (_, client) = meet_with((&leaf, None), (&leaf, validation), sni, true);
        assert_eq!(is_connected(&client), is_accepted, "{sni}: {:?}", client.failure);
    }
}

#[test]
fn names_are_matched_by_regex_and_suffix() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["spiffe://mesh/ns/shop/sa/reviews"]);
    let regex = regex::bytes::Regex::new("^(?:spiffe://mesh/ns/[^/]+/sa/reviews)$").unwrap();
    for (matcher, is_accepted) in [
        (StringMatch::Regex(regex), true),
        (StringMatch::Suffix(b"/sa/reviews".as_slice().into()), true),
        (StringMatch::Suffix(b"/sa/ratings".as_slice().into()), false),
        (StringMatch::Exact(b"spiffe://mesh/ns/shop/sa/review".as_slice().into()), false),
    ] {
        let validation =
            Validation { san_matchers: vec![san(SanKind::Uri, matcher)], ..trusting(&authority, "") };
        let (_, client) = meet((&leaf, None), (&leaf, Some(validation)), "");
        assert_eq!(is_connected(&client), is_accepted);
    }
}
