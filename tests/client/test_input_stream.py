"""Declaring streams: their types as a checker sees them, and what is refused."""

import gc
from typing import Any, assert_type

import pytest
from pydantic import BaseModel

from midstream import InputStream, PayloadError, Record, Result, input_stream
from midstream.input_stream import declared_ids
from midstream.v1.run_pb2 import Failure


class Order(BaseModel):
    item: str


def test_the_declared_type_is_the_checkers_type() -> None:
    assert_type(input_stream("a"), InputStream[Any])
    assert_type(input_stream("a", Order), InputStream[Order])
    assert_type(input_stream("a", bytes), InputStream[bytes])
    assert_type(input_stream("a", list[int]), InputStream[list[int]])
    assert_type(input_stream("a", Failure), InputStream[Failure])
    assert_type(input_stream("a", int | None), InputStream[Any])


async def _views_have_the_declared_type(orders: InputStream[Order]) -> None:
    """Only for the type checker: never called."""
    assert_type(orders.peek(), Order | None)
    assert_type(orders.peek(default="none"), Order | str)
    assert_type(orders.peek_record(), Record | None)
    assert_type(await orders.once(timeout="5m"), Result[Order])
    assert_type((await orders.once()).unwrap(), Order)
    assert_type(await orders.drain(), list[Order])
    async for order in orders:
        assert_type(order, Order)
    orders.on(lambda order: assert_type(order, Order))


def test_a_value_that_does_not_fit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(PayloadError, match="item"):
        input_stream("orders", Order).encode({"item": 7})  # type: ignore[arg-type]


@pytest.mark.parametrize("id", ["", "no blanks", "-first", "ü", "x" * 129, "a\n"])
def test_a_malformed_id_is_refused(id: str) -> None:
    with pytest.raises(ValueError, match="cannot name a stream"):
        input_stream(id)


def test_a_type_that_cannot_travel_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be a stream's type"):
        input_stream("sockets", type(test_a_type_that_cannot_travel_is_refused))


def test_a_stream_that_nobody_holds_any_more_is_forgotten() -> None:
    stream = input_stream("short-lived")
    assert "short-lived" in declared_ids()
    del stream
    gc.collect()
    assert "short-lived" not in declared_ids()
