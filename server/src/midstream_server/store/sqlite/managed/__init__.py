"""What workers do to runs, on SQLite."""
