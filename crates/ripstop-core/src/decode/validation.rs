//! Whom a TLS context believes: `CertificateValidationContext`, alone or with a secret.
use super::matching;
use super::reader::Reader;
use super::secret;
use crate::snapshot::{SanKind, SanMatcher, SecretRef, Validation};
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3 as tls;
use std::sync::Arc;

/// `validation_context_type`
pub(super) fn validation(
    reader: &mut Reader,
    context: Option<tls::common_tls_context::ValidationContextType>,
) -> Option<Validation> {
    use tls::common_tls_context::ValidationContextType as Type;
    match context? {
        Type::ValidationContext(context) => {
            Some(reader.at("validation_context", |reader| validation_context(reader, context, None)))
        }
        Type::ValidationContextSdsSecretConfig(config) => {
            let trust =
                reader.at("validation_context_sds_secret_config", |reader| secret::by_sds(reader, config))?;
            Some(Validation { trust: Some(trust), ..Validation::default() })
        }
        Type::CombinedValidationContext(combined) => {
            reader.at("combined_validation_context", |reader| combined_context(reader, combined))
        }
        Type::ValidationContextCertificateProvider(_) => {
            reader.fault_at("validation_context_certificate_provider", "is not supported");
            None
        }
        Type::ValidationContextCertificateProviderInstance(_) => {
            reader.fault_at("validation_context_certificate_provider_instance", "is not supported");
            None
        }
    }
}

fn combined_context(
    reader: &mut Reader,
    combined: tls::common_tls_context::CombinedCertificateValidationContext,
) -> Option<Validation> {
    let tls::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context,
        validation_context_sds_secret_config,
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance,
    } = combined;
    refuse!(
        reader,
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance
    );
    let trust = reader.required(
        "validation_context_sds_secret_config",
        validation_context_sds_secret_config,
        secret::by_sds,
    )?;
    reader.required("default_validation_context", default_validation_context, |reader, context| {
        Some(validation_context(reader, context, Some(trust)))
    })
}

/// `by_secret` is whom to trust, when a secret says that.
fn validation_context(
    reader: &mut Reader,
    context: tls::CertificateValidationContext,
    by_secret: Option<SecretRef>,
) -> Validation {
    use tls::certificate_validation_context::TrustChainVerification;
    let tls::CertificateValidationContext {
        trusted_ca,
        ca_certificate_provider_instance,
        system_root_certs,
        watched_directory,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        allow_expired_certificate,
        trust_chain_verification,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
    } = context;
    refuse!(reader, ca_certificate_provider_instance, system_root_certs, watched_directory, crl);
    refuse!(
        reader,
        verify_certificate_spki,
        allow_expired_certificate,
        custom_validator_config,
        max_verify_depth
    );
    refuse_true!(reader, require_signed_certificate_timestamp);
    ignore!("of revocation lists, which are refused", only_verify_leaf_cert_crl);
    let own = reader.optional("trusted_ca", trusted_ca, secret::trust);
    let mut san_matchers = reader.each("match_typed_subject_alt_names", match_typed_subject_alt_names, san);
    let untyped = reader.each("match_subject_alt_names", match_subject_alt_names, matching::string);
    for value in untyped {
        let kinds = [SanKind::Dns, SanKind::Uri, SanKind::Email, SanKind::Ip];
        san_matchers.extend(kinds.map(|kind| SanMatcher { kind, value: value.clone() }));
    }
    let trust = by_secret.or(own.map(|made| SecretRef::Inline(Arc::new(made))));
    if trust.is_none() && !san_matchers.is_empty() {
        reader.fault("names say nothing about certificates that nobody vouches for: trusted_ca is missing");
    }
    Validation {
        trust,
        san_matchers,
        accepts_untrusted: reader
            .choice::<TrustChainVerification>("trust_chain_verification", trust_chain_verification)
            == TrustChainVerification::AcceptUntrusted,
        certificate_hashes: reader.each("verify_certificate_hash", verify_certificate_hash, certificate_hash),
    }
}

fn san(reader: &mut Reader, wanted: tls::SubjectAltNameMatcher) -> Option<SanMatcher> {
    use tls::subject_alt_name_matcher::SanType;
    let tls::SubjectAltNameMatcher { san_type, matcher, oid } = wanted;
    refuse!(reader, oid);
    let kind = match reader.choice("san_type", san_type) {
        SanType::Dns => Some(SanKind::Dns),
        SanType::Uri => Some(SanKind::Uri),
        SanType::Email => Some(SanKind::Email),
        SanType::IpAddress => Some(SanKind::Ip),
        SanType::Unspecified => {
            reader.fault_at("san_type", "is required");
            None
        }
        SanType::OtherName => {
            reader.fault_at("san_type", "OTHER_NAME is not supported");
            None
        }
    };
    let value = reader.required("matcher", matcher, matching::string);
    Some(SanMatcher { kind: kind?, value: value? })
}

/// SHA-256 in hex, with colons or without.
fn certificate_hash(reader: &mut Reader, text: String) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut made = [0; 32];
    let is_right = digits.len() == 64
        && made.iter_mut().zip(digits.chunks(2)).all(|(byte, pair)| {
            let pair = std::str::from_utf8(pair).ok();
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).map(|value| *byte = value).is_some()
        });
    if !is_right {
        reader.fault("is not a SHA-256 in hex");
        return None;
    }
    Some(made)
}
