"""The Midstream server: durable, typed records into running tasks, over gRPC."""
