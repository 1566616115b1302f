"""What may be sent on a stream: declarations in `.proto` and JSON Schemas, compiled, checked and compared."""
