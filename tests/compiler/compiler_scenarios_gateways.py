"""Worlds of gateways, of gateways on the way out, and of gRPC clients without a sidecar."""

from __future__ import annotations

GATEWAYS = ()
