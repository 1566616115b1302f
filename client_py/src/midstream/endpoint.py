"""A server, and as whom to call it: what `connect`, the command line and the worker have in common."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from midstream import url
from midstream.credentials import AccessTokenSource, check_secret
from midstream.url import Address

if TYPE_CHECKING:
    import grpc

API_KEY: Final = "MIDSTREAM_API_KEY"
ACCESS_TOKEN: Final = "MIDSTREAM_ACCESS_TOKEN"
CA_FILE: Final = "MIDSTREAM_CA_FILE"
CERT_FILE: Final = "MIDSTREAM_CERT_FILE"
KEY_FILE: Final = "MIDSTREAM_KEY_FILE"
INSECURE: Final = "MIDSTREAM_INSECURE"
_YES: Final = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Made by `resolve`, which checks it. Its repr holds no secret."""

    address: Address
    api_key: str | None = field(default=None, repr=False)
    access_token: AccessTokenSource | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False

    def environment(self) -> dict[str, str]:
        """The variables by which another process finds the same endpoint. A callback cannot travel so."""
        variables = {
            url.ENVIRONMENT_VARIABLE: str(self.address),
            API_KEY: self.api_key,
            ACCESS_TOKEN: self.access_token if isinstance(self.access_token, str) else None,
            CA_FILE: self.ca_file,
            CERT_FILE: self.cert_file,
            KEY_FILE: self.key_file,
            INSECURE: "1" if self.insecure else None,
        }
        return {name: value for name, value in variables.items() if value is not None}

    def channel_credentials(self) -> "grpc.ChannelCredentials | None":
        """TLS with the files as they are now; None for plaintext. Raises ValueError for one that cannot be read."""
        if not self.address.tls:
            return None
        import grpc

        return grpc.ssl_channel_credentials(
            root_certificates=_content("ca_file", self.ca_file),
            private_key=_content("key_file", self.key_file),
            certificate_chain=_content("cert_file", self.cert_file),
        )

    def channel_options(self) -> Sequence[tuple[str, int]]:
        """What is meant for this machine, secrets too, must not go to the proxy that HTTP_PROXY names."""
        return (("grpc.enable_http_proxy", 0),) if self.address.is_loopback else ()


def resolve(
    server_url: str | None = None,
    *,
    api_key: str | None = None,
    access_token: AccessTokenSource | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    cert_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
    insecure: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Endpoint:
    """What is not given comes from the environment: MIDSTREAM_URL, MIDSTREAM_API_KEY, ... Raises ValueError.

    Credentials that are given stand alone: with an access token, a key in the environment is not used.
    """
    variables = os.environ if environment is None else environment
    address = url.resolve(server_url)
    if api_key is None and access_token is None:
        api_key, access_token = variables.get(API_KEY) or None, variables.get(ACCESS_TOKEN) or None
        names = f"{API_KEY} and {ACCESS_TOKEN} are both set"
    else:
        names = "api_key and access_token are both given"
    if api_key is not None and access_token is not None:
        raise ValueError(f"{names}: a call has one of them; leave one out")
    check_secret("the API key", api_key)
    check_secret("the access token", access_token)
    files = _tls_files(address, {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}, variables)
    if insecure is None:
        insecure = variables.get(INSECURE, "").lower() in _YES
    endpoint = Endpoint(address, api_key, access_token, insecure=insecure, **files)
    endpoint.channel_credentials()  # Now rather than at the first call: the files can be read.
    if (api_key or access_token) and not (address.tls or address.is_loopback or insecure):
        raise ValueError(
            f"{address} is not encrypted and not on this machine: whoever sees the traffic could take the "
            f"{'API key' if api_key else 'access token'}. Use grpcs://{address.target}, or, on a network that you "
            f"trust, insecure=True ({INSECURE}=1)"
        )
    return endpoint


def _tls_files(
    address: Address, given: Mapping[str, str | os.PathLike[str] | None], variables: Mapping[str, str]
) -> dict[str, str | None]:
    named = [name for name, path in given.items() if path is not None]
    if not address.tls:
        # Those of the environment may be meant for another server; those that were given are a mistake.
        if named:
            raise ValueError(f"{', '.join(named)}: of no use with {address}; write grpcs://{address.target} for TLS")
        return {}
    environment = {"ca_file": CA_FILE, "cert_file": CERT_FILE, "key_file": KEY_FILE}
    files = {
        name: variables.get(environment[name]) or None if path is None else os.fspath(path)
        for name, path in given.items()
    }
    if (files["cert_file"] is None) != (files["key_file"] is None):
        missing = "key_file" if files["key_file"] is None else "cert_file"
        raise ValueError(f"{missing} is missing ({environment[missing]}): a client certificate needs both files")
    return files


def _content(name: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: cannot read {path!r}: {error.strerror}") from None
