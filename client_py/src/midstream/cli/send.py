"""`midstream send`: put a record into a run."""

import sys
from pathlib import Path
from typing import Literal

import click

from midstream import Client
from midstream.cli import output, shapes, text
from midstream.cli.data import NotJsonError, parse_json
from midstream.cli.options import Options, common_options
from midstream.cli.running import with_client

Form = Literal["json", "text", "raw"]


class BadData(click.ClickException):
    """Wrong usage, but of a kind that no usage line explains."""

    exit_code = 2


@click.command(short_help="Send a record into a run.")
@click.argument("run_id", metavar="RUN")
@click.argument("stream")
@click.argument("data", required=False)
@click.option("--text", "form", flag_value="text", help="DATA is a text; send it as a JSON string.")
@click.option("--raw", "form", flag_value="raw", help="DATA is bytes; send them as they are.")
@click.option("--json-data", "form", flag_value="json", help="DATA is JSON.  [default]")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take DATA from this file.",
)
@click.option(
    "--key",
    metavar="KEY",
    help="Idempotency key: sending the same data with the same key again stores nothing.  [default: a random one]",
)
@common_options()
@click.pass_obj
def send(
    options: Options, run_id: str, stream: str, data: str | None, form: Form | None, path: Path | None, key: str | None
) -> None:
    """Send a record to STREAM of RUN, and return once it is stored durably.

    DATA is JSON, or - to read it from standard input. The run may be queued, running or suspended: it gets the record.

    \b
    Examples:
      midstream send RUN approval '{"approved": true}'
      midstream send RUN notes "ready when you are" --text
      midstream send RUN photo --file cat.jpg --raw
      echo '{"kind": "wrap-up"}' | midstream send RUN user-message -
      midstream send RUN orders '{"id": 7}' --key order-7
      midstream send RUN level -- -5
    """
    value = _value(_read(data, path), form)

    async def work(client: Client) -> None:
        receipt = await client.send(run_id, stream, value, key=key)
        if options.as_json:
            output.json_line(shapes.receipt(receipt, run_id, stream))
        elif receipt.deduplicated:
            output.line(
                f"Stored before as {text.printable(stream)} #{receipt.seq}: same key, same data. Nothing was added."
            )
        else:
            dropped = (
                f" {text.count(receipt.dropped, 'unread record')} dropped to make room." if receipt.dropped else ""
            )
            output.line(f"Stored as {text.printable(stream)} #{receipt.seq}.{dropped}")

    with_client(options, work)


def _read(data: str | None, path: Path | None) -> bytes:
    match data, path:
        case None, None:
            raise click.UsageError("Nothing to send: give DATA, or - for standard input, or --file PATH.")
        case None, Path():
            return path.read_bytes()
        case "-", None:
            return sys.stdin.buffer.read()
        case str(), None:
            return data.encode("utf-8", "surrogateescape")  # what the shell gave, byte for byte
        case _:
            raise click.UsageError("Give either DATA or --file, not both.")


def _value(content: bytes, form: Form | None) -> object:
    if form == "raw":
        return content
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadData("DATA is not UTF-8 text.\nTo send bytes as they are, add --raw.") from None
    if form == "text":
        return text
    try:
        return parse_json(text)
    except NotJsonError as error:
        raise BadData(str(error)) from None
