"""Asks the server for its health, as an orchestrator's probe does. Exits with 0 when it serves, else with 1.

Usage: healthcheck.py [HOST:PORT]; by default the local server over gRPC, on the port in MIDSTREAM_LISTEN. A server with
TLS, which may ask for a certificate, is asked on the port in MIDSTREAM_METRICS_LISTEN instead.
"""

import os
import sys
import urllib.request

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse  # type: ignore[import-untyped]
from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]

TIMEOUT_SECONDS = 3


def main() -> int:
    if len(sys.argv) == 1 and os.environ.get("MIDSTREAM_TLS_CERT"):
        return over_http(os.environ.get("MIDSTREAM_METRICS_LISTEN", "127.0.0.1:9464").rpartition(":")[2])
    port = os.environ.get("MIDSTREAM_LISTEN", "127.0.0.1:7733").rpartition(":")[2]
    target = sys.argv[1] if len(sys.argv) > 1 else f"127.0.0.1:{port}"
    with grpc.insecure_channel(target) as channel:
        try:
            health = HealthStub(channel).Check(HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            print(f"{target}: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    name = HealthCheckResponse.ServingStatus.Name(health.status)
    print(f"{target}: {name}")
    return 0 if name == "SERVING" else 1


def over_http(port: str) -> int:
    url = f"http://127.0.0.1:{port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            print(f"{url}: {response.status}")
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
