//! TLS contexts and secrets become configurations of rustls.
use super::certificate::{Own, OwnSet};
use super::verify::{Judge, Trust};
use ripstop_core::snapshot::{DownstreamTls, Named, Secret, SecretRef, TlsContext, UpstreamTls, Validation};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::sync::{Arc, LazyLock};

/// How many sessions a client context remembers (Envoy's `max_session_keys` is one by default, for each host).
const CLIENT_SESSIONS: usize = 256;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    use aws_lc_rs::cipher_suite::*;
    // AES-128 first, as Envoy has it where there is hardware for AES: it takes less time for each byte than AES-256.
    let cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
});

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFault {
    /// Secrets that have not come yet, by name: whoever needs them waits ("warming").
    Missing(Vec<Arc<str>>),
    /// What is wrong. Never shows what a secret holds.
    Invalid(String),
}

impl std::fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigFault::Missing(names) => write!(f, "secrets have not come yet: {}", names.join(", ")),
            ConfigFault::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ConfigFault {}

impl From<String> for ConfigFault {
    fn from(why: String) -> ConfigFault {
        ConfigFault::Invalid(why)
    }
}

impl From<rustls::Error> for ConfigFault {
    fn from(why: rustls::Error) -> ConfigFault {
        ConfigFault::Invalid(why.to_string())
    }
}

/// A downstream context, ready for connections.
#[derive(Debug)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    /// The same without ALPN, for clients that offer no protocol of ours: Envoy goes on with none, rustls would refuse.
    pub(super) config_without_alpn: Arc<ServerConfig>,
    pub(super) own: Arc<OwnSet>,
    pub(super) judge: Option<Arc<Judge>>,
}

/// An upstream context, ready for connections.
#[derive(Debug)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) local_uri: Arc<str>,
}

impl ClientTls {
    /// The configuration itself, for the control thread's own connections.
    pub fn rustls(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

/// The secrets that a context needs, in order: certificates, then trust.
pub(super) fn secrets_of(
    context: &TlsContext,
    secrets: &Named<Secret>,
) -> Result<Vec<Arc<Secret>>, ConfigFault> {
    let trust = context.validation.as_ref().and_then(|validation| validation.trust.as_ref());
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in context.certificates.iter().chain(trust) {
        match reference {
            SecretRef::Inline(secret) => found.push(secret.clone()),
            SecretRef::Sds { name, .. } => match secrets.get(name) {
                Some(secret) => found.push(secret.clone()),
                None => missing.push(name.clone()),
            },
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(ConfigFault::Missing(missing)) }
}

/// Build a downstream context. Prefer [`super::ConfigCache::server`], which builds nothing twice.
pub fn server_config(tls: &DownstreamTls, secrets: &Named<Secret>) -> Result<Arc<ServerTls>, ConfigFault> {
    let secrets = secrets_of(&tls.common, secrets)?;
    let own = Arc::new(OwnSet(certificates(&tls.common, &secrets)?));
    if own.0.is_empty() {
        return Err(ConfigFault::Invalid("a downstream context needs a certificate".to_owned()));
    }
    let judge = judge(&tls.common, &secrets)?.filter(Judge::checks_anything);
    let judge = judge.map(|judge| Arc::new(Judge { is_mandatory: tls.require_client_certificate, ..judge }));
    if tls.require_client_certificate && judge.is_none() {
        return Err(ConfigFault::Invalid(
            "require_client_certificate needs a validation_context that says whom to trust".to_owned(),
        ));
    }
    let builder = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&versions(&tls.common)?)?;
    let builder = match &judge {
        Some(judge) => builder.with_client_cert_verifier(judge.clone()),
        None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
    };
    let mut config = builder.with_cert_resolver(own.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The session takes over the keys of TLS 1.3.
    config.enable_secret_extraction = true;
    config.ignore_client_order = true;
    if tls.resumes_sessions {
        // Tickets of this configuration alone: a resumed session is not verified again, so others' must not count.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    } else {
        config.send_tls13_tickets = 0;
    }
    let config_without_alpn = Arc::new(config.clone());
    config.alpn_protocols = alpn(&tls.common);
    Ok(Arc::new(ServerTls { config: Arc::new(config), config_without_alpn, own, judge }))
}

/// Build an upstream context. Prefer [`super::ConfigCache::client`].
pub fn client_config(tls: &UpstreamTls, secrets: &Named<Secret>) -> Result<Arc<ClientTls>, ConfigFault> {
    let secrets = secrets_of(&tls.common, secrets)?;
    let own = certificates(&tls.common, &secrets)?.into_iter().next();
    let judge = judge(&tls.common, &secrets)?.unwrap_or_else(|| Judge {
        trust: None,
        san_matchers: Vec::new(),
        hashes: Vec::new(),
        accepts_untrusted: true,
        matches_sni: false,
        is_mandatory: false,
        algorithms: PROVIDER.signature_verification_algorithms,
    });
    let judge = Judge { matches_sni: tls.auto_san_validation, ..judge };
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&versions(&tls.common)?)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge));
    let local_uri = own.as_ref().map_or_else(|| Arc::from(""), |own| own.uri.clone());
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn(&tls.common);
    config.enable_secret_extraction = true;
    config.resumption = match tls.resumes_sessions {
        true => rustls::client::Resumption::in_memory_sessions(CLIENT_SESSIONS),
        false => rustls::client::Resumption::disabled(),
    };
    Ok(Arc::new(ClientTls { config: Arc::new(config), local_uri }))
}

fn alpn(context: &TlsContext) -> Vec<Vec<u8>> {
    context.alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn versions(context: &TlsContext) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigFault> {
    let mut versions = Vec::new();
    if context.allows_tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if context.allows_tls12 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err(ConfigFault::Invalid("neither TLS 1.2 nor TLS 1.3 is allowed".to_owned()));
    }
    Ok(versions)
}

fn certificates(context: &TlsContext, secrets: &[Arc<Secret>]) -> Result<Vec<Own>, ConfigFault> {
    let own = secrets.iter().take(context.certificates.len());
    own.map(|secret| match &**secret {
        Secret::Certificate { chain, key } => Ok(Own::from_pem(chain, key, &PROVIDER)?),
        Secret::Trust(_) => Err(ConfigFault::Invalid(
            "a validation context is named where a certificate is wanted".to_owned(),
        )),
    })
    .collect()
}

fn judge(context: &TlsContext, secrets: &[Arc<Secret>]) -> Result<Option<Judge>, ConfigFault> {
    let Some(validation) = &context.validation else { return Ok(None) };
    let trust = secrets.get(context.certificates.len()).map(|secret| match &**secret {
        Secret::Trust(pem) => Ok(Trust::from_pem(pem)?),
        Secret::Certificate { .. } => Err(ConfigFault::Invalid(
            "a certificate is named where a validation context is wanted".to_owned(),
        )),
    });
    let trust = trust.transpose()?;
    let Validation { san_matchers, accepts_untrusted, certificate_hashes, .. } = validation;
    if trust.is_none() && !san_matchers.is_empty() && !accepts_untrusted {
        return Err(ConfigFault::Invalid("names are not to be believed without a trusted_ca".to_owned()));
    }
    let checks_anything = trust.is_some() || !certificate_hashes.is_empty();
    Ok(Some(Judge {
        trust,
        san_matchers: san_matchers.clone(),
        hashes: certificate_hashes.clone(),
        accepts_untrusted: *accepts_untrusted || !checks_anything,
        matches_sni: false,
        is_mandatory: false,
        algorithms: PROVIDER.signature_verification_algorithms,
    }))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
