"""API keys and access tokens, on PostgreSQL."""
