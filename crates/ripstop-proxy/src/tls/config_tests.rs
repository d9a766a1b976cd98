use super::super::fixtures::*;
use super::super::{ConfigCache, Session};
use super::*;
use ripstop_core::snapshot::SdsSource;

fn sds(name: &str) -> SecretRef {
    SecretRef::Sds { name: Arc::from(name), source: SdsSource::Ads }
}

fn anyone(alpn: &[&str]) -> Arc<ClientTls> {
    client_config(&upstream(context(vec![], None, alpn)), &Named::default()).unwrap()
}

fn serving(leaves: &[&Leaf], alpn: &[&str]) -> Arc<ServerTls> {
    let certificates = leaves.iter().map(|leaf| leaf.inline()).collect();
    server_config(&downstream(context(certificates, None, alpn), false), &Named::default()).unwrap()
}

fn meet(server: &Arc<ServerTls>, client: &Arc<ClientTls>, sni: &str) -> (End, End) {
    let (mut client, mut server) = (End::client(client, sni), End::server(server));
    talk(&mut client, &mut server);
    (server, client)
}

#[test]
fn missing_secrets_are_named() {
    let authority = Authority::new("mesh");
    let validation = Validation { trust: Some(sds("bundle")), ..Validation::default() };
    let tls = downstream(context(vec![sds("own")], Some(validation), &[]), true);
    let mut secrets = Named::default();
    let fault = |secrets: &Named<Secret>| server_config(&tls, secrets).map(|_| ()).unwrap_err();
    assert_eq!(fault(&secrets), ConfigFault::Missing(vec!["own".into(), "bundle".into()]));
    secrets.insert("own".into(), Arc::new(authority.leaf(&["spiffe://mesh/a"]).secret()));
    assert_eq!(fault(&secrets).to_string(), "secrets have not come yet: bundle");
    secrets.insert("bundle".into(), Arc::new(Secret::Trust(authority.pem.clone().into_bytes())));
    assert!(server_config(&tls, &secrets).is_ok());
}

#[test]
fn secrets_of_no_use_are_faults_that_show_nothing_of_them() {
    let authority = Authority::new("mesh");
    let (a, b) = (authority.leaf(&["a"]), authority.leaf(&["b"]));
    let bad = [
        Leaf { chain: a.chain.clone(), key: b.key.clone() },
        Leaf { chain: a.chain.clone(), key: "no key".to_owned() },
        Leaf { chain: String::new(), key: a.key.clone() },
        Leaf { chain: a.chain.replace("MII", "M!!"), key: a.key.clone() },
    ];
    for leaf in bad {
        let tls = downstream(context(vec![leaf.inline()], None, &[]), false);
        let ConfigFault::Invalid(why) = server_config(&tls, &Named::default()).unwrap_err() else {
            panic!("it is not missing")
        };
        let key = leaf.key.lines().nth(1).unwrap_or("no key");
        assert!(!why.contains(key), "{why}");
    }
    let wrong_kind = downstream(context(vec![authority.trust()], None, &[]), false);
    assert!(server_config(&wrong_kind, &Named::default()).is_err());
    let requires_nobody = downstream(context(vec![a.inline()], None, &[]), true);
    assert!(server_config(&requires_nobody, &Named::default()).is_err());
}

#[test]
fn the_certificate_is_chosen_by_sni() {
    let authority = Authority::new("mesh");
    let leaves = [
        authority.leaf(&["default.example"]),
        authority.leaf(&["*.example.com"]),
        authority.leaf(&["a.example.com", "spiffe://mesh/a"]),
    ];
    let server = serving(&[&leaves[0], &leaves[1], &leaves[2]], &[]);
    for (sni, expected) in [
        ("a.example.com", "a.example.com"),
        ("A.Example.Com", "a.example.com"),
        ("b.example.com", "*.example.com"),
        ("c.d.example.com", "default.example"),
        ("outbound_.80_._.reviews.default.svc.cluster.local", "default.example"),
        ("", "default.example"),
        ("127.0.0.1", "default.example"),
    ] {
        let (server, client) = meet(&server, &anyone(&[]), sni);
        let shown = client.session.info().peer.clone().expect("servers show one").dns_names;
        assert_eq!(shown, [expected], "{sni}");
        let uri = if expected == "a.example.com" { "spiffe://mesh/a" } else { "" };
        assert_eq!(&*server.session.info().local_uri, uri);
    }
}

#[test]
fn alpn_follows_the_servers_order() {
    let leaf = Authority::new("mesh").leaf(&["a"]);
    for (ours, theirs, agreed) in [
        (&["h2", "http/1.1"][..], &["http/1.1", "h2"][..], Some("h2")),
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&["h2"], &["http/1.1"], None),
        (&["h2"], &[], None),
        (&[], &["h2"], None),
    ] {
        let (server, client) = meet(&serving(&[&leaf], ours), &anyone(theirs), "");
        assert!(!server.session.is_handshaking(), "{ours:?} and {theirs:?}: {:?}", server.failure);
        assert_eq!(server.session.alpn(), agreed.map(str::as_bytes), "{ours:?} and {theirs:?}");
        assert_eq!(client.session.alpn(), agreed.map(str::as_bytes));
    }
}

#[test]
fn each_version_can_be_had_alone() {
    let leaf = Authority::new("mesh").leaf(&["a"]);
    for (allows_tls12, allows_tls13, version, cipher) in [
        (true, false, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (false, true, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ] {
        let common = TlsContext { allows_tls12, allows_tls13, ..context(vec![leaf.inline()], None, &["h2"]) };
        let server = server_config(&downstream(common, false), &Named::default()).unwrap();
        let (mut server, mut client) = meet(&server, &anyone(&["h2"]), "");
        let info = server.session.info();
        assert_eq!((info.version, &info.cipher[..], &info.alpn[..]), (version, cipher, "h2"));
        server.send(&[1; 50_000]);
        server.session.close(&mut server.out);
        client.send(b"yes");
        talk(&mut server, &mut client);
        assert_eq!((client.plain.len(), &server.plain[..]), (50_000, &b"yes"[..]));
        assert!(client.peer_closed);
    }
}

#[test]
fn versions_without_overlap_are_told_apart_from_other_failures() {
    let leaf = Authority::new("mesh").leaf(&["a"]);
    let none = Named::default();
    let old = TlsContext { allows_tls13: false, ..context(vec![], None, &[]) };
    let new = TlsContext { allows_tls12: false, ..context(vec![leaf.inline()], None, &[]) };
    let server = server_config(&downstream(new, false), &none).unwrap();
    let (server, client) = meet(&server, &client_config(&upstream(old), &none).unwrap(), "");
    assert!(server.reason().contains("UNSUPPORTED_PROTOCOL"), "{:?}", server.failure);
    assert!(client.reason().contains("TLSV1_ALERT_PROTOCOL_VERSION"), "{:?}", client.failure);
}

#[test]
fn nothing_is_built_twice_and_a_new_secret_is_for_new_connections() {
    let authority = Authority::new("mesh");
    let leaves = [authority.leaf(&["old.mesh"]), authority.leaf(&["new.mesh"])];
    let tls = downstream(context(vec![sds("own")], None, &[]), false);
    let cache = ConfigCache::default();
    let secrets = |leaf: &Leaf| Named::from_iter([(Arc::from("own"), Arc::new(leaf.secret()))]);
    let old = cache.server(&tls, &secrets(&leaves[0])).unwrap();
    assert!(Arc::ptr_eq(&old, &cache.server(&tls, &secrets(&leaves[0])).unwrap()));

    let (mut server, mut client) = meet(&old, &anyone(&[]), "");
    let new = cache.server(&tls, &secrets(&leaves[1])).unwrap();
    assert!(!Arc::ptr_eq(&old, &new));
    let (_, later) = meet(&new, &anyone(&[]), "");
    assert_eq!(later.session.info().peer.clone().unwrap().dns_names, ["new.mesh"]);
    drop(old);
    cache.sweep();
    client.send(b"still here");
    talk(&mut client, &mut server);
    assert_eq!(server.plain, b"still here");
    assert_eq!(client.session.info().peer.clone().unwrap().dns_names, ["old.mesh"]);
    assert!(Arc::ptr_eq(&new, &cache.server(&tls, &secrets(&leaves[1])).unwrap()));
}

#[test]
fn sessions_are_resumed_only_where_both_contexts_say_so() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["a.mesh"]);
    for allows_tls13 in [true, false] {
        for (down, up) in [(true, true), (true, false), (false, true)] {
            let common = TlsContext { allows_tls13, ..context(vec![leaf.inline()], None, &[]) };
            let server = DownstreamTls { resumes_sessions: down, ..downstream(common, false) };
            let client = UpstreamTls { resumes_sessions: up, ..upstream(context(vec![], None, &[])) };
            let none = Named::default();
            let (server, client) =
                (server_config(&server, &none).unwrap(), client_config(&client, &none).unwrap());
            let _ = meet(&server, &client, "a.mesh");
            // A resumed handshake sends no certificate.
            let mut again = End::client(&client, "a.mesh");
            let mut end = End::server(&server);
            let hello = std::mem::take(&mut again.out);
            end.receive(&hello, &mut std::iter::repeat(usize::MAX));
            let is_resumed = !end.out.windows(6).any(|bytes| bytes == b"a.mesh") && end.out.len() < 1400;
            let flight = end.out.len();
            talk(&mut again, &mut end);
            assert!(again.failure.is_none() && !end.session.is_handshaking());
            let full = meet(&server, &anyone(&[]), "a.mesh");
            assert!(full.0.failure.is_none());
            assert_eq!(
                is_resumed && flight < full_flight(&server),
                down && up,
                "TLS 1.3: {allows_tls13}, {down}, {up}"
            );
        }
    }
}

/// How long the first flight of a full handshake is.
fn full_flight(server: &Arc<ServerTls>) -> usize {
    let (mut client, mut end) = (End::client(&anyone(&[]), "a.mesh"), End::server(server));
    let hello = std::mem::take(&mut client.out);
    end.receive(&hello, &mut std::iter::repeat(usize::MAX));
    end.out.len()
}

#[test]
fn plain_http_at_a_tls_port_is_recognised() {
    let leaf = Authority::new("mesh").leaf(&["a"]);
    let server = serving(&[&leaf], &[]);
    for (bytes, reason) in [
        ("GET / HTTP/1.1\r\n", "268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST"),
        ("CONNECT a:443 HTTP/1.1\r\n", "HTTPS_PROXY_REQUEST"),
        ("SSH-2.0-x\r\n", "WRONG_VERSION_NUMBER"),
    ] {
        let mut session = Session::server(&server).unwrap();
        let mut input = bytes.as_bytes().to_vec();
        let failure = session.receive(&mut input, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(failure.reason.contains(reason), "{bytes}: {failure}");
    }
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_recognised() {
    let mut end = End::client(&anyone(&[]), "");
    end.receive(b"HTTP/1.1 400 Bad Request\r\n", &mut std::iter::repeat(usize::MAX));
    assert_eq!(
        end.reason(),
        "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
    );
}
