"""Who is at the other end of a gRPC call."""

from __future__ import annotations

import contextlib
from typing import Any

from ripstop.ids import SpiffeId


def peer_identity(context: Any) -> SpiffeId | None:
    """The identity in the certificate that was shown in the TLS handshake; None when it is none of this form."""
    found = context.auth_context()
    for key in ("x509_uri", "x509_subject_alternative_name"):
        for name in found.get(key, ()):
            with contextlib.suppress(ValueError, UnicodeDecodeError):
                return SpiffeId.parse(name.decode())
    return None
