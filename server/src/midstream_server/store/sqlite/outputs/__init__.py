"""Output streams on SQLite."""
