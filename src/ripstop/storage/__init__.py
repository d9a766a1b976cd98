"""Where documents and registrations are kept."""
