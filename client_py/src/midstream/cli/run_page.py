"""A run as a page for a person."""

from datetime import datetime

from midstream import Run, RunState
from midstream.cli import output, text
from midstream.cli.blocked import ways_on
from midstream.cli.history import History
from midstream.cli.timeline import timeline
from midstream.cli.timeline_page import print_timeline

_LABEL_WIDTH = 12


def print_run(run: Run, history: History | None = None, *, whole: bool = False) -> None:
    """Prints everything that is known of a run, the result last. `whole`: also the older lines of a long history."""
    output.line(output.bold(text.printable(run.id)), "  ", output.state(run.state))
    _fact("task", f"{text.printable(run.task)} ({run.kind.lower()})")
    _moment("created", run.create_time)
    _moment("started", run.start_time)
    _moment("cancel", run.cancel_time)
    _moment("ended", run.finish_time)
    _moment("deadline", run.deadline)
    _moment("kept until", run.delete_time)
    _fact("log", f"{run.last_offset:,} entries")
    if run.payload is not None:
        _fact("payload", text.one_line(run.payload))
    for key, value in sorted(run.metadata.items()):
        _fact("metadata", f"{text.printable(key)} = {text.printable(value)}")
    _print_streams(run)
    _print_outputs(run)
    _print_handler_failures(run)
    if history is not None:
        print_timeline(timeline(run, history), whole=whole)
    _print_end(run)
    if run.state is RunState.BLOCKED:
        _print_ways_on(run, history)


def _print_streams(run: Run) -> None:
    output.line()
    if not run.streams:
        output.line("Nothing has been sent to it yet.")
        return
    unread = "unconsumed" if run.state.is_final else "unread"
    output.table(
        ("stream", "records", unread, "cursor"),
        [(text.printable(s.stream_id), f"{s.last_seq:,}", f"{s.unread_count:,}", f"{s.cursor:,}") for s in run.streams],
        right=("records", unread, "cursor"),
    )


def _print_outputs(run: Run) -> None:
    if not run.outputs:
        return
    output.line()
    output.table(
        ("output stream", "records"),
        [(text.printable(each.stream_id), f"{each.last_seq:,}") for each in run.outputs],
        right=("records",),
    )


def _print_handler_failures(run: Run) -> None:
    if not run.handler_failure_count:
        return
    output.line()
    shown = len(run.handler_failures)
    newest = "" if shown == run.handler_failure_count else f", the newest {shown}"
    output.line(output.bold(f"{text.count(run.handler_failure_count, 'handler call')} raised{newest}"))
    output.table(
        ("record", "handler", "error"),
        [
            (
                f"{text.printable(f.stream_id)} #{f.seq}",
                text.printable(f.handler),
                f"{text.printable(f.error_type)}: {text.printable(f.message)}",
            )
            for f in run.handler_failures
        ],
    )


def _print_end(run: Run) -> None:
    if run.failure is not None:
        output.line()
        output.line(output.bold("Failure"))
        output.line(text.printable(f"{run.failure.error_type}: {run.failure.message}", keep_lines=True))
        if run.failure.stack and run.state is not RunState.BLOCKED:  # There it would be the runtime's own.
            output.line(output.dim(text.printable(run.failure.stack.rstrip(), keep_lines=True)))
    if run.result_proto is not None:
        output.line()
        output.line(output.bold("Result"))
        output.paragraph(text.block(run.result))


def _print_ways_on(run: Run, history: History | None) -> None:
    output.line()
    output.line(output.bold("How to go on"))
    for way in ways_on(run, () if history is None else history.assignments):
        output.line(f"- {way}")


def _moment(label: str, moment: datetime | None) -> None:
    if moment is not None:
        _fact(label, text.time(moment), f"  {text.distance(moment)}")


def _fact(label: str, fact: str, remark: str = "") -> None:
    output.line(output.dim(label.ljust(_LABEL_WIDTH)), fact, output.dim(remark))
