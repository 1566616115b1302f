"""Any bytes as credentials: refused, never a fault."""

import random
from collections.abc import AsyncIterator

import grpc
import pytest

import midstream
from midstream.v1.run_service_pb2 import GetRunRequest
from support.forged_tokens import claims, signed
from support.keyed_server import KeyedServer
from support.raw_calls import ask

TRIALS = 300
CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))


@pytest.fixture
async def channel(keyed: KeyedServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        yield channel


def mutated(text: str, chance: random.Random) -> str:
    """The text with something cut out, doubled, replaced or put in."""
    at, length = chance.randrange(len(text)), chance.randrange(1, 9)
    piece = "".join(chance.choices(CHARACTERS, k=length))
    return chance.choice(
        [
            text[:at] + text[at + length :],
            text[:at] + text[at : at + length] + text[at:],
            text[:at] + piece + text[at + length :],
            text[:at] + piece + text[at:],
            text[at:] + text[:at],
            text[:at],
        ]
    )


@pytest.mark.parametrize("seed", range(4))
async def test_mutations_of_what_is_good(
    keyed: KeyedServer, channel: grpc.aio.Channel, backend: midstream.Client, run_id: str, seed: int
) -> None:
    chance = random.Random(seed)
    good = [signed(keyed.key, claims(run_id)), keyed.key]
    request = [GetRunRequest(run_id=run_id)]
    for number in range(TRIALS):
        secret = good[number % 2]
        text = mutated(f"Bearer {secret}", chance)
        scheme, _, rest = text.partition(" ")
        answer = await ask(channel, "GetRun", request, text)
        if scheme.lower() == "bearer" and rest.strip() == secret:
            assert answer.code == "OK", text
        else:
            assert answer.reason in ("CREDENTIALS_INVALID", "CREDENTIALS_MISSING"), text
    assert (await backend.get_run(run_id)).id == run_id
