"""An authority and two workloads with SPIFFE identities, as files that every peer can read."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
CALLER, CALLEE = "a", "b"
CALLEE_NAME = "b.mesh"


@dataclass(frozen=True)
class Certificates:
    """A directory with `ca.pem` and, for each of the two, `NAME.pem`, `NAME.key` and both in `NAME.both`."""

    directory: Path

    @property
    def authority(self) -> str:
        return str(self.directory / "ca.pem")

    def file(self, name: str, kind: str) -> str:
        return str(self.directory / f"{name}.{kind}")


def make(directory: Path) -> Certificates:
    """Make all of them anew; P-256 keys, good for a day."""
    directory.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    authority = (
        _builder(name, name, authority_key)
        .add_extension(constraints, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(authority.public_bytes(PEM))
    for who in (CALLER, CALLEE):
        _workload(directory, who, name, authority_key)
    return Certificates(directory)


def _workload(
    directory: Path, who: str, issuer: x509.Name, authority_key: ec.EllipticCurvePrivateKey
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{who}.mesh")])
    uri = x509.UniformResourceIdentifier(f"spiffe://bench/ns/default/sa/{who}")
    alternatives = x509.SubjectAlternativeName([uri, x509.DNSName(f"{who}.mesh")])
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _builder(subject, issuer, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(uses, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    chain = certificate.public_bytes(PEM)
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for kind, content in (("pem", chain), ("key", private), ("both", chain + private)):
        (directory / f"{who}.{kind}").write_bytes(content)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
