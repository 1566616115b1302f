"""Which credentials a server with keys refuses, and how it says so: never with the secret in it."""

import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest  # type: ignore[import-untyped]
from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]

import midstream
from midstream import can_read
from midstream.errors import from_status
from midstream.v1.stream_service_pb2 import FollowRequest, FollowResponse
from support.forged_tokens import claims, signed
from support.keyed_server import KeyedServer, reason_for
from support.raw_calls import METHODS, ask


async def test_every_rpc_asks_for_credentials_and_health_does_not(keyed: KeyedServer) -> None:
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        for method, descriptor in METHODS.items():
            empty = GetMessageClass(descriptor.input_type)()
            for authorization, reason in (
                ("", "CREDENTIALS_MISSING"),
                ("Bearer", "CREDENTIALS_INVALID"),
                ("Bearer nonsense", "CREDENTIALS_INVALID"),
                ("Basic dXNlcjpwYXNz", "CREDENTIALS_INVALID"),
            ):
                if method == "Follow" and not authorization:
                    continue  # Its targets may bring their own; see the next test.
                answer = await ask(channel, method, [empty], authorization)
                assert answer.reason == reason, (method, authorization)
                assert answer.code == "UNAUTHENTICATED"
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1


async def test_a_subscription_without_credentials_shows_what_its_targets_have_tokens_for(
    keyed: KeyedServer, backend: midstream.Client, run_id: str
) -> None:
    token = (await backend.mint_token([can_read(run_id)])).token
    state = FollowRequest.State()
    targets = [
        FollowRequest.Target(ref=1, run_id=run_id, state=state, access_token=token),
        FollowRequest.Target(ref=2, run_id=run_id, state=state),
        FollowRequest.Target(ref=3, run_id=run_id, state=state, access_token=f"{token}AAAA"),
    ]
    async with backend.attach(run_id):
        pass  # The run's end ends the call.
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        answer = await ask(channel, "Follow", [FollowRequest(targets=targets)])
    assert answer.code == "OK"
    heard = [FollowResponse.FromString(data) for data in answer.responses]
    refused = {each.ref: from_status(each.error).reason for each in heard if each.HasField("error")}
    assert refused == {2: "CREDENTIALS_MISSING", 3: "CREDENTIALS_INVALID"}
    assert {each.ref for each in heard if each.HasField("run")} == {1}


def _key_with(key: str, *, key_id: str | None = None, secret: str | None = None) -> str:
    _, own_id, own_secret = key.split("_", 2)
    return f"midstream_{key_id or own_id}_{secret or own_secret}"


async def test_api_keys(keyed: KeyedServer, run_id: str) -> None:
    secret = keyed.key.split("_", 2)[2]
    other_secret = keyed.other_key.split("_", 2)[2]
    assert await reason_for(keyed.url, keyed.key, run_id) == "OK"
    flipped = "B" + secret[1:] if secret[0] == "A" else "A" + secret[1:]
    for key in (
        _key_with(keyed.key, secret=other_secret),
        _key_with(keyed.key, secret=flipped),
        _key_with(keyed.key, secret=secret[:-1]),
        _key_with(keyed.key, secret=secret.swapcase()),
        _key_with(keyed.key, key_id="a" * 12),
        f"{keyed.key}x",
        keyed.key.upper(),
        secret,
        "midstream_",
    ):
        assert await reason_for(keyed.url, key, run_id) == "CREDENTIALS_INVALID", key


async def test_a_revoked_key_takes_its_tokens_along(keyed: KeyedServer, run_id: str) -> None:
    key = keyed.create_key("short-lived")
    token = midstream.sign_token(key, [can_read(run_id)]).token
    assert await reason_for(keyed.url, key, run_id) == "OK"
    assert await reason_for(keyed.url, token, run_id) == "OK"
    keyed.revoke_key(key)
    await until_refused(keyed, key, run_id)
    assert await reason_for(keyed.url, key, run_id) == "CREDENTIALS_INVALID"
    assert await reason_for(keyed.url, token, run_id) == "CREDENTIALS_INVALID"


async def until_refused(keyed: KeyedServer, secret: str, run_id: str) -> None:
    """Another process has revoked it: the server is to know within about a second."""
    give_up = time.monotonic() + 30
    while await reason_for(keyed.url, secret, run_id) == "OK":
        assert time.monotonic() < give_up


async def test_a_good_token(keyed: KeyedServer, run_id: str) -> None:
    assert await reason_for(keyed.url, signed(keyed.key, claims(run_id)), run_id) == "OK"
    assert await reason_for(keyed.url, signed(keyed.key, claims(run_id, sub=None)), run_id) == "OK"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iat": -7200, "exp": -3600}, "TOKEN_EXPIRED"),
        ({"iat": -60, "exp": -1}, "TOKEN_EXPIRED"),
        ({"iat": 0, "exp": 0}, "CREDENTIALS_INVALID"),
        ({"iat": 3600, "exp": 7200}, "CREDENTIALS_INVALID"),
        ({"iat": -60, "exp": 31 * 86_400}, "CREDENTIALS_INVALID"),
        ({"iat": 60, "exp": 30}, "CREDENTIALS_INVALID"),
        ({"exp": None}, "CREDENTIALS_INVALID"),
        ({"iat": None}, "CREDENTIALS_INVALID"),
    ],
    ids=str,
)
async def test_times(keyed: KeyedServer, run_id: str, changes: dict[str, int | None], reason: str) -> None:
    """Given in seconds from now."""
    now = int(time.time())
    times = {name: None if seconds is None else now + seconds for name, seconds in changes.items()}
    whole = {name: value for name, value in (claims(run_id) | times).items() if value is not None}
    assert await reason_for(keyed.url, signed(keyed.key, whole), run_id) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"iss": "someone"},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 65},
        {"jti": 7},
        {"sub": "x" * 129},
        {"sub": 7},
        {"scope": None},
        {"scope": ""},
        {"scope": "read:"},
        {"scope": "read"},
        {"scope": "admin:run_x"},
        {"scope": "read:*"},
        {"scope": "read:run_x/"},
        {"scope": "read:run_x read:a/b/c"},
        {"scope": ["read:run_x"]},
        {"scope": " ".join(["read:run_x"] * 33)},
        {"uses": 0},
        {"uses": -1},
        {"uses": "1"},
        {"uses": 1.5},
        {"uses": True},
        {"exp": "soon"},
        {"exp": 1e300},
        {"exp": 2**63},
        {"iat": True},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
async def test_claims_that_the_contract_does_not_have(keyed: KeyedServer, run_id: str, changes: dict[str, Any]) -> None:
    assert await reason_for(keyed.url, signed(keyed.key, claims(run_id, **changes)), run_id) == "CREDENTIALS_INVALID"
