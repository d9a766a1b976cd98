"""The public protocol: messages, snapshots, and the ADS state machines. Pure."""
