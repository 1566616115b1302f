"""The registry of schemas, on PostgreSQL."""
