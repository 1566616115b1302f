"""What cannot be beaten: gRPC that only echoes, and SQLite that only commits."""
