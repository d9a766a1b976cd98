"""Who is who: the certificate authority, SVIDs, join tokens."""

from __future__ import annotations

from ripstop.identity.ca import CertificateAuthority, Issued
from ripstop.identity.svid import certificate_request, new_key, spiffe_id_of
from ripstop.identity.token import TokenText, new_join_token, new_secret, read_join_token, secret_hash

__all__ = [
    "CertificateAuthority",
    "Issued",
    "TokenText",
    "certificate_request",
    "new_join_token",
    "new_key",
    "new_secret",
    "read_join_token",
    "secret_hash",
    "spiffe_id_of",
]
