"""The command `midstream-server`: reads the settings and serves until SIGTERM or SIGINT."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

# gRPC's core prints its own lines, not JSON, to stderr; what matters of them is in our errors. Read once, at import.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from midstream.clock import ManualClock
from midstream_server import keys_command, migrate_command
from midstream_server.manual_time import follow_stdin
from midstream_server.server import Server, StartError
from midstream_server.settings import SettingError, Settings, env_name, flag_name, load, shown_default, without_password
from midstream_server.telemetry import log

EXIT_START_FAILED = 1
EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Exits with 0 after a signal, 1 where the server could not start, 2 for a wrong flag or setting."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["keys"]:
        sys.exit(keys_command.main(given[1:]))
    if given[:1] == ["migrate"]:
        sys.exit(migrate_command.main(given[1:]))
    clock = None
    if given[:1] == ["testing"]:
        given, clock = given[1:], ManualClock()
    flags = {name: value for name, value in vars(_parser().parse_args(given)).items() if value is not None}
    try:
        settings = load(flags)
    except SettingError as error:
        _exit(EXIT_USAGE, error)
    log.configure(format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(_serve(settings, clock))
    except StartError as error:
        _exit(EXIT_START_FAILED, error)


async def _serve(settings: Settings, clock: ManualClock | None) -> None:
    server = Server(settings, clock=clock)
    signalled = _first_signal()
    await server.start()
    _tame_garbage_collector()
    log.server_started(
        url=server.url,
        web_url=server.web_url,
        metrics_url=server.metrics_url,
        database=without_password(str(settings.place)),
    )
    name = await (signalled if clock is None else _signal_or_end_of_stdin(server, signalled))
    log.server_draining(signal=name, drain_seconds=settings.drain_seconds)
    await server.stop()
    log.server_stopped()


async def _signal_or_end_of_stdin(server: Server, signalled: asyncio.Future[str]) -> str:
    reading = asyncio.create_task(follow_stdin(server))
    await asyncio.wait((signalled, reading), return_when=asyncio.FIRST_COMPLETED)
    return signalled.result() if signalled.done() else "stdin ended"


def _tame_garbage_collector() -> None:
    """Keeps it away from what stays for good, and has it run less often: one batch makes thousands of objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _exit(code: int, error: Exception) -> NoReturn:
    for line in str(error).splitlines():
        sys.stderr.write(f"midstream-server: {line}\n")
    sys.exit(code)


def _first_signal() -> asyncio.Future[str]:
    """Resolves with the name of the first SIGTERM or SIGINT.

    The second one ends the process at once, by the signal's default action: whatever was acknowledged is on disk.
    """
    loop = asyncio.get_running_loop()
    signalled: asyncio.Future[str] = loop.create_future()

    def received(number: signal.Signals) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        signalled.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return signalled


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="midstream-server",
        description="Serves Midstream over gRPC from one database, on SQLite or PostgreSQL, until SIGTERM or SIGINT.",
        epilog="`midstream-server keys --help` tells of API keys, `migrate --help` of PostgreSQL's schema. "
        "A flag wins over its environment variable. Durations are written as 7d, 24h, 90s or 500ms.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    for name, field in Settings.model_fields.items():
        text = f"{field.description} [{env_name(name)}, default: {shown_default(name)}]"
        if field.annotation is bool:
            parser.add_argument(flag_name(name), dest=name, action="store_const", const="true", help=text)
        else:
            parser.add_argument(flag_name(name), dest=name, metavar="VALUE", help=text)
    return parser


def _version() -> str:
    try:
        return f"midstream-server {version('midstream-server')}"
    except PackageNotFoundError:
        return "midstream-server (not installed as a package)"
