"""Every value arrives as it was sent, on every pattern of receiving: nothing is taken for nothing."""

from typing import Any

import pytest

from midstream.input_stream import InputStream, input_stream
from midstream.testing import LocalServer
from midstream.v1.run_pb2 import Failure
from support.heard import Heard

anything = input_stream("anything")
raw = input_stream("raw", bytes)
messages = input_stream("messages", Failure)

VALUES: list[Any] = [None, False, 0, "", "123", "🙂 né", [], {}, {"null": None}, 1e-7, 2**60, b"", b"\x00\xff"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_on_every_pattern(local: LocalServer, value: Any) -> None:
    await _check_every_pattern(local, anything, value)


@pytest.mark.parametrize("value", [b"", b"\x00\xff"], ids=repr)
async def test_bytes_on_every_pattern(local: LocalServer, value: bytes) -> None:
    await _check_every_pattern(local, raw, value)


async def test_a_protobuf_message_on_every_pattern(local: LocalServer) -> None:
    await _check_every_pattern(local, messages, Failure(error_type="E", message="🙂"))
    await _check_every_pattern(local, messages, Failure())


async def _check_every_pattern(local: LocalServer, stream: InputStream[Any], value: Any) -> None:
    nothing = object()
    async with local.client.attach(task="t") as run:
        assert stream.peek(default=nothing) is nothing

        await local.client.send(run.id, stream, value)
        assert _same((await stream.once()).unwrap(), value)
        await local.client.send(run.id, stream, value)
        async for got in stream:
            assert _same(got, value)
            break
        await local.client.send_many(run.id, stream, [value, value])
        batch = [(await stream.once()).unwrap(), *await stream.drain()]
        assert len(batch) == 2
        assert all(_same(got, value) for got in batch)

        await local.client.send(run.id, stream, value)
        result = await stream.once()
        assert result.ok
        assert result.record is not None
        assert _same(stream.decode(result.record), value)

        heard = Heard[Any]()
        stream.on(heard)
        await local.client.send(run.id, stream, value)
        assert _same((await heard.first(1))[0], value)

    async with local.client.attach(task="t") as run:
        run.detach()
    await local.client.send(run.id, stream, value)
    async with local.client.attach(run.id):
        assert _same(stream.peek(default=nothing), value)
        assert stream.peek_record() is not None


def _same(got: object, value: object) -> bool:
    return type(got) is type(value) and got == value
