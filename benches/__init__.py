"""Measurements, each against a target or a peer in the same run. Never part of the tests."""
