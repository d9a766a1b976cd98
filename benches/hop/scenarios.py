"""What is measured, and the bars that the native data plane is held to."""

from __future__ import annotations

from dataclasses import dataclass

from benches.hop.load import Load

IDLE_MB = 10.0
SIDECAR_MB = 40.0
"""Of an idle native data plane with its agent."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A load on a path. `alpn` is given for the mesh path; the bar is CPU time per request of any of `at_most`."""

    name: str
    title: str
    load: Load
    alpn: str = ""
    at_most: tuple[str, ...] = ()


SCENARIOS = (
    Scenario(
        name="h1",
        title="HTTP/1.1 keep-alive, 64 connections, small body",
        load=Load(),
        at_most=("haproxy", "nginx"),
    ),
    Scenario(
        name="h1-10k", title="the same, 10 KB body", load=Load(path="/10k"), at_most=("haproxy", "nginx")
    ),
    Scenario(
        name="h1-1m",
        title="16 connections, 1 MB body",
        load=Load(path="/1m", connections=16),
        at_most=("envoy",),
    ),
    Scenario(
        name="h2",
        title="HTTP/2, 10 connections of 10 streams",
        load=Load(is_h2=True, connections=10, streams=10),
        at_most=("haproxy",),
    ),
    Scenario(
        name="mesh-h2",
        title="mTLS mesh path, both proxies, HTTP/2 between",
        load=Load(),
        alpn="h2",
        at_most=("haproxy",),
    ),
    Scenario(
        name="mesh-h1",
        title="mTLS mesh path, both proxies, HTTP/1.1 between",
        load=Load(),
        alpn="http/1.1",
        at_most=("haproxy",),
    ),
    Scenario(
        name="connections",
        title="a new connection for each request, 32 at a time",
        load=Load(connections=32, closes=True),
        at_most=("nginx",),
    ),
)
