"""The built-in certificate authority: a root, an issuer, ECDSA P-256.

Certificates are SPIFFE X.509-SVIDs (X509-SVID specification, sections 2 to 4): one URI SAN, no CA, digitalSignature.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ripstop.clock import Clock
from ripstop.errors import Conflict, Refused
from ripstop.ids import SpiffeId

ROOT_DAYS, ISSUER_DAYS, BACKDATE_S = 3650, 365, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with the issuer behind it (PEM), and the trust bundle. Times are wall seconds."""

    certificate_pem: bytes
    trust_pem: bytes
    serial: str
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs for one trust domain."""

    trust_domain: str
    clock: Clock
    root: x509.Certificate
    issuer: x509.Certificate
    _issuer_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def open(cls, directory: Path, trust_domain: str, clock: Clock) -> CertificateAuthority:
        """Read the authority kept in `directory`, or make one.

        Raises:
            Conflict: the directory holds the authority of another trust domain.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = _when(clock.wall())
        if not (directory / "root.pem").exists():
            _make_root(directory, trust_domain, now)
        root = x509.load_pem_x509_certificate((directory / "root.pem").read_bytes())
        kept = _trust_domain_of(root)
        if kept != trust_domain:
            raise Conflict(
                f"this state belongs to trust domain {kept!r}, not {trust_domain!r}",
                cure=f"start with --trust-domain {kept}, or use another --state",
            )
        issuer = _read(directory / "issuer.pem")
        if issuer is None or issuer.not_valid_after_utc - now < dt.timedelta(days=ISSUER_DAYS / 3):
            issuer = _make_issuer(directory, trust_domain, root, now)
        key = serialization.load_pem_private_key((directory / "issuer.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(trust_domain, clock, root, issuer, key)

    @property
    def trust_pem(self) -> bytes:
        """The roots that peers are checked against."""
        return _pem(self.root)

    def fingerprint(self) -> str:
        """SHA-256 of the root, hexadecimal: what a join token carries."""
        return self.root.fingerprint(hashes.SHA256()).hex()

    def issue(self, csr_pem: bytes, spiffe: SpiffeId, ttl_s: float, hosts: tuple[str, ...] = ()) -> Issued:
        """Sign the key of a request for `spiffe`; what else the request asks for is not looked at.

        Raises:
            Refused: the request is unreadable, its signature is wrong, or its key is weak.
        """
        csr = _checked_csr(csr_pem)
        now = self.clock.wall()
        until = min(now + ttl_s, self.issuer.not_valid_after_utc.timestamp())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(spiffe))]
        names += [_host_name(host) for host in hosts]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ripstop")]))
            .issuer_name(self.issuer.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_when(now - BACKDATE_S))
            .not_valid_after(_when(until))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._issuer_key.public_key()),
                critical=False,
            )
            .sign(self._issuer_key, hashes.SHA256())
        )
        return Issued(
            certificate_pem=_pem(certificate) + _pem(self.issuer) + _pem(self.root),
            trust_pem=self.trust_pem,
            serial=format(certificate.serial_number, "x"),
            not_before=now,
            not_after=until,
        )


def _checked_csr(csr_pem: bytes) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
    except ValueError as error:
        raise Refused("the certificate request is not PEM (PKCS #10)") from error
    if not csr.is_signature_valid:
        raise Refused("the certificate request is not signed by its own key")
    key = csr.public_key()
    strong = (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    )
    if not strong:
        raise Refused(
            "the key is not strong enough", cure="use ECDSA P-256 or better, or RSA of 2048 bits or more"
        )
    return csr


def _make_root(directory: Path, trust_domain: str, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ripstop root of {trust_domain}")])
    root = _authority(name, name, key.public_key(), trust_domain, now, ROOT_DAYS, 1).sign(
        key, hashes.SHA256()
    )
    _write_key(directory / "root.key", key)
    _write(directory / "root.pem", _pem(root), 0o644)


def _make_issuer(
    directory: Path, trust_domain: str, root: x509.Certificate, now: dt.datetime
) -> x509.Certificate:
    root_key = serialization.load_pem_private_key((directory / "root.key").read_bytes(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ripstop issuer of {trust_domain}")])
    issuer = _authority(name, root.subject, key.public_key(), trust_domain, now, ISSUER_DAYS, 0).sign(
        root_key, hashes.SHA256()
    )
    _write_key(directory / "issuer.key", key)
    _write(directory / "issuer.pem", _pem(issuer), 0o644)
    return issuer


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    trust_domain: str,
    now: dt.datetime,
    days: int,
    path_length: int,
) -> x509.CertificateBuilder:
    uri = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(seconds=BACKDATE_S))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _trust_domain_of(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)[0].removeprefix("spiffe://")


def _read(path: Path) -> x509.Certificate | None:
    return x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a new file, flushed, then renamed."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _when(wall: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(wall, dt.UTC)
