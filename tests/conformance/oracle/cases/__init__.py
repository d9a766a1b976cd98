"""The table of cases, by subject."""

from . import edges, faults, http1, http2, policies, retries, routing, tls, tunnels

__all__ = ["edges", "faults", "http1", "http2", "policies", "retries", "routing", "tls", "tunnels"]
