"""Join tokens: ``rst1.`` and base64url JSON: where the control plane is, its CA's fingerprint, a secret.

The store keeps the secret's hash alone. Who holds a token may enrol one service; the fingerprint lets the holder check
the control plane before anything is said to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field

from ripstop.errors import Refused
from ripstop.ids import ServiceId, is_label

PREFIX = "rst1."
SECRET_BYTES = 24
TOKEN_CHARACTERS_MAX = 2048


@dataclass(frozen=True, slots=True)
class TokenText:
    """What a join token says."""

    api: str
    fingerprint: str
    namespace: str
    service: str
    secret: str = field(repr=False)

    @property
    def service_id(self) -> ServiceId:
        """The service that it lets in."""
        return ServiceId(self.namespace, self.service)


def new_secret() -> str:
    """An unguessable word."""
    return secrets.token_urlsafe(SECRET_BYTES)


def secret_hash(secret: str) -> str:
    """SHA-256, hexadecimal: what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_join_token(api: str, fingerprint: str, service: ServiceId, secret: str) -> str:
    """The token's text."""
    token = TokenText(api, fingerprint, service.namespace, service.name, secret)
    body = json.dumps(asdict(token), separators=(",", ":")).encode()
    return PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_join_token(text: str) -> TokenText:
    """Read a token's text.

    Raises:
        Refused: it is cut short, or no join token at all. The text itself is never repeated.
    """
    text = text.strip()
    cure = "copy the whole line that `ripstop token create` printed"
    if not text.startswith(PREFIX) or len(text) > TOKEN_CHARACTERS_MAX:
        raise Refused("this is not a join token", cure=cure)
    body = text.removeprefix(PREFIX)
    try:
        values = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        token = TokenText(**values)
    except (binascii.Error, ValueError, TypeError):
        raise Refused("the join token is damaged or cut short", cure=cure) from None
    parts = (token.api, token.fingerprint, token.secret, token.namespace, token.service)
    if not all(isinstance(part, str) and part for part in parts):
        raise Refused("the join token is damaged or cut short", cure=cure)
    if not is_label(token.namespace) or not is_label(token.service):
        raise Refused("the join token names no service", cure=cure)
    return token
