"""What a proxy stands in: one hop from the load to the backend, or two with mTLS between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benches.hop.certificates import Certificates


@dataclass(frozen=True, kw_only=True)
class Hop:
    """`listen` -> `upstream`, in plaintext; HTTP/2 on the side of the load when `is_h2`."""

    directory: Path
    listen: int
    upstream: int
    is_h2: bool = False


@dataclass(frozen=True, kw_only=True)
class MeshPath:
    """`listen` -> (mTLS, TLS 1.3) `middle` -> `upstream`: a caller's sidecar and a callee's, `alpn` h2 or http/1.1."""

    directory: Path
    listen: int
    middle: int
    upstream: int
    certificates: Certificates
    alpn: str
