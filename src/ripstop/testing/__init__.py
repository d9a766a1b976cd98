"""For tests, ours and yours: a whole mesh of real processes on this host, and an application that answers what it saw."""

from __future__ import annotations

from ripstop.testing.local_mesh import Instance, LocalMesh

__all__ = ["Instance", "LocalMesh"]
