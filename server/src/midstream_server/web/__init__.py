"""The web edge: Connect, gRPC-Web and a WebSocket for browsers, in the server's process and on its servicers."""
