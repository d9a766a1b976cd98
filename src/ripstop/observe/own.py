"""The control plane's own metrics, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ControlMetrics:
    """Connected nodes, pushes, NACKs, compile and convergence times."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.nodes = Gauge("ripstop_nodes_connected", "Connected data planes", registry=self.registry)
        self.instances = Gauge("ripstop_instances", "Registered instances", registry=self.registry)
        self.generation = Gauge("ripstop_generation", "Newest generation", registry=self.registry)
        self.pushes = Counter("ripstop_pushes", "Discovery responses sent", ["type"], registry=self.registry)
        self.bytes = Counter("ripstop_push_bytes", "Bytes of resources sent", registry=self.registry)
        self.nacks = Counter(
            "ripstop_nacks", "Responses that a node refused", ["type"], registry=self.registry
        )
        self.resolve = Histogram(
            "ripstop_resolve_seconds", "Documents to topology", buckets=_SECONDS, registry=self.registry
        )
        self.compile = Histogram(
            "ripstop_compile_seconds",
            "Topology to all nodes' snapshots",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.convergence = Histogram(
            "ripstop_convergence_seconds",
            "A new generation to the last answer of a node it concerns",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """What a scrape gets."""
        return generate_latest(self.registry)
