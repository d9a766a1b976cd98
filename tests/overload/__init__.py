"""Malformed messages and hostile frames: the answer that each must get."""
