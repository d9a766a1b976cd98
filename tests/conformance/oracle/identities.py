"""Certificates for the cases about TLS: an authority, names signed by it, and a stranger."""

from __future__ import annotations

import datetime
import functools
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .case import API, typed

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        kind = serialization.PrivateFormat.PKCS8
        encoding = serialization.Encoding.PEM
        return self.key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()

    def secret(self) -> dict[str, Any]:
        return {
            "certificate_chain": {"inline_string": self.pem},
            "private_key": {"inline_string": self.key_pem},
        }


@functools.cache
def authority(name: str) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
    built = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(built, key)


@functools.cache
def identity(name: str, *, dns: str = "", by: str = "mesh") -> Identity:
    """`spiffe://mesh/NAME`, signed by an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority(by)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://mesh/{name}")]
    if dns:
        names.append(x509.DNSName(dns))
    built = (
        _builder(subject, issuer.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Identity(built, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(END)
    )


def client_context(who: Identity | None = None, *alpn: str) -> ssl.SSLContext:
    """A client that believes any server; it shows `who` when asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if who:
        _load(context, who)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def server_context(who: Identity, *alpn: str, asks: bool = True) -> ssl.SSLContext:
    """A server of the mesh: it asks for a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, who)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority("mesh").pem)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load(context: ssl.SSLContext, who: Identity) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        path.write_text(who.key_pem + who.pem)
        context.load_cert_chain(path)


def validation(*sans: str) -> dict[str, Any]:
    context: dict[str, Any] = {"trusted_ca": {"inline_string": authority("mesh").pem}}
    if sans:
        context["match_typed_subject_alt_names"] = [
            {"san_type": "URI", "matcher": {"exact": f"spiffe://mesh/{san}"}} for san in sans
        ]
    return {"validation_context": context}


def downstream(
    who: Identity, *, mutual: bool = True, alpn: tuple[str, ...] = (), sans: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A `transport_socket` of a filter chain."""
    common: dict[str, Any] = {"tls_certificates": [who.secret()], "alpn_protocols": list(alpn)}
    if mutual:
        common |= validation(*sans)
    config = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=mutual,
    )
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}}


def upstream(who: Identity | None, *sans: str, alpn: tuple[str, ...] = (), sni: str = "") -> dict[str, Any]:
    """A `transport_socket` of a cluster."""
    common: dict[str, Any] = {"alpn_protocols": list(alpn)} | validation(*sans)
    if who:
        common["tls_certificates"] = [who.secret()]
    config = typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common, sni=sni
    )
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}}


INSPECTOR = {
    "listener_filters": [
        {
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": API + "extensions.filters.listener.tls_inspector.v3.TlsInspector"},
        }
    ]
}
