//! Our own certificates: read from PEM, chosen by the name that a client asks for.
use super::names::{Names, dns_pattern_covers};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A certificate of ours with its key and names.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub key: Arc<CertifiedKey>,
    /// DNS names, lower case; the common name when it has none.
    hosts: Vec<String>,
    /// Its first URI SAN, else empty.
    pub uri: Arc<str>,
}

impl Own {
    /// From PEM: a chain, the leaf first, and a key in PKCS #8, SEC 1 or PKCS #1. Faults never show what the PEM holds.
    pub fn from_pem(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Own, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate chain is not PEM".to_owned())?;
        let leaf = chain.first().ok_or("the certificate chain has no certificate")?;
        let names = Names::of(leaf).ok_or("the certificate cannot be read")?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no private key in PEM".to_owned())?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => "the private key is not the certificate's".to_owned(),
            other => format!("the certificate or its key is of no use: {other}"),
        })?;
        let mut hosts: Vec<String> = names.dns.iter().map(|name| name.to_ascii_lowercase()).collect();
        if hosts.is_empty() {
            hosts.extend(names.common_name.map(|name| name.to_ascii_lowercase()));
        }
        let uri = names.uris.first().cloned().unwrap_or_else(|| Arc::from(""));
        Ok(Own { key: Arc::new(certified), hosts, uri })
    }

    fn fit(&self, host: &str) -> Fit {
        if self.hosts.iter().any(|name| name == host) {
            Fit::Exact
        } else if self.hosts.iter().any(|name| dns_pattern_covers(name, host)) {
            Fit::Wildcard
        } else {
            Fit::No
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Wildcard,
    No,
}

/// All certificates of a downstream context.
#[derive(Debug)]
pub(super) struct OwnSet(pub Vec<Own>);

impl OwnSet {
    /// The certificate for a host: its name exactly, else by wildcard, else the first that is usable.
    pub fn choose(&self, host: Option<&str>, is_usable: impl Fn(&Own) -> bool) -> Option<&Own> {
        let host = host.map(str::to_ascii_lowercase);
        let fit = |own: &&Own| host.as_deref().map_or(Fit::No, |host| own.fit(host));
        // `min_by_key` gives the first of equals.
        self.0.iter().filter(|own| is_usable(own)).min_by_key(fit)
    }
}

impl ResolvesServerCert for OwnSet {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let chosen = self.choose(hello.server_name(), |own| own.key.key.choose_scheme(schemes).is_some());
        chosen.or(self.0.first()).map(|own| own.key.clone())
    }
}
