"""Scopes and locally signed tokens: what they say, what is refused, what nothing shows."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from midstream import Scope, can_cancel, can_read, can_send, input_stream, sign_token
from midstream.access import token_spec
from midstream.credentials import read_claims

KEY = "midstream_abcdefghijkl_" + "S" * 43
approval = input_stream("approval", bool)


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def hkdf_sha256(key: bytes, info: bytes) -> bytes:
    """RFC 5869 for 32 bytes and no salt, from its text."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def test_scopes_read_as_they_stand_in_a_token() -> None:
    assert str(can_send("run_x", "user-message")) == "send:run_x/user-message"
    assert str(can_send("run_x", approval)) == "send:run_x/approval"
    assert str(can_read("run_x")) == "read:run_x"
    assert str(can_cancel("run_x")) == "cancel:run_x"
    assert can_read(stream="tokens") == Scope("read", "", "tokens")


def test_a_signed_token_is_what_the_contract_says() -> None:
    before = int(datetime.now(UTC).timestamp())
    token = sign_token(KEY, [can_send("run_x", approval), can_read("run_x")], subject="user-17", ttl="10m", max_uses=1)
    header, payload, _ = token.token.split(".")
    assert decoded(header) == {"alg": "EdDSA", "typ": "JWT", "kid": "abcdefghijkl"}
    claims = decoded(payload)
    assert list(claims) == ["iss", "jti", "sub", "scope", "iat", "exp", "uses"]
    assert claims["iss"] == "midstream.v1"
    assert claims["jti"] == token.token_id
    assert claims["sub"] == "user-17"
    assert claims["scope"] == "send:run_x/approval read:run_x"
    assert claims["exp"] - claims["iat"] == 600
    assert before <= claims["iat"] <= before + 60
    assert token.expire_time == datetime.fromtimestamp(claims["exp"], UTC)
    assert claims["uses"] == 1

    seed = hkdf_sha256(KEY.encode(), b"midstream.v1 access token")
    public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert jwt.decode(token.token, public_key, algorithms=["EdDSA"]) == claims


def test_each_token_is_another_one() -> None:
    tokens = [sign_token(KEY, [can_read("run_x")]) for _ in range(2)]
    assert tokens[0].token_id != tokens[1].token_id
    assert "uses" not in decoded(tokens[0].token.split(".")[1])


def test_a_repr_shows_no_token() -> None:
    token = sign_token(KEY, [can_read("run_x")])
    assert token.token not in repr(token)
    assert token.token_id in repr(token)


@pytest.mark.parametrize(
    ("scopes", "options", "problem"),
    [
        ([], {}, "1 to 32 scopes, not 0"),
        ([can_read("run_x")] * 33, {}, "not 33"),
        ([can_read()], {}, r"names no run: write can_read\(run.id\)"),
        ([can_read("run x")], {}, "names no run"),
        ([can_send("run_x", "a b")], {}, "a stream that cannot be"),
        ([Scope("cancel", "run_x", "s")], {}, "a stream that cannot be"),
        ([can_read("run_x")], {"subject": "é" * 65}, "130 bytes, the limit is 128"),
        ([can_read("run_x")], {"ttl": "999ms"}, "1 s to 30 days, not '999ms'"),
        ([can_read("run_x")], {"ttl": "31d"}, "1 s to 30 days"),
        ([can_read("run_x")], {"ttl": "soon"}, "soon"),
        ([can_read("run_x")], {"max_uses": 0}, "1 or more, not 0"),
    ],
)
def test_what_the_server_would_refuse_is_not_signed(scopes: list[Scope], options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        sign_token(KEY, scopes, **options)


@pytest.mark.parametrize("text", ["", "secret", "midstream_", "midstream_a", sign_token(KEY, [can_read("r")]).token])
def test_only_an_api_key_signs_and_the_error_does_not_show_what_was_given(text: str) -> None:
    with pytest.raises(ValueError, match="this is no API key") as refused:
        sign_token(text, [can_read("run_x")])
    assert not text or text == "midstream_" or text not in str(refused.value)


def test_a_request_for_a_token() -> None:
    spec = token_spec([can_send("run_x", approval), can_cancel("run_x")], "user-17", "90s", None)
    assert [(scope.run_id, scope.stream_id) for scope in spec.scopes] == [("run_x", "approval"), ("run_x", "")]
    assert (spec.subject, spec.ttl.ToSeconds(), spec.max_uses) == ("user-17", 90, 0)
    with pytest.raises(ValueError, match="1 or more, not 0"):
        token_spec([can_read("run_x")], "", "1h", 0)


def test_what_a_token_says_of_itself() -> None:
    token = sign_token(KEY, [can_read("run_x")])
    claims = read_claims(token.token)
    assert claims is not None
    assert (claims.token_id, claims.expire_s) == (token.token_id, token.expire_time.timestamp())
    for no_token in ("", "a.b", "a.b.c", "01J9Z6W0G7E6Y3M8Q2T4V5X7B9", "a.bnVsbA.c", KEY):
        assert read_claims(no_token) is None
