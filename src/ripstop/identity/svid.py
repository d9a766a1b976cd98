"""Keys, certificate requests and identities in certificates. Keys are made where they are used."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ripstop.errors import Refused
from ripstop.ids import SpiffeId


def new_key() -> bytes:
    """A new private key, ECDSA P-256, as PKCS #8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_request(key_pem: bytes) -> bytes:
    """A certificate request (PKCS #10 PEM) for a key. It asks for no name: the authority knows who asks."""
    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def spiffe_id_of(certificate_der: bytes) -> SpiffeId:
    """The identity in an SVID (X509-SVID specification, section 2: exactly one URI).

    Raises:
        Refused: the certificate holds none of this form.
    """
    try:
        names = (
            x509.load_der_x509_certificate(certificate_der)
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value.get_values_for_type(x509.UniformResourceIdentifier)
        )
        if len(names) != 1:
            raise ValueError("there must be one URI")
        return SpiffeId.parse(names[0])
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Refused(f"the certificate shown holds no identity of this mesh: {error}") from None
