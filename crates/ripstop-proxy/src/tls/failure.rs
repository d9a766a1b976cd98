//! Why TLS failed, in the words of Envoy's `%UPSTREAM_TRANSPORT_FAILURE_REASON%` and `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`.
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible};

/// A TLS connection is of no use any more. What has to be sent because of it is in `out` already.
#[derive(Clone, Debug)]
pub struct TlsFailure {
    /// `TLS_error:|code:SSL routines:OPENSSL_internal:…:TLS_error_end`
    pub reason: &'static str,
    /// What the TLS library says, for logs.
    pub cause: Option<Error>,
}

impl TlsFailure {
    pub(super) fn plain(reason: &'static str) -> TlsFailure {
        TlsFailure { reason, cause: None }
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> TlsFailure {
        TlsFailure { reason: reason(&error), cause: Some(error) }
    }
}

impl std::fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{} ({cause})", self.reason),
            None => f.write_str(self.reason),
        }
    }
}

impl std::error::Error for TlsFailure {}

/// Why a certificate was refused that is signed well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No SAN matcher matches.
    San,
    /// Not among `verify_certificate_hash`.
    Hash,
}

impl From<Refused> for CertificateError {
    fn from(why: Refused) -> CertificateError {
        CertificateError::Other(OtherError(std::sync::Arc::new(why)))
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::San => "no subject alternative name matches",
            Refused::Hash => "the certificate is not among those that are named by hash",
        })
    }
}

impl std::error::Error for Refused {}

macro_rules! ssl {
    ($code:literal, $what:literal) => {
        concat!("TLS_error:|", $code, ":SSL routines:OPENSSL_internal:", $what, ":TLS_error_end")
    };
}

/// More was kept than a record or handshake message may be long.
pub(super) const EXCESSIVE_MESSAGE: &str = ssl!("268435606", "EXCESSIVE_MESSAGE_SIZE");
/// Plain HTTP where TLS was awaited.
pub(super) const HTTP_REQUEST: &str = ssl!("268435612", "HTTP_REQUEST");
/// A plain CONNECT where TLS was awaited.
pub(super) const HTTPS_PROXY_REQUEST: &str = ssl!("268435611", "HTTPS_PROXY_REQUEST");
/// The caller sends before the handshake is done.
pub(super) const UNINITIALIZED: &str = ssl!("268435682", "UNINITIALIZED");
/// A name that cannot be SNI.
pub(super) const BAD_SERVER_NAME: &str = "TLS_error:|the server name cannot be sent as SNI:TLS_error_end";
/// Too many records under one key.
pub(super) const EXHAUSTED: &str = "TLS_error:|the keys are used up:TLS_error_end";

/// Envoy's words; codes are BoringSSL's (library 16, then the reason).
fn reason(error: &Error) -> &'static str {
    match error {
        Error::AlertReceived(alert) => alert_reason(*alert),
        Error::InvalidCertificate(why) => certificate_reason(why),
        Error::NoCertificatesPresented => ssl!("268435648", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => ssl!("268435703", "WRONG_VERSION_NUMBER"),
        Error::InvalidMessage(_) => ssl!("268435593", "DECODE_ERROR"),
        Error::DecryptError => ssl!("268435595", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => ssl!("268435696", "UNSUPPORTED_PROTOCOL"),
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            ssl!("268435709", "NO_COMMON_SIGNATURE_ALGORITHMS")
        }
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            ssl!("268435640", "NO_SHARED_CIPHER")
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => ssl!("268435722", "NO_SHARED_GROUP"),
        Error::PeerSentOversizedRecord => ssl!("268435606", "EXCESSIVE_MESSAGE_SIZE"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            ssl!("268435679", "UNEXPECTED_MESSAGE")
        }
        _ => ssl!("268435659", "SSL_HANDSHAKE_FAILURE"),
    }
}

macro_rules! verify {
    ($what:literal) => {
        concat!(
            "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: ",
            $what,
            ":TLS_error_end"
        )
    };
}

fn certificate_reason(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Other(OtherError(inner)) => match inner.downcast_ref::<Refused>() {
            Some(Refused::San) => verify!("verify SAN list"),
            Some(Refused::Hash) => verify!("cert hash and spki"),
            None => verify!("X509_verify_cert"),
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            verify!("X509_verify_cert: certificate verification error at depth 0: certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            verify!(
                "X509_verify_cert: certificate verification error at depth 0: certificate is not yet valid"
            )
        }
        CertificateError::UnknownIssuer => {
            verify!(
                "X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate"
            )
        }
        CertificateError::BadSignature => {
            verify!(
                "X509_verify_cert: certificate verification error at depth 0: certificate signature failure"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            verify!(
                "X509_verify_cert: certificate verification error at depth 0: unsupported certificate purpose"
            )
        }
        _ => verify!("X509_verify_cert"),
    }
}

/// Alerts have the reasons 1000 + their number.
fn alert_reason(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnexpectedMessage => ssl!("268436466", "SSLV3_ALERT_UNEXPECTED_MESSAGE"),
        AlertDescription::BadRecordMac => ssl!("268436476", "SSLV3_ALERT_BAD_RECORD_MAC"),
        AlertDescription::HandshakeFailure => ssl!("268436496", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        AlertDescription::BadCertificate => ssl!("268436498", "SSLV3_ALERT_BAD_CERTIFICATE"),
        AlertDescription::UnsupportedCertificate => ssl!("268436499", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
        AlertDescription::CertificateRevoked => ssl!("268436500", "SSLV3_ALERT_CERTIFICATE_REVOKED"),
        AlertDescription::CertificateExpired => ssl!("268436501", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        AlertDescription::CertificateUnknown => ssl!("268436502", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        AlertDescription::IllegalParameter => ssl!("268436503", "SSLV3_ALERT_ILLEGAL_PARAMETER"),
        AlertDescription::UnknownCA => ssl!("268436504", "TLSV1_ALERT_UNKNOWN_CA"),
        AlertDescription::AccessDenied => ssl!("268436505", "TLSV1_ALERT_ACCESS_DENIED"),
        AlertDescription::DecodeError => ssl!("268436506", "TLSV1_ALERT_DECODE_ERROR"),
        AlertDescription::DecryptError => ssl!("268436507", "TLSV1_ALERT_DECRYPT_ERROR"),
        AlertDescription::ProtocolVersion => ssl!("268436526", "TLSV1_ALERT_PROTOCOL_VERSION"),
        AlertDescription::InsufficientSecurity => ssl!("268436527", "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
        AlertDescription::InternalError => ssl!("268436536", "TLSV1_ALERT_INTERNAL_ERROR"),
        AlertDescription::UserCanceled => ssl!("268436546", "TLSV1_ALERT_USER_CANCELLED"),
        AlertDescription::UnrecognisedName => ssl!("268436568", "TLSV1_ALERT_UNRECOGNIZED_NAME"),
        AlertDescription::CertificateRequired => ssl!("268436572", "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
        AlertDescription::NoApplicationProtocol => ssl!("268436576", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
        _ => ssl!("268436496", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    }
}
