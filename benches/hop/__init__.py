"""What one hop costs, beside the proxies that people know."""
