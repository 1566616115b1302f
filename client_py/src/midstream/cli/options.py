"""Options that every command takes, before its name or behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import midstream

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "grpc://127.0.0.1:7733"


@dataclass
class Options:
    """What was chosen for the whole command line."""

    url: str = DEFAULT_URL
    as_json: bool = False
    retry_for: str = "3s"

    def connect(self) -> midstream.Client:
        """A client of the chosen server. Nothing is sent before the first call."""
        try:
            return midstream.connect(self.url, retry_timeout=self.retry_for)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def common_options(*, envvar: str | None = None) -> Callable[[F], F]:
    """Adds --url, --json and --retry-for. Only the root reads the environment, so that its --url is not overridden."""

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
        ):
            command = option(command)
        return command

    return decorate


def _remember(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Options), parameter.name, value)
