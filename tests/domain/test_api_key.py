"""API keys: their text, what is kept of them, and the key pair that they stand for."""

import hashlib

import pytest

from midstream.signing import key_id, signing_key
from midstream_server.domain import api_key

TEXT = "midstream_abcdefghij01_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_keys_are_new_and_of_one_form() -> None:
    texts = {api_key.new_text() for _ in range(100)}
    assert len(texts) == 100
    assert all(api_key.key_id_of(text) for text in texts)
    assert len({api_key.key_id_of(text) for text in texts}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "midstream_",
        "midstream__x",
        TEXT[:-1],
        TEXT + "A",
        TEXT + "\n",
        TEXT.upper(),
        TEXT.replace("midstream_", ""),
        TEXT.replace("abcdefghij01", "abcdefghij0"),
        TEXT.replace("A", "é"),
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert api_key.key_id_of(text) is None
    with pytest.raises(ValueError, match="not an API key") as caught:
        api_key.kept(text, namespace="n", name="n", now_us=1)
    assert not text or text not in str(caught.value)


def test_nothing_that_is_kept_or_shown_lets_anyone_in() -> None:
    kept = api_key.kept(TEXT, namespace="acme", name="backend", now_us=7)
    assert (kept.key_id, kept.namespace, kept.name, kept.created_us) == ("abcdefghij01", "acme", "backend", 7)
    assert kept.digest == hashlib.sha256(TEXT.encode()).digest()
    secret = TEXT.rpartition("_")[2]
    assert secret not in repr(kept)
    assert repr(kept.digest) not in repr(kept)
    assert repr(kept.public_key) not in repr(kept)


def test_the_clients_derive_the_same_key_pair() -> None:
    text = api_key.new_text()
    ours, theirs = api_key.signing_key_of(text), signing_key(text)
    assert ours.private_bytes_raw() == theirs.private_bytes_raw()
    assert api_key.kept(text, namespace="n", name="n", now_us=1).public_key == theirs.public_key().public_bytes_raw()
    assert api_key.key_id_of(text) == key_id(text)


def test_the_key_pair_is_the_one_that_the_contract_derives() -> None:
    """RFC 5869 by hand: one block of output."""
    import hmac

    extracted = hmac.digest(bytes(32), TEXT.encode(), "sha256")
    seed = hmac.digest(extracted, b"midstream.v1 access token\x01", "sha256")
    assert api_key.signing_key_of(TEXT).private_bytes_raw() == seed
