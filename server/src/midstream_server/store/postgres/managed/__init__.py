"""What workers do to runs, on PostgreSQL."""
