//! TLS contexts and secrets (`transport_sockets.tls.v3`).
use super::*;

/// `DownstreamTlsContext`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DownstreamTls {
    pub common: TlsContext,
    pub require_client_certificate: bool,
    pub resumes_sessions: bool,
    /// `full_scan_certs_on_sni_mismatch`
    pub full_scan: bool,
}

/// `UpstreamTlsContext`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct UpstreamTls {
    pub common: TlsContext,
    /// Empty: none is sent.
    pub sni: String,
    /// `auto_host_sni`
    pub auto_host_sni: bool,
    /// `auto_sni_san_validation`
    pub auto_san_validation: bool,
    /// `max_session_keys` is not 0.
    pub resumes_sessions: bool,
}

/// `CommonTlsContext`
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct TlsContext {
    /// TLS 1.2 may be spoken.
    pub allows_tls12: bool,
    /// TLS 1.3 may be spoken.
    pub allows_tls13: bool,
    pub certificates: Vec<SecretRef>,
    pub validation: Option<Validation>,
    pub alpn: Vec<String>,
    /// Content of the context: equal values mean equal contexts.
    pub version: u64,
}

/// `CertificateValidationContext`, merged with a secret when `combined_validation_context` says so.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Validation {
    /// Whose certificates are trusted; None: any (only hashes or nothing is checked).
    pub trust: Option<SecretRef>,
    /// Any of them must match. Empty: any name.
    pub san_matchers: Vec<SanMatcher>,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`
    pub accepts_untrusted: bool,
    /// SHA-256 of acceptable certificates (`verify_certificate_hash`).
    pub certificate_hashes: Vec<[u8; 32]>,
}

/// A certificate or a trust bundle.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// In the context itself, or a file that was read.
    Inline(Arc<Secret>),
    /// By SDS.
    Sds {
        /// The secret's name.
        name: Arc<str>,
        /// From where.
        source: SdsSource,
    },
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SdsSource {
    /// The aggregated stream.
    Ads,
    /// A gRPC service at a cluster.
    Cluster(Arc<str>),
}

/// `Secret`
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A chain and its key, as PEM.
    Certificate {
        /// The chain, the leaf first.
        chain: Vec<u8>,
        /// The key. Never shown.
        key: Vec<u8>,
    },
    /// Certificates of authorities, as PEM.
    Trust(Vec<u8>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Secret::Certificate { .. } => "Certificate { .. }",
            Secret::Trust(_) => "Trust(..)",
        })
    }
}

/// `SubjectAltNameMatcher`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SanMatcher {
    pub kind: SanKind,
    pub value: StringMatcher,
}

/// `SanType`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SanKind {
    Dns,
    Uri,
    Ip,
    Email,
}
