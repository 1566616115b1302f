"""Output streams, on PostgreSQL."""
