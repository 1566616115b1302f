"""`midstream runs`: which runs there are, and how one stands."""

import click
from rich.text import Text

from midstream import Client, Run, RunState
from midstream.cli import log_shapes, output, shapes, text
from midstream.cli.history import History
from midstream.cli.options import Options, common_options
from midstream.cli.run_page import print_run
from midstream.cli.running import with_client

STATES = [str(state) for state in RunState if state is not RunState.UNSPECIFIED]


@click.group(short_help="List, show and watch runs.")
@common_options()
def runs() -> None:
    """List, show and watch runs.

    \b
    Examples:
      midstream runs list --task research-agent --state running --state suspended
      midstream runs show run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9
      midstream runs list --json | jq -r .run_id
    """


@runs.command("list", short_help="List runs, newest first.")
@click.option("--task", metavar="TASK", help="Only runs of this task.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    metavar="STATE",
    help=f"Only runs in this state, of {', '.join(STATES).lower()}; may be given several times.",
)
@click.option("--limit", metavar="N", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@common_options()
@click.pass_obj
def list_runs(options: Options, task: str | None, states: tuple[str, ...], limit: int) -> None:
    """List runs, newest first.

    \b
    Examples:
      midstream runs list
      midstream runs list --state failed --limit 10
      midstream runs list --task research-agent --json | jq -r .run_id
    """

    async def work(client: Client) -> None:
        found: list[Run] = []
        more = False
        async for run in client.list_runs(task=task, states=[RunState(state) for state in states]):
            more = len(found) == limit
            if more:
                break
            found.append(run)
            if options.as_json:
                output.json_line(shapes.run(run, full=False))
        if not options.as_json:
            _print_list(found, filtered=task is not None or states != (), more=more)

    with_client(options, work)


def _print_list(found: list[Run], *, filtered: bool, more: bool) -> None:
    if not found:
        output.line("No run matches." if filtered else "There are no runs yet.")
        return
    output.table(
        ("run", "task", "state", "unread", "created"),
        [
            (
                text.printable(run.id),
                text.printable(run.task),
                output.state(run.state),
                f"{sum(stream.unread_count for stream in run.streams):,}",
                Text.assemble(text.time(run.create_time), output.dim(f"  {text.distance(run.create_time)}")),
            )
            for run in found
        ],
        right=["unread"],
    )
    if more:
        click.echo(f"There are more than these {len(found)}: see them with --limit.", err=True)


@runs.command("show", short_help="Show a run: state, streams, what happened to it, result.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--log/--no-log",
    "log",
    default=None,
    help="Show its whole log, or nothing of it.  [default: the newest lines; with --json the whole]",
)
@common_options()
@click.pass_obj
def show_run(options: Options, run_id: str, log: bool | None) -> None:
    """Show a run: its state and times, its streams with what is unread, its log as a timeline, its result.

    The timeline has every record, step, timer and cancel request, and where the run was suspended and resumed, by which
    worker. The number in front is the offset in the run's log.

    \b
    Examples:
      midstream runs show run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9
      midstream runs show run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9 --no-log --json | jq .result.value
      midstream runs show run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9 --json | jq -c '.log[] | select(.step_ended)'
    """

    async def work(client: Client) -> None:
        run = await client.get_run(run_id)
        history = None
        if log is not False:
            assignments = await client.list_assignments(run_id)
            history = History([entry async for entry in client.list_entries(run_id, readable=True)], assignments)
        if options.as_json:
            output.json_line({**shapes.run(run), **({} if history is None else log_shapes.history(history))})
        else:
            print_run(run, history, whole=log is True)

    with_client(options, work)


@runs.command("watch", short_help="Print a run whenever it changes, until it ends.")
@click.argument("run_id", metavar="RUN")
@common_options()
@click.pass_obj
def watch_run(options: Options, run_id: str) -> None:
    """Print a run's state and unread records whenever they change, until it has ended.

    Survives a restart of the server.

    \b
    Examples:
      midstream runs watch run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9
      midstream runs watch run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9 --json | jq -r .state
    """

    async def work(client: Client) -> None:
        await client.get_run(run_id)  # Watching tries for ever to reach the server; this says at once that it cannot.
        async for run in client.watch_run(run_id):
            if options.as_json:
                output.json_line(shapes.run(run))
                continue
            unread = [
                f"{text.printable(s.stream_id)}: {s.unread_count:,} unread" for s in run.streams if s.unread_count
            ]
            output.line(output.state(run.state), "  " if unread else "", ", ".join(unread))

    with_client(options, work)
