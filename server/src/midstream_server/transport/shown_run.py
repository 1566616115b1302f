"""A run as its reader may see it."""

from dataclasses import replace

from midstream.v1 import run_pb2
from midstream_server.domain.caller import Caller
from midstream_server.domain.run import Run
from midstream_server.transport import convert


def shown_run(run: Run, caller: Caller) -> run_pb2.Run:
    """Whoever may read only some streams sees the run without payload, result and the other streams."""
    streams = caller.readable_streams(run.run_id)
    if streams is None:
        return convert.run(run)
    inputs = tuple(stream for stream in run.streams if stream.stream_id in streams)
    outputs = tuple(stream for stream in run.outputs if stream.stream_id in streams)
    return convert.run(replace(run, streams=inputs, outputs=outputs), brief=True)
