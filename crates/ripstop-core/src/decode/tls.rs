//! TLS contexts and transport sockets.
use super::reader::{Reader, type_name};
use super::secret;
use super::validation::validation;
use super::version_of;
use crate::snapshot::{DownstreamTls, Secret, SecretRef, TlsContext, UpstreamTls, Validation};
use prost_types::Any;
use ripstop_xds::envoy::config::core::v3 as core;
use ripstop_xds::envoy::extensions::transport_sockets::tls::v3 as tls;
use std::sync::Arc;

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

fn config_of(reader: &mut Reader, socket: core::TransportSocket) -> Option<Any> {
    use core::transport_socket::ConfigType;
    let core::TransportSocket { name, config_type } = socket;
    ignore!("the type says what it is", name);
    reader.required("typed_config", config_type, |_, ConfigType::TypedConfig(any)| Some(any))
}

// --- downstream ---

/// The transport socket of a filter chain; None is plaintext.
pub(super) fn downstream_socket(
    reader: &mut Reader,
    socket: core::TransportSocket,
) -> Option<Arc<DownstreamTls>> {
    let any = config_of(reader, socket)?;
    reader.at("typed_config", |reader| match type_name(&any) {
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" => {
            let context = reader.unpack(&any)?;
            downstream(reader, context, &any.value).map(Arc::new)
        }
        RAW_BUFFER => None,
        _ => {
            reader.unknown(&any);
            None
        }
    })
}

fn downstream(
    reader: &mut Reader,
    context: tls::DownstreamTlsContext,
    bytes: &[u8],
) -> Option<DownstreamTls> {
    use tls::downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType as Tickets};
    let tls::DownstreamTlsContext {
        common_tls_context,
        require_client_certificate,
        require_sni,
        disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple_policy,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers,
        session_ticket_keys_type,
    } = context;
    refuse_true!(reader, require_sni);
    ignore!("sessions last as long as their keys do here, which is shorter", session_timeout);
    ignore!("a matter of taste between equally strong ciphers", prefer_client_ciphers);
    if reader.choice::<OcspStaplePolicy>("ocsp_staple_policy", ocsp_staple_policy)
        != OcspStaplePolicy::LenientStapling
    {
        reader.fault_at("ocsp_staple_policy", "only LENIENT_STAPLING is supported");
    }
    let stateless = match session_ticket_keys_type {
        None | Some(Tickets::DisableStatelessSessionResumption(false)) => true,
        Some(Tickets::DisableStatelessSessionResumption(true)) => false,
        Some(Tickets::SessionTicketKeys(_)) => not_here(reader, "session_ticket_keys"),
        Some(Tickets::SessionTicketKeysSdsSecretConfig(_)) => {
            not_here(reader, "session_ticket_keys_sds_secret_config")
        }
    };
    let common = reader.required("common_tls_context", common_tls_context, |reader, context| {
        let made = common(reader, context, bytes);
        if made.certificates.is_empty() {
            reader.fault("has no certificate");
        }
        Some(made)
    })?;
    Some(DownstreamTls {
        common,
        require_client_certificate: require_client_certificate.unwrap_or(false),
        resumes_sessions: stateless && !disable_stateful_session_resumption,
        full_scan: full_scan_certs_on_sni_mismatch.unwrap_or(false),
    })
}

fn not_here(reader: &mut Reader, field: &str) -> bool {
    reader.fault_at(field, "is not supported");
    false
}

// --- upstream ---

/// What a cluster's transport socket says: TLS, and the version of PROXY protocol (0: none).
pub(super) fn upstream_socket(
    reader: &mut Reader,
    socket: core::TransportSocket,
) -> Option<Arc<UpstreamTls>> {
    let any = config_of(reader, socket)?;
    reader.at("typed_config", |reader| upstream_context(reader, &any))
}

fn upstream_context(reader: &mut Reader, any: &Any) -> Option<Arc<UpstreamTls>> {
    match type_name(any) {
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {
            let context = reader.unpack(any)?;
            upstream(reader, context, &any.value).map(Arc::new)
        }
        RAW_BUFFER => None,
        _ => {
            reader.unknown(any);
            None
        }
    }
}

fn upstream(reader: &mut Reader, context: tls::UpstreamTlsContext, bytes: &[u8]) -> Option<UpstreamTls> {
    let tls::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = context;
    refuse!(reader, allow_renegotiation);
    ignore!("it is always enforced", enforce_rsa_key_usage);
    if sni.len() > 255 {
        reader.fault_at("sni", "is longer than 255 bytes");
    }
    let common = match common_tls_context {
        Some(context) => reader.at("common_tls_context", |reader| common(reader, context, bytes)),
        None => common(reader, tls::CommonTlsContext::default(), bytes),
    };
    if auto_sni_san_validation && common.validation.as_ref().is_none_or(|found| found.trust.is_none()) {
        reader.fault_at("auto_sni_san_validation", "needs a trusted_ca");
    }
    Some(UpstreamTls {
        common,
        sni,
        auto_host_sni,
        auto_san_validation: auto_sni_san_validation,
        resumes_sessions: max_session_keys.unwrap_or(1) != 0,
    })
}

// --- both ---

/// A `CommonTlsContext`; `bytes` are those of the context around it.
fn common(reader: &mut Reader, context: tls::CommonTlsContext, bytes: &[u8]) -> TlsContext {
    let tls::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = context;
    refuse!(
        reader,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        custom_handshaker,
        key_log
    );
    refuse!(reader, tls_certificate_certificate_provider, tls_certificate_certificate_provider_instance);
    let (allows_tls12, allows_tls13) = versions(reader, tls_params);
    let mut certificates = reader.each("tls_certificates", tls_certificates, |reader, pair| {
        secret::certificate(reader, pair).map(|made| SecretRef::Inline(Arc::new(made)))
    });
    certificates.extend(reader.each(
        "tls_certificate_sds_secret_configs",
        tls_certificate_sds_secret_configs,
        secret::by_sds,
    ));
    for (index, protocol) in alpn_protocols.iter().enumerate() {
        if protocol.is_empty() || protocol.len() > 255 {
            reader.fault_at(&format!("alpn_protocols[{index}]"), "must have 1 to 255 bytes");
        }
    }
    let validation = validation(reader, validation_context_type);
    let version = content_version(bytes, &certificates, validation.as_ref());
    TlsContext { allows_tls12, allows_tls13, certificates, validation, alpn: alpn_protocols, version }
}

/// Files that changed make another context, even where the message is the same.
fn content_version(bytes: &[u8], certificates: &[SecretRef], validation: Option<&Validation>) -> u64 {
    let mut all = bytes.to_vec();
    for reference in certificates.iter().chain(validation.and_then(|found| found.trust.as_ref())) {
        if let SecretRef::Inline(secret) = reference {
            match &**secret {
                Secret::Certificate { chain, key } => {
                    all.extend_from_slice(chain);
                    all.extend_from_slice(key);
                }
                Secret::Trust(pem) => all.extend_from_slice(pem),
            }
        }
    }
    version_of(&all)
}

/// Whether TLS 1.2 and TLS 1.3 are spoken. Unlike Envoy's, our clients offer 1.3 unless they are told not to.
fn versions(reader: &mut Reader, params: Option<tls::TlsParameters>) -> (bool, bool) {
    use tls::tls_parameters::TlsProtocol;
    let tls::TlsParameters {
        tls_minimum_protocol_version,
        tls_maximum_protocol_version,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = params.unwrap_or_default();
    reader.at("tls_params", |reader| {
        refuse!(reader, cipher_suites, ecdh_curves, signature_algorithms, compliance_policies);
        let least = reader.choice("tls_minimum_protocol_version", tls_minimum_protocol_version);
        let most = reader.choice("tls_maximum_protocol_version", tls_maximum_protocol_version);
        let too_old = [TlsProtocol::TlSv10, TlsProtocol::TlSv11];
        if too_old.contains(&least) {
            reader.fault_at("tls_minimum_protocol_version", "TLS before 1.2 is not supported");
        }
        if too_old.contains(&most) {
            reader.fault_at("tls_maximum_protocol_version", "TLS before 1.2 is not supported");
        }
        let allows_tls12 = least != TlsProtocol::TlSv13;
        let allows_tls13 = most != TlsProtocol::TlSv12;
        if !allows_tls12 && !allows_tls13 {
            reader.fault_at("tls_maximum_protocol_version", "is before the minimum");
        }
        (allows_tls12, allows_tls13)
    })
}
