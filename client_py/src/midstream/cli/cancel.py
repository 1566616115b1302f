"""`midstream cancel`: ask a run to stop."""

import click

from midstream import Client
from midstream.cli import output, shapes, text
from midstream.cli.options import Options, common_options
from midstream.cli.running import with_client


@click.command(short_help="Ask a run to stop.")
@click.argument("run_id", metavar="RUN")
@common_options()
@click.pass_obj
def cancel(options: Options, run_id: str) -> None:
    """Ask a run to stop.

    A queued run is cancelled at once. Any other is told, and has half a minute to clean up. Asking again does nothing.

    \b
    Example:
      midstream cancel run_01J9Z6W0G7E6Y3M8Q2T4V5X7B9
    """

    async def work(client: Client) -> None:
        run = await client.cancel_run(run_id)
        name = text.printable(run.id)
        if options.as_json:
            output.json_line(shapes.run(run))
        elif not run.state.is_final:
            output.line(f"{name} has been asked to stop. See how it goes with: midstream runs watch {name}")
        elif run.state == "CANCELLED":
            output.line(f"{name} is ", output.state(run.state), ".")
        else:
            output.line(f"{name} had ended before: ", output.state(run.state), ".")

    with_client(options, work)
