"""The control plane's doors: ADS, REST, health."""
