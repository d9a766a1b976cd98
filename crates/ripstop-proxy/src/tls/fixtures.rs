//! Authorities, certificates and contexts for tests, and two sessions that talk to each other in memory.
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use ripstop_core::snapshot::*;
use std::sync::Arc;

/// An authority.
pub(super) struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate's chain and key, as PEM.
#[derive(Clone)]
pub(super) struct Leaf {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate with these SANs: a URI when there is `://` in it, else a DNS name.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_until(names, 2090)
    }

    /// One that is of no use after the given year.
    pub fn leaf_until(&self, names: &[&str], year: i32) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "a workload");
        params.distinguished_name.push(DnType::OrganizationName, DnValue::Utf8String("Acme, Inc.".into()));
        let sans = names.iter().map(|name| match name.contains("://") {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        });
        params.subject_alt_names = sans.collect();
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { chain, key: key.serialize_pem() }
    }

    pub fn trust(&self) -> SecretRef {
        SecretRef::Inline(Arc::new(Secret::Trust(self.pem.clone().into_bytes())))
    }
}

impl Leaf {
    pub fn secret(&self) -> Secret {
        Secret::Certificate { chain: self.chain.clone().into_bytes(), key: self.key.clone().into_bytes() }
    }

    pub fn inline(&self) -> SecretRef {
        SecretRef::Inline(Arc::new(self.secret()))
    }
}

pub(super) fn context(
    certificates: Vec<SecretRef>,
    validation: Option<Validation>,
    alpn: &[&str],
) -> TlsContext {
    TlsContext {
        allows_tls12: true,
        allows_tls13: true,
        certificates,
        validation,
        alpn: alpn.iter().map(|name| (*name).to_owned()).collect(),
        version: 1,
    }
}

pub(super) fn downstream(common: TlsContext, requires_client: bool) -> DownstreamTls {
    DownstreamTls {
        common,
        require_client_certificate: requires_client,
        resumes_sessions: false,
        full_scan: false,
    }
}

pub(super) fn upstream(common: TlsContext) -> UpstreamTls {
    UpstreamTls {
        common,
        sni: String::new(),
        auto_host_sni: false,
        auto_san_validation: false,
        resumes_sessions: false,
    }
}

pub(super) fn san(kind: SanKind, value: StringMatch) -> SanMatcher {
    SanMatcher { kind, value: StringMatcher { kind: value, ignore_case: false } }
}

/// Trust of an authority and a URI prefix.
pub(super) fn trusting(authority: &Authority, uri_prefix: &str) -> Validation {
    let sans = match uri_prefix {
        "" => Vec::new(),
        prefix => vec![san(SanKind::Uri, StringMatch::Prefix(prefix.as_bytes().into()))],
    };
    Validation { trust: Some(authority.trust()), san_matchers: sans, ..Validation::default() }
}

/// A mesh's pair of contexts: both show `leaf`s of one authority and want the prefix `spiffe://mesh/`.
pub(super) fn mesh(alpn: &[&str]) -> (Arc<ServerTls>, Arc<ClientTls>) {
    let authority = Authority::new("mesh");
    let (server, client) = (
        authority.leaf(&["spiffe://mesh/ns/a/sa/server"]),
        authority.leaf(&["spiffe://mesh/ns/a/sa/client"]),
    );
    let validation = trusting(&authority, "spiffe://mesh/");
    let server = downstream(context(vec![server.inline()], Some(validation.clone()), alpn), true);
    let client = upstream(context(vec![client.inline()], Some(validation), alpn));
    let none = Named::default();
    (server_config(&server, &none).unwrap(), client_config(&client, &none).unwrap())
}

/// A session and all that came out of it.
pub(super) struct End {
    pub session: Session,
    pub plain: Vec<u8>,
    pub out: Vec<u8>,
    pub failure: Option<TlsFailure>,
    pub peer_closed: bool,
}

impl End {
    pub fn server(config: &Arc<ServerTls>) -> End {
        End::new(Session::server(config).unwrap())
    }

    pub fn client(config: &Arc<ClientTls>, sni: &str) -> End {
        let mut end = End::new(Session::client(config, sni).unwrap());
        end.session.start(&mut end.out).unwrap();
        end
    }

    fn new(session: Session) -> End {
        End { session, plain: Vec::new(), out: Vec::new(), failure: None, peer_closed: false }
    }

    /// Take in bytes in pieces of the sizes given, in turn.
    pub fn receive(&mut self, bytes: &[u8], sizes: &mut dyn Iterator<Item = usize>) {
        let mut rest = bytes.to_vec();
        while !rest.is_empty() && self.failure.is_none() {
            let n = sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            let mut piece: Vec<u8> = rest.drain(..n).collect();
            match self.session.receive(&mut piece, &mut self.plain, &mut self.out) {
                Ok(received) => self.peer_closed |= received.peer_closed,
                Err(why) => self.failure = Some(why),
            }
        }
    }

    pub fn send(&mut self, plain: &[u8]) {
        self.session.send(plain, &mut self.out).unwrap();
    }

    pub fn reason(&self) -> &'static str {
        self.failure.as_ref().map_or("", |why| why.reason)
    }
}

/// Carry bytes to and fro until neither has anything to say.
pub(super) fn talk(a: &mut End, b: &mut End) {
    talk_in_pieces(a, b, &mut std::iter::repeat(usize::MAX));
}

/// The same, cut into pieces.
pub(super) fn talk_in_pieces(a: &mut End, b: &mut End, sizes: &mut dyn Iterator<Item = usize>) {
    while !a.out.is_empty() || !b.out.is_empty() {
        let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
        b.receive(&from_a, sizes);
        a.receive(&from_b, sizes);
    }
}
