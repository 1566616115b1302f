"""Access tokens: which are right, and the many ways to be wrong."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from midstream_server.domain.access_token import (
    MAX_TOKEN_BYTES,
    MAX_TTL_US,
    SKEW_US,
    TokenSpec,
    check_spec,
    key_id_of,
    sign,
    verify,
)
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.scope import Action, Scope

NOW_S = 1_767_225_600
NOW_US = NOW_S * 1_000_000
SECOND_US = 1_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
SCOPES = (Scope(Action.SEND, "run_x", "user-message"), Scope(Action.READ, "run_x"))
CLAIMS: dict[str, Any] = {
    "iss": "midstream.v1",
    "jti": "01J",
    "sub": "user-17",
    "scope": "send:run_x/user-message read:run_x",
    "iat": NOW_S,
    "exp": NOW_S + 3_600,
}
LEFT_OUT = object()


def token(key: Any = KEY, algorithm: str = "EdDSA", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token as a backend would sign it, with some claims changed or left out."""
    kept = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not LEFT_OUT}
    headers = {"typ": "JWT", "kid": "abcdefghij01", **(header or {})}
    return jwt.PyJWS().encode(json.dumps(kept).encode(), key, algorithm=algorithm, headers=headers)


def raw(header: Any, payload: Any, signature: bytes = b"") -> str:
    """A token made by hand."""
    return ".".join(encoded(json.dumps(part).encode()) for part in (header, payload)) + "." + encoded(signature)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def reason(text: str, *, now_us: int = NOW_US) -> Reason | None:
    """Why a token is refused; None: it is right."""
    try:
        verify(text, KEY.public_key(), now_us=now_us)
    except Refused as refused:
        return refused.reason
    return None


def test_what_a_right_token_allows() -> None:
    grant = verify(token(uses=3), KEY.public_key(), now_us=NOW_US)
    assert grant == ("01J", "user-17", SCOPES, NOW_US + 3_600 * SECOND_US, 3)


def test_a_signed_token_is_right() -> None:
    spec = TokenSpec(SCOPES, subject="ünï", ttl_us=90 * SECOND_US, max_uses=2)
    text, expires_us = sign(check_spec("spec", spec), KEY, key_id="abcdefghij01", token_id="t", now_us=NOW_US + 1)
    assert expires_us == NOW_US + 91 * SECOND_US, "in whole seconds, never early"
    assert key_id_of(text) == "abcdefghij01"
    assert jwt.get_unverified_header(text) == {"alg": "EdDSA", "typ": "JWT", "kid": "abcdefghij01"}
    assert verify(text, KEY.public_key(), now_us=NOW_US) == ("t", "ünï", SCOPES, expires_us, 2)


@pytest.mark.parametrize("ttl_us", [SECOND_US, MAX_TTL_US])
@pytest.mark.parametrize("now_us", [NOW_US, NOW_US + 1, NOW_US + 999_999])
def test_the_shortest_and_the_longest_are_right_at_once(ttl_us: int, now_us: int) -> None:
    text, _ = sign(TokenSpec(SCOPES, ttl_us=ttl_us), KEY, key_id="k", token_id="t", now_us=now_us)
    assert reason(text, now_us=now_us) is None


FORGED = {
    "another key": token(OTHER_KEY),
    "alg none": raw({"alg": "none", "kid": "k"}, CLAIMS),
    "alg none, signed": raw({"alg": "none", "kid": "k"}, CLAIMS, KEY.sign(b"x")),
    "alg None": raw({"alg": "None", "kid": "k"}, CLAIMS),
    "no alg": raw({"kid": "k"}, CLAIMS),
    "the public key as a shared secret": token(
        KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), algorithm="HS256"
    ),
    "another algorithm": token(generate_private_key(SECP256R1()), algorithm="ES256"),
    "a changed claim": ".".join(
        (token().split(".")[0], encoded(json.dumps({**CLAIMS, "sub": "admin"}).encode()), token().split(".")[2])
    ),
    "a changed header": ".".join(
        (encoded(b'{"alg":"EdDSA","kid":"other"}'), token().split(".")[1], token().split(".")[2])
    ),
    "without signature": token().rpartition(".")[0] + ".",
    "half a signature": token()[:-40],
    "critical extension": token(header={"crit": ["x"], "x": 1}),
    "unencoded payload": token(header={"b64": False, "crit": ["b64"]}),
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_forged(text: str) -> None:
    assert reason(text) is Reason.CREDENTIALS_INVALID


def test_one_token_has_one_text() -> None:
    text = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [text[:-1] + character for character in alphabet if character != text[-1]]
    others += [text + "=", text + "==", text.replace(".", ".\n", 1), text + " ", text + "\0", text + "é"]
    assert {reason(other) for other in others} == {Reason.CREDENTIALS_INVALID}


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a.b.c", "x" * 100, "a.b", "a.b.c.d", "=.=.=", "🙂.🙂.🙂", "\ud800.a.b"),
        raw([], {}),
        raw("text", {}),
        raw(None, {}),
        raw({"alg": "EdDSA"}, CLAIMS),
        raw({"alg": "EdDSA", "kid": 7}, CLAIMS),
        raw({"alg": "EdDSA", "kid": None}, CLAIMS),
        raw({"alg": "EdDSA", "kid": ["k"]}, CLAIMS),
        f"{encoded(b'[' * 9_000)}.{encoded(b'{}')}.{encoded(b'x' * 64)}",
        f"{encoded(b'{' * 100)}.{encoded(b'{}')}.{encoded(b'x' * 64)}",
        f"{encoded(bytes(range(256)))}.{encoded(b'{}')}.{encoded(b'x' * 64)}",
    ],
)
def test_malformed(text: str) -> None:
    assert reason(text) is Reason.CREDENTIALS_INVALID


def test_absurd_sizes() -> None:
    assert reason("a" * MAX_TOKEN_BYTES + ".b.c") is Reason.CREDENTIALS_INVALID
    assert reason(token(extra="x" * MAX_TOKEN_BYTES)) is Reason.CREDENTIALS_INVALID
    assert reason(token(exp=10**400)) is Reason.CREDENTIALS_INVALID


WRONG_CLAIMS = [
    *[("iss", value) for value in (LEFT_OUT, "midstream.v2", "", None, ["midstream.v1"], 1)],
    *[("jti", value) for value in (LEFT_OUT, "", "x" * 65, "é" * 33, 7, None, "a\0b", ["x"])],
    *[("sub", value) for value in ("x" * 129, "é" * 65, 7, None, ["x"], "\0", "\ud800")],
    *[("iat", value) for value in (LEFT_OUT, None, "1", 1.5, True, -1, 0, NOW_S + SKEW_US // SECOND_US + 1, [1])],
    *[("exp", value) for value in (LEFT_OUT, None, "1", NOW_S + 0.5, True, -1, NOW_S, NOW_S - 1, 2**63, {})],
    ("exp", NOW_S + 30 * 24 * 3_600 + 2),
    *[("uses", value) for value in (0, -1, 1.0, True, "1", None, 2**31, [1])],
    *[("scope", value) for value in (LEFT_OUT, None, "", " ", 7, ["read:run_x"], {"read": "run_x"})],
    *[("scope", value) for value in ("read", "read:", "write:run_x", "READ:run_x", "read:run_x/", "read:/s", ":run_x")],
    *[("scope", value) for value in ("read:run_x  read:run_y", " read:run_x", "read:run_x ", "read:run_x\tread:run_y")],
    *[
        ("scope", value)
        for value in ("read:a/b/c", "read:*", "read:run_x/*", "read:a b", "read:é", "read:" + "x" * 129)
    ],
    ("scope", "cancel:run_x/s"),
    ("scope", " ".join(["read:run_x"] * 33)),
    ("scope", "read:run_x\0"),
]


@pytest.mark.parametrize(("claim", "value"), WRONG_CLAIMS)
def test_claims_that_are_wrong_though_the_signature_is_right(claim: str, value: Any) -> None:
    assert reason(token(**{claim: value})) is Reason.CREDENTIALS_INVALID


@pytest.mark.parametrize(
    "text", [token(OTHER_KEY), token(exp=NOW_S - 1, iat=NOW_S - 2), token(sub=7), "aaaa.bbbb.cccc"]
)
def test_a_refusal_does_not_repeat_the_token(text: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(text, KEY.public_key(), now_us=NOW_US)
    shown = f"{caught.value} {caught.value.metadata} {caught.value!r}"
    assert not any(part in shown for part in text.split("."))


def test_claims_that_are_not_an_object() -> None:
    signed = encoded(b'{"alg":"EdDSA","kid":"k"}') + "." + encoded(b"[1]")
    assert reason(f"{signed}.{encoded(KEY.sign(signed.encode()))}") is Reason.CREDENTIALS_INVALID


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": LEFT_OUT},
        {"sub": ""},
        {"jti": "x" * 64},
        {"sub": "x" * 128},
        {"scope": " ".join(["read:run_x"] * 32)},
        {"scope": "cancel:run_x"},
        {"uses": 2**31 - 1},
        {"exp": NOW_S + 30 * 24 * 3_600},
        {"iat": NOW_S + SKEW_US // SECOND_US, "exp": NOW_S + 3_600},
        {"aud": "somebody", "nbf": NOW_S - 1, "name": "claims that nobody knows are passed over"},
    ],
)
def test_the_edges_of_what_is_right(claims: dict[str, Any]) -> None:
    assert reason(token(**claims)) is None


def test_a_token_is_good_until_its_second_and_then_expired() -> None:
    end_us = NOW_US + 3_600 * SECOND_US
    assert reason(token(), now_us=end_us - 1) is None
    with pytest.raises(Refused, match="2026-01-01T01:00:00Z") as caught:
        verify(token(), KEY.public_key(), now_us=end_us)
    assert caught.value.reason is Reason.TOKEN_EXPIRED
    assert caught.value.metadata == {"expire_time": "2026-01-01T01:00:00Z"}
    assert reason(token(OTHER_KEY), now_us=end_us) is Reason.CREDENTIALS_INVALID, "forged comes before expired"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (TokenSpec(()), "spec.scopes"),
        (TokenSpec(SCOPES * 17), "spec.scopes"),
        (TokenSpec((*SCOPES, Scope(Action.READ, ""))), "spec.scopes[2].run_id"),
        (TokenSpec((Scope(Action.READ, "a/b"),)), "spec.scopes[0].run_id"),
        (TokenSpec((Scope(Action.READ, "a", "b c"),)), "spec.scopes[0].stream_id"),
        (TokenSpec((Scope(Action.CANCEL, "a", "b"),)), "spec.scopes[0].stream_id"),
        (TokenSpec(SCOPES, subject="é" * 65), "spec.subject"),
        (TokenSpec(SCOPES, subject="\0"), "spec.subject"),
        (TokenSpec(SCOPES, ttl_us=SECOND_US - 1), "spec.ttl"),
        (TokenSpec(SCOPES, ttl_us=MAX_TTL_US + 1), "spec.ttl"),
        (TokenSpec(SCOPES, ttl_us=-1), "spec.ttl"),
        (TokenSpec(SCOPES, max_uses=-1), "spec.max_uses"),
    ],
)
def test_specs_of_which_no_token_is_made(spec: TokenSpec, field: str) -> None:
    with pytest.raises(Refused) as caught:
        check_spec("spec", spec)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert list(caught.value.fields) == [field]
