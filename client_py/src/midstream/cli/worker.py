"""`midstream worker`: execute runs."""

import asyncio
import gc
import sys

import click

from midstream import durations
from midstream.cli import exit_codes
from midstream.cli.options import Options, common_options


class CannotStart(click.ClickException):
    """The tasks cannot be imported: the message says why, and what to do."""

    exit_code = exit_codes.ERROR


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on only
    """`5s`, `500ms`, `0s`: as microseconds."""

    name = "duration"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> int:
        try:
            return durations.parse(float(value) if value.replace(".", "", 1).isdigit() else value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(short_help="Execute the runs of your tasks.")
@click.argument("modules", metavar="MODULE[:TASK]...", nargs=-1, required=True)
@click.option(
    "--credit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    metavar="N",
    envvar="MIDSTREAM_CREDIT",
    help="How many runs have a process at a time. Suspended ones have none.",
)
@click.option(
    "--spares",
    default=2,
    show_default=True,
    type=click.IntRange(0, 1_000),
    metavar="N",
    envvar="MIDSTREAM_SPARES",
    help="How many processes wait, warmed up, for the next run.",
)
@click.option(
    "--idle-timeout",
    "idle_timeout_us",
    type=DurationType(),
    metavar="DURATION",
    envvar="MIDSTREAM_IDLE_TIMEOUT",
    help="How long a run that waits keeps its process, such as 0s or 1m.  [default: as its task says, or 5s]",
)
@click.option(
    "--drain-timeout",
    "drain_timeout_us",
    default="30s",
    show_default=True,
    type=DurationType(),
    metavar="DURATION",
    envvar="MIDSTREAM_DRAIN_TIMEOUT",
    help="When told to stop: how long runs in the middle of a step may go on.",
)
@click.option(
    "--directory",
    default=".",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where to look for the modules first.",
)
@click.option(
    "--worker-id",
    default="",
    metavar="ID",
    envvar="MIDSTREAM_WORKER_ID",
    help="A name that no other living worker has.  [default: a random one]",
)
@click.option(
    "--push-schemas/--no-push-schemas",
    default=False,
    show_default=True,
    envvar="MIDSTREAM_PUSH_SCHEMAS",
    help="First register the types of the streams that the modules declare, for everybody who sends to them.",
)
@click.option(
    "--start-method",
    type=click.Choice(["auto", "fork", "spawn"]),
    default="auto",
    show_default=True,
    help="How a run gets its process: forked from one that has imported your module, or a fresh Python. "
    "auto spawns where importing the module started threads.",
)
@common_options()
@click.pass_obj
def worker(
    options: Options,
    modules: tuple[str, ...],
    credit: int,
    spares: int,
    idle_timeout_us: int | None,
    drain_timeout_us: int,
    directory: str,
    worker_id: str,
    push_schemas: bool,
    start_method: str,
) -> None:
    """Execute the runs of the tasks in MODULE, each in a process of its own, until stopped.

    MODULE is written as for `import`; without :TASK all tasks in it are meant. A run that waits is suspended after a
    while and its process ends; what it waits for brings it back, here or on another worker.

    \b
    Examples:
      midstream worker agent
      midstream worker agent:research_agent billing.tasks
      midstream worker agent --idle-timeout 0s --credit 500
      midstream worker agent --push-schemas

    \b
    Signals:
      SIGTERM, Ctrl-C   take no more runs, suspend or finish those here, then end
      the same again    end at once; other workers take over when the leases run out

    Output is for a person on a terminal, else one JSON object a line. MIDSTREAM_CODE_VERSION names the version of the
    code; by default it is a hash of each task's module.
    """
    # Imported here: the other commands shall not pay for it.
    from midstream.worker.process_worker import run_worker
    from midstream.worker.ready import TemplateFailed
    from midstream.worker.report import Report
    from midstream.worker.settings import StartMethod, WorkerSettings

    log_format: str = "console" if sys.stdout.isatty() and not options.as_json else "json"
    method: StartMethod = "fork" if start_method == "fork" else "spawn" if start_method == "spawn" else "auto"
    settings = WorkerSettings(
        modules=modules,
        worker_id=worker_id,
        directory=directory,
        credit=credit,
        spares=spares,
        idle_timeout_us=idle_timeout_us,
        drain_timeout_us=drain_timeout_us,
        push_schemas=push_schemas,
        start_method=method,
        log_format="console" if log_format == "console" else "json",
    )
    endpoint = options.endpoint()
    # What is imported stays for good: to look through it each time holds up resumes by tens of milliseconds.
    gc.collect()
    gc.freeze()
    try:
        asyncio.run(run_worker(endpoint, settings, Report(settings.log_format)))
    except TemplateFailed as error:
        raise CannotStart(str(error)) from None


# A worker tries for ever.
worker.params = [option for option in worker.params if option.name != "retry_for"]
