"""The root command, and what becomes of errors."""

import json
import os
import sys
from collections.abc import Sequence

import click

from midstream import MidstreamError
from midstream.cli import exit_codes
from midstream.cli.cancel import cancel
from midstream.cli.explain import Explanation, explain
from midstream.cli.options import Options, common_options
from midstream.cli.records import peek, tail
from midstream.cli.runs import runs
from midstream.cli.schema import schema
from midstream.cli.send import send
from midstream.cli.token import token
from midstream.cli.worker import worker


class InOrder(click.Group):
    """Lists its commands in the order in which they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@common_options(envvar="MIDSTREAM_URL")
@click.version_option(package_name="midstream", message="midstream %(version)s")
def cli() -> None:
    """Send data into running tasks, and see what happens there.

    \b
    Examples:
      midstream runs list --state running
      midstream runs show RUN
      midstream send RUN user-message '{"kind": "instruction", "text": "focus on cost"}'
      midstream send RUN notes "ready when you are" --text
      midstream tail RUN
      midstream cancel RUN
      midstream token mint --send RUN/approval --subject user-17
      midstream schema push MODULE
      midstream worker MODULE

    \b
    The server:
      --url, else MIDSTREAM_URL, else grpc://127.0.0.1:7733. Start one with: midstream-server
      Credentials come from MIDSTREAM_API_KEY or MIDSTREAM_ACCESS_TOKEN.

    \b
    For programs:
      --json prints one JSON object a line, and errors as JSON on stderr.
      Exit codes: 0 done, 1 refused or not reachable, 2 wrong usage, 130 interrupted.

    \b
    Completion, in ~/.bashrc (zsh and fish likewise):
      eval "$(_MIDSTREAM_COMPLETE=bash_source midstream)"
    """


for _command in (runs, send, peek, tail, cancel, token, schema, worker):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code; `arguments` are those of the process by default."""
    options = Options()
    try:
        # Click returns the code of an Exit, such as that of --help, instead of raising it here.
        code = cli.main(args=arguments, prog_name="midstream", standalone_mode=False, obj=options)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        error.show()
        return exit_codes.USAGE
    except click.ClickException as error:
        return _fail(Explanation("USAGE", error.format_message()), options, error.exit_code)
    except MidstreamError as error:
        return _fail(explain(error, options), options)
    except (KeyboardInterrupt, click.Abort):
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer would fail again, loudly, as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.BROKEN_PIPE


def _fail(explanation: Explanation, options: Options, code: int = exit_codes.ERROR) -> int:
    if options.as_json:
        text = json.dumps({"error": explanation.to_json()}, ensure_ascii=False)
    else:
        text = f"Error: {explanation.what}\n{explanation.fix}".rstrip()
    click.echo(text, err=True)
    return code
