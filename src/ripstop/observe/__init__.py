"""What is measured: golden signals from sidecars, and the control plane's own metrics."""

from __future__ import annotations

from ripstop.observe.golden import EdgeCount, EdgeRow, Report, Signals, UpstreamCount, service_of
from ripstop.observe.own import ControlMetrics

__all__ = [
    "ControlMetrics",
    "EdgeCount",
    "EdgeRow",
    "Report",
    "Signals",
    "UpstreamCount",
    "service_of",
]
