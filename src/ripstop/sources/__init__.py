"""Where services and endpoints come from."""
