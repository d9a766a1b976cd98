"""What is measured: golden signals from sidecars, and the control plane's own metrics."""

from __future__ import annotations

from ripstop.observe.decisions import Decision, DecisionReport, Decisions, Wanted
from ripstop.observe.golden import EdgeCount, EdgeRow, Report, Signals, UpstreamCount, service_of
from ripstop.observe.own import ControlMetrics

__all__ = [
    "ControlMetrics",
    "Decision",
    "DecisionReport",
    "Decisions",
    "EdgeCount",
    "EdgeRow",
    "Report",
    "Signals",
    "UpstreamCount",
    "Wanted",
    "service_of",
]
