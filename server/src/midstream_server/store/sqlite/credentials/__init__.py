"""API keys and access tokens, on SQLite."""
