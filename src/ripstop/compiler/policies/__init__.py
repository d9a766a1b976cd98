"""What each policy becomes in Envoy resources, a file each."""
