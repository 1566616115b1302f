"""The Midstream server: one durable, ordered log per run, served over gRPC."""
