"""Ripstop: a service mesh that you can pip install."""

__version__ = "0.1.0"
