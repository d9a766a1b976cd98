"""Golden signals, metrics and logs."""
