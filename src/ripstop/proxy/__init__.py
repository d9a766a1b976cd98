"""Starts and tends a data plane beside an application."""
