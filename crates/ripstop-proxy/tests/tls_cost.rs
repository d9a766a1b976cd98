//! What TLS costs for each record, in time and allocations. Ignored: figures are for people, nothing is asserted of time.
//! `cargo test --release -p ripstop-proxy --test tls_cost -- --ignored --nocapture`
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use ripstop_core::snapshot::*;
use ripstop_proxy::tls::{ClientTls, ServerTls, Session, client_config, server_config};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// An allocator cannot be had without it; only this test's process uses it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn contexts(allows_tls13: bool) -> (Arc<ServerTls>, Arc<ClientTls>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let trust = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let context = || {
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![SanType::URI("spiffe://mesh/a".try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let chain = leaf.signed_by(&key, &issuer).unwrap().pem().into_bytes();
        TlsContext {
            allows_tls12: !allows_tls13,
            allows_tls13,
            certificates: vec![SecretRef::Inline(Arc::new(Secret::Certificate {
                chain,
                key: key.serialize_pem().into_bytes(),
            }))],
            validation: Some(Validation {
                trust: Some(SecretRef::Inline(Arc::new(Secret::Trust(trust.clone().into_bytes())))),
                ..Validation::default()
            }),
            alpn: vec!["h2".to_owned()],
            version: 1,
        }
    };
    let server = DownstreamTls {
        common: context(),
        require_client_certificate: true,
        resumes_sessions: false,
        full_scan: false,
    };
    let client = UpstreamTls {
        common: context(),
        sni: String::new(),
        auto_host_sni: false,
        auto_san_validation: false,
        resumes_sessions: false,
    };
    let none = Named::default();
    (server_config(&server, &none).unwrap(), client_config(&client, &none).unwrap())
}

fn connect(server: &Arc<ServerTls>, client: &Arc<ClientTls>) -> (Session, Session) {
    let mut client = Session::client(client, "a.mesh").unwrap();
    let mut server = Session::server(server).unwrap();
    let (mut plain, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    client.start(&mut up).unwrap();
    while !up.is_empty() || !down.is_empty() {
        server.receive(&mut std::mem::take(&mut up), &mut plain, &mut down).unwrap();
        client.receive(&mut std::mem::take(&mut down), &mut plain, &mut up).unwrap();
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

/// Medians, since the machine may be busy with other things.
fn measure(sender: &mut Session, receiver: &mut Session, size: usize, rounds: usize) {
    let message = vec![7u8; size];
    let (mut out, mut plain, mut reply) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sending, mut receiving) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    let mut allocations = [0; 2];
    for round in 0..rounds + 100 {
        out.clear();
        plain.clear();
        let (start, before) = (Instant::now(), ALLOCATIONS.load(Relaxed));
        sender.send(&message, &mut out).unwrap();
        let (middle, between) = (Instant::now(), ALLOCATIONS.load(Relaxed));
        receiver.receive(&mut out, &mut plain, &mut reply).unwrap();
        let (end, after) = (Instant::now(), ALLOCATIONS.load(Relaxed));
        assert_eq!(plain.len(), size);
        if round >= 100 {
            sending.push((middle - start).as_nanos());
            receiving.push((end - middle).as_nanos());
            allocations[0] += between - before;
            allocations[1] += after - between;
        }
    }
    sending.sort_unstable();
    receiving.sort_unstable();
    println!(
        "{size:>6} bytes: send {:>6} ns, receive {:>6} ns; allocations {:.2} and {:.2}",
        sending[rounds / 2],
        receiving[rounds / 2],
        allocations[0] as f64 / rounds as f64,
        allocations[1] as f64 / rounds as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn what_a_record_costs() {
    for allows_tls13 in [true, false] {
        let (server, client) = contexts(allows_tls13);
        let start = Instant::now();
        for _ in 0..200 {
            connect(&server, &client);
        }
        println!("handshake, both ends: {} us", start.elapsed().as_micros() / 200);
        let (mut client, mut server) = connect(&server, &client);
        println!("{}", client.info().version);
        for (size, rounds) in [(100, 20_000), (1000, 20_000), (10_000, 5000), (64 * 1024, 1000)] {
            measure(&mut client, &mut server, size, rounds);
        }
    }
}
