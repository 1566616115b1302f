"""`send` for scripts and web frameworks that have no event loop."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import grpc

from midstream import durations, endpoint, ulid
from midstream.backoff import Backoff
from midstream.connection import CHANNEL_OPTIONS
from midstream.durations import Duration
from midstream.endpoint import Endpoint
from midstream.errors import from_call
from midstream.models import Receipt, SendResult
from midstream.streams import Stream, check_pairs, encode, stream_id_of
from midstream.v1.stream_service_pb2 import SendOneRequest
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub

_stubs: Final[dict[tuple[int, Endpoint], StreamServiceStub]] = {}
_stubs_lock: Final = threading.Lock()


def send(
    run_id: str,
    stream: Stream,
    value: Any,
    *,
    url: str | None = None,
    api_key: str | None = None,
    access_token: str | None = None,
    key: str | None = None,
    metadata: Mapping[str, str] | None = None,
    timeout: Duration = "30s",
) -> Receipt:
    """Stores a record and returns when it is on disk. Blocks; in async code, use `Client.send`.

    Tries again until `timeout` (seconds, where it is a number) has passed. May be called from any thread. What is
    not given comes from the environment, as for `connect`. Raises MidstreamError.
    """
    where = endpoint.resolve(url, api_key=api_key, access_token=access_token)
    secret = where.api_key or where.access_token
    bearer = (("authorization", f"Bearer {secret}"),) if secret else ()
    request = SendOneRequest(run_id=run_id, stream_id=stream_id_of(stream))
    request.records.add(
        payload=encode(stream, value),
        idempotency_key=ulid.new() if key is None else key,
        metadata=check_pairs(metadata),
    )
    stub = _stub(where)
    give_up_at_us = _now_us() + durations.parse(timeout)
    backoff = Backoff(give_up_at_us=give_up_at_us)
    while True:
        try:
            left_s = max(give_up_at_us - _now_us(), 0) / 1_000_000
            response = stub.SendOne(request, timeout=left_s, metadata=bearer)
            return SendResult.from_proto(response.receipts[0]).unwrap()
        except grpc.RpcError as failed:
            error = from_call(failed)
        delay_us = backoff.delay_us(error, now_us=_now_us())
        if delay_us is None:
            raise error
        time.sleep(delay_us / 1_000_000)


def _stub(where: Endpoint) -> StreamServiceStub:
    """One channel for each server, and for each process: a forked child cannot use its parent's."""
    # Who calls is said with each call: the channel is the same.
    where = replace(where, api_key=None, access_token=None)
    with _stubs_lock:
        stub = _stubs.get((os.getpid(), where))
        if stub is None:
            credentials = where.channel_credentials()
            options = (*CHANNEL_OPTIONS, *where.channel_options())
            if credentials is None:
                channel = grpc.insecure_channel(where.address.target, options=options)
            else:
                channel = grpc.secure_channel(where.address.target, credentials, options=options)
            stub = _stubs[os.getpid(), where] = StreamServiceStub(channel)
        return stub


def _now_us() -> int:
    return time.monotonic_ns() // 1_000
