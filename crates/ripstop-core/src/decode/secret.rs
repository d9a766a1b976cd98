//! `Secret`s, wherever they come from: SDS, a bootstrap, a TLS context itself.
use super::basic;
use super::reader::{IsSet, Reader};
use crate::snapshot::{SdsSource, Secret, SecretRef};
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3 as tls;
use std::sync::Arc;

/// A `Secret` and its name.
pub(super) fn secret(reader: &mut Reader, secret: tls::Secret) -> Option<(Arc<str>, Secret)> {
    use tls::secret::Type;
    let tls::Secret { name, r#type } = secret;
    reader.text("name", &name);
    let unsupported = match r#type {
        Some(Type::TlsCertificate(pair)) => {
            let made = reader.at("tls_certificate", |reader| certificate(reader, pair))?;
            return Some((name.into(), made));
        }
        Some(Type::ValidationContext(context)) => {
            let made = reader.at("validation_context", |reader| only_trust(reader, context))?;
            return Some((name.into(), made));
        }
        Some(Type::SessionTicketKeys(_)) => "session_ticket_keys",
        Some(Type::GenericSecret(_)) => "generic_secret",
        None => {
            reader.fault("is empty");
            return None;
        }
    };
    reader.fault_at(unsupported, "is not supported");
    None
}

/// A `TlsCertificate`: a chain and its key. Whether they are PEM, and belong together, is the rim's to find out.
pub(super) fn certificate(reader: &mut Reader, pair: tls::TlsCertificate) -> Option<Secret> {
    let tls::TlsCertificate {
        certificate_chain,
        private_key,
        pkcs12,
        watched_directory,
        private_key_provider,
        password,
        ocsp_staple,
        signed_certificate_timestamp,
    } = pair;
    refuse!(reader, pkcs12, watched_directory, private_key_provider, password, ocsp_staple);
    refuse!(reader, signed_certificate_timestamp);
    let chain = reader.required("certificate_chain", certificate_chain, basic::data);
    let key = reader.required("private_key", private_key, basic::data);
    Some(Secret::Certificate { chain: chain?, key: key? })
}

/// A validation context that says whom to trust and nothing else.
fn only_trust(reader: &mut Reader, context: tls::CertificateValidationContext) -> Option<Secret> {
    let trusted_ca = context.trusted_ca.clone();
    let rest = tls::CertificateValidationContext { trusted_ca: None, ..context };
    if rest != tls::CertificateValidationContext::default() {
        reader
            .fault("only trusted_ca is supported in a secret; other checks are the context's that names it");
    }
    reader.required("trusted_ca", trusted_ca, trust)
}

/// `trusted_ca`
pub(super) fn trust(
    reader: &mut Reader,
    source: ripstop_xds::envoy::config::core::v3::DataSource,
) -> Option<Secret> {
    basic::data(reader, source).map(Secret::Trust)
}

/// An `SdsSecretConfig`. Without a source the secret is a static one of the bootstrap, which is found by its name before
/// any stream is asked.
pub(super) fn by_sds(reader: &mut Reader, config: tls::SdsSecretConfig) -> Option<SecretRef> {
    let tls::SdsSecretConfig { name, sds_config } = config;
    reader.text("name", &name);
    if !sds_config.is_set() {
        return Some(SecretRef::Sds { name: name.into(), source: SdsSource::Ads });
    }
    let source = reader.required("sds_config", sds_config, basic::config_source)?;
    let source = match source {
        basic::Source::Ads => SdsSource::Ads,
        basic::Source::Cluster(cluster) => SdsSource::Cluster(cluster),
    };
    Some(SecretRef::Sds { name: name.into(), source })
}
