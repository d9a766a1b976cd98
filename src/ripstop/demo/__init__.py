"""A small shop of services with faults and load, to watch all of it work."""
