"""What changed, for whom, in which order. Pure."""
