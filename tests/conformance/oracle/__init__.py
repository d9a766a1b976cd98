"""The same bootstrap and the same bytes given to the native data plane and to the real Envoy: what is seen must be the same."""
