"""`midstream peek` and `midstream tail`: look at records without consuming any."""

from collections.abc import AsyncIterator

import click
from rich.text import Text

from midstream import Client, OutputEvent, Record, Rewound, Sender
from midstream.cli import output, shapes, text
from midstream.cli.options import Options, common_options
from midstream.cli.running import with_client


@click.command(short_help="Show a stream's newest unconsumed record.")
@click.argument("run_id", metavar="RUN")
@click.argument("stream")
@common_options()
@click.pass_obj
def peek(options: Options, run_id: str, stream: str) -> None:
    """Show the newest unconsumed record of a stream, and consume nothing.

    With --json, no record is no output.

    \b
    Examples:
      midstream peek RUN approval
      midstream peek RUN approval --json | jq .value
    """

    async def work(client: Client) -> None:
        record = await client.peek(run_id, stream, readable=True)
        if options.as_json:
            if record is not None:
                output.json_line(shapes.record(record))
        elif record is None:
            output.line(f"No unconsumed record on {text.printable(stream)}.")
        else:
            output.line(_heading(record), output.dim(f"  {_origin(record)}"))
            output.paragraph(text.block(record.value))

    with_client(options, work)


@click.command(short_help="Follow the records of a run.")
@click.argument("run_id", metavar="RUN")
@click.argument("stream", required=False)
@click.option(
    "--from-offset",
    metavar="OFFSET",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Begin at this place in the run's log.",
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on as records arrive, or stop.")
@click.option("--output", "output_id", metavar="STREAM", help="This output stream instead: what the run has to say.")
@click.option("--outputs", is_flag=True, help="All output streams instead.")
@common_options()
@click.pass_obj
def tail(
    options: Options,
    run_id: str,
    stream: str | None,
    from_offset: int,
    follow: bool,
    output_id: str | None,
    outputs: bool,
) -> None:
    """Print the records of a run, of one STREAM or of all, and follow until the run has ended.

    Consumes nothing, and survives a restart of the server. The number in front is the offset in the run's log; of
    output records, the one among them.

    What a step appended to an output stream does not count any more once that step runs again: a line says so, and
    --no-follow leaves it out.

    \b
    Examples:
      midstream tail RUN
      midstream tail RUN --output tokens
      midstream tail RUN user-message --no-follow
      midstream tail RUN --from-offset 12 --json | jq .value
    """

    if (stream is not None) + (output_id is not None) + outputs > 1:
        raise click.UsageError("STREAM, --output and --outputs exclude each other: inputs and outputs are two orders.")
    out = outputs or output_id is not None
    named = output_id if out else stream

    async def work(client: Client) -> None:
        await client.get_run(run_id)  # Tailing tries for ever to reach the server; this says at once that it cannot.
        seen = False
        events = _outputs if out else _records
        async for event in events(client, run_id, named, from_offset, follow):
            seen = True
            _print(options, event)
        if not seen and not options.as_json:
            output.line("No records." if named is None else f"No records on {text.printable(named)}.")

    with_client(options, work)


async def _records(
    client: Client, run_id: str, stream: str | None, from_offset: int, follow: bool
) -> AsyncIterator[Record]:
    if follow:
        async for record in client.tail(run_id, stream, after_offset=from_offset - 1, readable=True):
            yield record
        return
    async for record in client.list_records(run_id, stream, readable=True):
        if record.offset >= from_offset:
            yield record


async def _outputs(
    client: Client, run_id: str, stream: str | None, from_offset: int, follow: bool
) -> AsyncIterator[OutputEvent]:
    if follow:
        async for event in client.tail_output(run_id, stream, after_offset=from_offset - 1):
            yield event
        return
    for record in await client.read_output(run_id, stream):
        if record.offset >= from_offset:
            yield record


def _print(options: Options, event: OutputEvent) -> None:
    if isinstance(event, Rewound):
        if options.as_json:
            output.json_line(shapes.rewound(event))
        else:
            _print_rewound(event)
    elif options.as_json:
        output.json_line(shapes.record(event))
    else:
        _print_record(event)


def _print_rewound(mark: Rewound) -> None:
    when = mark.accept_time.astimezone().strftime("%H:%M:%S")
    ranges = ", ".join(f"#{first}" if first == last else f"#{first} to #{last}" for first, last in mark.ranges)
    output.line(
        output.dim(f"{mark.offset:>5}  {when}  "),
        _heading(mark),
        output.dim(f"  its step runs again: {ranges} do not count"),
    )


def _print_record(record: Record) -> None:
    when = record.accept_time.astimezone().strftime("%H:%M:%S")
    plain = record.sender.kind == "ANONYMOUS" or record.sender == Sender("RUN", record.run_id)  # what a run says itself
    sender = "" if plain else f"  from {text.sender(record.sender)}"
    output.line(
        output.dim(f"{record.offset:>5}  {when}  "),
        _heading(record),
        f"  {text.one_line(record.value)}",
        output.dim(sender),
    )


def _heading(record: OutputEvent) -> Text:
    return Text(f"{text.printable(record.stream_id)} #{record.seq}", style="cyan")


def _origin(record: Record) -> str:
    return f"{text.time(record.accept_time)}  from {text.sender(record.sender)}"
