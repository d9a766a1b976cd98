//! Whether a peer's certificate is accepted (`CertificateValidationContext`): the chain by webpki at the present time, then hashes,
//! then names.
use super::failure::Refused;
use super::names::Names;
use ripstop_core::snapshot::SanMatcher;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::KeyUsage;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates that are trusted.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
    subjects: Vec<DistinguishedName>,
}

impl Trust {
    /// From PEM. Certificates that cannot be anchors are passed over as long as any is left.
    pub fn from_pem(pem: &[u8]) -> Result<Trust, String> {
        let mut trust = Trust { anchors: Vec::new(), certificates: Vec::new(), subjects: Vec::new() };
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "the trusted certificates are not PEM".to_owned())?;
            let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate) else { continue };
            let anchor = anchor.to_owned();
            trust.subjects.push(DistinguishedName::in_sequence(anchor.subject.as_ref()));
            trust.anchors.push(anchor);
            trust.certificates.push(certificate);
        }
        if trust.anchors.is_empty() {
            return Err("there is no trusted certificate".to_owned());
        }
        Ok(trust)
    }
}

/// Judges the peers of one context.
#[derive(Debug)]
pub(super) struct Judge {
    /// None: chains are not checked.
    pub trust: Option<Trust>,
    pub san_matchers: Vec<SanMatcher>,
    pub hashes: Vec<[u8; 32]>,
    /// Whatever is wrong, the connection goes on; the peer has no identity then.
    pub accepts_untrusted: bool,
    /// The certificate must be for the name that is sent as SNI (`auto_sni_san_validation`); SAN matchers do not count then.
    pub matches_sni: bool,
    /// A client without a certificate is refused.
    pub is_mandatory: bool,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl Judge {
    /// Whether anything is checked at all.
    pub fn checks_anything(&self) -> bool {
        self.trust.is_some() || !self.hashes.is_empty()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        host: Option<&str>,
    ) -> Result<(), CertificateError> {
        if let Some(trust) = &self.trust {
            self.check_chain(trust, leaf, intermediates, now, usage)?;
        }
        if !self.hashes.is_empty() {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
            if !self.hashes.iter().any(|wanted| wanted[..] == *hash.as_ref()) {
                return Err(Refused::Hash.into());
            }
        }
        self.check_names(leaf, host)
    }

    fn check_chain(
        &self,
        trust: &Trust,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), CertificateError> {
        // A leaf may be trusted by itself: Envoy verifies with `X509_V_FLAG_PARTIAL_CHAIN`.
        if trust.certificates.iter().any(|trusted| trusted == leaf) {
            return check_validity(leaf, now);
        }
        let parsed = webpki::EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        parsed
            .verify_for_usage(self.algorithms.all, &trust.anchors, intermediates, now, usage, None, None)
            .map(|_| ())
            .map_err(certificate_error)
    }

    fn check_names(&self, leaf: &CertificateDer<'_>, host: Option<&str>) -> Result<(), CertificateError> {
        let host = host.filter(|_| self.matches_sni);
        if host.is_none() && self.san_matchers.is_empty() {
            return Ok(());
        }
        let names = Names::of(leaf).ok_or(CertificateError::BadEncoding)?;
        let is_named = match host {
            Some(host) => names.is_for_host(host),
            None => self.san_matchers.iter().any(|matcher| names.satisfies(matcher)),
        };
        if is_named { Ok(()) } else { Err(Refused::San.into()) }
    }

    /// Whether a client's certificate, which was accepted, says who it is: with `ACCEPT_UNTRUSTED` it may not.
    pub fn identifies_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let is_sure = self.checks_anything() && !self.accepts_untrusted;
        is_sure
            || (self.checks_anything()
                && self.judge(leaf, intermediates, now, KeyUsage::client_auth(), None).is_ok())
    }
}

fn check_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet)
    } else if now > validity.not_after.timestamp() {
        Err(CertificateError::Expired)
    } else {
        Ok(())
    }
}

fn certificate_error(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertExpired { .. } | E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) | E::EndEntityUsedAsCa | E::CaUsedAsEndEntity => {
            CertificateError::InvalidPurpose
        }
        other => CertificateError::Other(rustls::OtherError(std::sync::Arc::new(other))),
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let host = match server_name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            ServerName::IpAddress(ip) => Some(std::net::IpAddr::from(*ip))
                // The unspecified address stands for "no SNI".
                .filter(|ip| !ip.is_unspecified())
                .map(|ip| ip.to_string()),
            _ => None,
        };
        match self.judge(leaf, intermediates, now, KeyUsage::server_auth(), host.as_deref()) {
            Err(why) if !self.accepts_untrusted => Err(Error::InvalidCertificate(why)),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Judge {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.as_ref().map_or(&[], |trust| &trust.subjects)
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.judge(leaf, intermediates, now, KeyUsage::client_auth(), None) {
            Err(why) if !self.accepts_untrusted => Err(Error::InvalidCertificate(why)),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
