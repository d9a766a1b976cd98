"""The table of cases, by subject."""

from . import faults, http1, http2, policies, retries, routing, tls, tunnels

__all__ = ["faults", "http1", "http2", "policies", "retries", "routing", "tls", "tunnels"]
