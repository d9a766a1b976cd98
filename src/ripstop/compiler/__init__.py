"""(Topology, Node) -> Snapshot. Pure: equal worlds give equal bytes."""
