"""The known answer in access_token.json: every language derives the same key pair and signs the same bytes."""

import base64
import json
from pathlib import Path
from typing import Any

import jwt

from midstream.signing import key_id, signing_key
from support.conformance.sign import sign

KNOWN: dict[str, Any] = json.loads((Path(__file__).parent / "access_token.json").read_text())


def test_the_client_derives_the_key_pair_and_signs_the_token() -> None:
    key = signing_key(KNOWN["apiKey"])
    public = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
    assert (key_id(KNOWN["apiKey"]), public) == (KNOWN["keyId"], KNOWN["publicKey"])
    assert (
        jwt.decode(KNOWN["token"], key.public_key(), algorithms=["EdDSA"], options={"verify_exp": False})
        == (KNOWN["claims"])
    )
    assert jwt.encode(KNOWN["claims"], key, algorithm="EdDSA", headers={"kid": KNOWN["keyId"]}) == KNOWN["token"]


def test_so_does_the_player_of_the_vectors() -> None:
    signed = sign({"key": KNOWN["apiKey"], "claims": {}})
    key = signing_key(KNOWN["apiKey"]).public_key()
    assert jwt.decode(signed, key, algorithms=["EdDSA"])["iss"] == KNOWN["claims"]["iss"]
