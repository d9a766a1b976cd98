"""What an agent says when its data plane is ready."""

from __future__ import annotations

import sys

from ripstop.proxy.sidecar import Sidecar


def say_ready(sidecar: Sidecar) -> None:
    """Where things are, on stderr."""
    r = sidecar.registration
    lines = [f"{r.node} is ready"]
    if r.outbound_port:
        lines.append(f"  calls out  http://127.0.0.1:{r.outbound_port}  (HTTP_PROXY, or Host: SERVICE)")
    lines += [f"  upstream   127.0.0.1:{u.local_port} → {u.service} port {u.port}" for u in r.upstreams]
    if r.app_port:
        lines.append(f"  calls in   {r.address}:{r.inbound_port} (mTLS) → 127.0.0.1:{r.app_port}")
    lines.append(f"  metrics    http://127.0.0.1:{sidecar.metrics_port}/metrics")
    print("\n".join(lines), file=sys.stderr)


def say_nothing(_: Sidecar) -> None:
    """With --quiet."""
