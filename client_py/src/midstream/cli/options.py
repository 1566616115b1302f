"""Options that every command takes, before its name or behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import midstream
from midstream import endpoint

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "grpc://127.0.0.1:7733"

_FILES = {
    "--ca-file": "Who vouches for the server's certificate (PEM).  [env var: MIDSTREAM_CA_FILE]",
    "--cert-file": "A certificate of your own, for a server that asks for one.  [env var: MIDSTREAM_CERT_FILE]",
    "--key-file": "Its private key.  [env var: MIDSTREAM_KEY_FILE]",
}


@dataclass
class Options:
    """What was chosen for the whole command line."""

    url: str = DEFAULT_URL
    as_json: bool = False
    retry_for: str = "3s"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool | None = None

    def endpoint(self) -> endpoint.Endpoint:
        """The chosen server, with the credentials in the environment."""
        try:
            return endpoint.resolve(
                self.url,
                ca_file=self.ca_file,
                cert_file=self.cert_file,
                key_file=self.key_file,
                insecure=self.insecure,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def connect(self) -> midstream.Client:
        """A client of the chosen server. Nothing is sent before the first call."""
        where = self.endpoint()
        try:
            return midstream.Client(where, retry_timeout=self.retry_for)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def common_options(*, envvar: str | None = None) -> Callable[[F], F]:
    """Adds --url, --json, --retry-for and those of TLS, whose help only the root shows.

    Only the root reads --url from the environment, so that its --url is not overridden. There is no option for a
    secret: every user of a machine can see the command lines of all processes.
    """

    def decorate(command: F) -> F:
        for option in (
            click.option(
                "--retry-for",
                "retry_for",
                metavar="DURATION",
                expose_value=False,
                callback=_remember,
                help="How long to try where no server answers, such as 500ms or 1m.  [default: 3s]",
            ),
            click.option(
                "--json",
                "as_json",
                is_flag=True,
                default=None,
                expose_value=False,
                callback=_remember,
                help="Print one JSON object a line.",
            ),
            click.option(
                "--url",
                metavar="URL",
                envvar=envvar,
                expose_value=False,
                callback=_remember,
                help="The server, such as grpc://127.0.0.1:7733 or grpcs://host:443.",
            ),
            *(
                click.option(
                    flag,
                    metavar="PATH",
                    type=click.Path(exists=True, dir_okay=False),
                    expose_value=False,
                    callback=_remember,
                    hidden=envvar is None,
                    help=text,
                )
                for flag, text in _FILES.items()
            ),
            click.option(
                "--insecure",
                is_flag=True,
                default=None,
                expose_value=False,
                callback=_remember,
                hidden=envvar is None,
                help="Send credentials to another machine without TLS.  [env var: MIDSTREAM_INSECURE]",
            ),
        ):
            command = option(command)
        return command

    return decorate


def _remember(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Options), parameter.name, value)
