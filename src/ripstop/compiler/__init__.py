"""(Topology, Node) -> Snapshot. Pure: equal worlds give equal bytes."""

from __future__ import annotations

from ripstop.compiler.compiler import Compiler

__all__ = ["Compiler"]
