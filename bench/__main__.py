"""`python -m bench`: measures every figure, prints a table, writes `bench/results/latest.json`."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, report
from bench.context import Context
from bench.figures import (
    backlog,
    idle_subscriptions,
    managed_rate,
    managed_run,
    many_lives,
    many_servers,
    million_suspended,
    node_send,
    one_at_a_time,
    output,
    peers,
    pipelined_send,
    resume,
    suspended_runs,
    typed_send,
    typescript_run,
    unary_send,
    web_idle,
    web_unary,
)
from bench.limits.echo import EchoClient
from bench.measure import Figure
from bench.peers import installation
from bench.processes import ROOT, child, midstream_server
from bench.sizes import FULL, SMOKE, Sizes

RESULTS = ROOT / "bench" / "results"

PEERS = "peers"
"""Figures of other groups once more, with their peers: only where that is asked for."""

Measure = Callable[[Context], Awaitable[list[Figure]]]

FIGURES: dict[str, Measure] = {
    "one_at_a_time": one_at_a_time.measure,
    "pipelined_send": pipelined_send.measure,
    "idle_subscriptions": idle_subscriptions.measure,
    "unary_send": unary_send.measure,
    "typed_send": typed_send.measure,
    "backlog": backlog.measure,
    "resume": resume.measure,
    "suspended_runs": suspended_runs.measure,
    "managed_run": managed_run.measure,
    "managed_rate": managed_rate.measure,
    "output": output.measure,
    "node_send": node_send.measure,
    "typescript_run": typescript_run.measure,
    "web_unary": web_unary.measure,
    "web_idle": web_idle.measure,
    "many_servers": many_servers.measure,
    "million_suspended": million_suspended.measure,
    "many_lives": many_lives.measure,
    PEERS: peers.measure,
}


async def measure(sizes: Sizes, *, names: Sequence[str], parent: Path, with_peers: bool) -> list[Figure]:
    """Measures the named groups of figures, each with a server and databases of its own under `parent`."""
    figures: list[Figure] = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        async with AsyncExitStack() as cleanup:
            directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix=f"{name}-")))
            server = cleanup.enter_context(midstream_server(directory))
            echo_server = cleanup.enter_context(child("bench.limits.echo", ready_event="echo_started"))
            echo = EchoClient(echo_server.ready["port"])
            cleanup.push_async_callback(echo.close)
            figures += await FIGURES[name](Context(sizes, directory, server, echo, cleanup, with_peers))
    return figures


def main() -> None:
    options = _options()
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    described = machine.describe(out.parent)
    versions = machine.versions()
    if options.peers or PEERS in options.figures:
        versions |= installation.versions()
    sizes = SMOKE if options.smoke else FULL
    given = {name: getattr(options, name) for name in ("suspended_runs", "clones", "lives")}
    sizes = replace(sizes, **{name: count for name, count in given.items() if count is not None})
    figures = asyncio.run(measure(sizes, names=options.figures, parent=out.parent, with_peers=options.peers))
    result: dict[str, Any] = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "smoke": options.smoke,
        "machine": described,
        "versions": versions,
        "figures": [report.to_json(figure) for figure in figures],
    }
    out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if options.markdown:
        print(report.to_markdown(figures, described, versions), end="")
    else:
        report.print_table(figures)
    print(f"written: {out}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    usual = [name for name in FIGURES if name != PEERS]
    parser.add_argument("figures", nargs="*", default=usual, help=f"of {', '.join(FIGURES)}; default: all but {PEERS}")
    parser.add_argument("--peers", action="store_true", help="measure the peers of figures that have one, too")
    parser.add_argument("--smoke", action="store_true", help="tiny counts: shows that all of it runs, measures nothing")
    parser.add_argument("--suspended-runs", type=int, metavar="N", help="how many runs wait; default: 100,000")
    parser.add_argument("--clones", type=int, metavar="N", help="suspended runs in PostgreSQL; default: 100,000")
    parser.add_argument("--lives", type=int, metavar="N", help="runs that live on PostgreSQL; default: 5,000")
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of a table")
    parser.add_argument("--out", type=Path, default=RESULTS / "latest.json", help="where the JSON goes")
    options = parser.parse_args()
    unknown = set(options.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if options.peers or PEERS in options.figures:
        try:
            installation.check()
        except installation.PeersMissing as missing:
            parser.error(str(missing))
    return options


if __name__ == "__main__":
    main()
