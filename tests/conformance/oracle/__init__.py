"""The same bootstrap and bytes for the native data plane and for the real Envoy: what is seen must be the same."""
