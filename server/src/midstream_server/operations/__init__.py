"""What the server does, one file a verb. Nothing here knows gRPC."""

from midstream_server.operations.core import Core

__all__ = ["Core"]
