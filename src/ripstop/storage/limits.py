"""How much a store keeps. The same in every store."""

from __future__ import annotations

MAX_HISTORY = 10_000
"""Changes kept; older ones are forgotten."""

MAX_EXPIRED_CERTIFICATES = 10_000
"""Expired certificates remembered, counted among the newest; those still valid are never forgotten."""


def history_floor(generation: int) -> int:
    """The newest generation that a history which has just reached `generation` forgets."""
    return generation - MAX_HISTORY


def name_of(key: tuple[str, str, str]) -> str:
    """How a change speaks of a document: ``Kind namespace/name``."""
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}"
