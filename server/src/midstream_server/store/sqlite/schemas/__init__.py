"""The registry of schemas, on SQLite."""
