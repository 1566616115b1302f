"""The bench's waiting task; importing it, which the worker's template does, stamps the children."""

from bench.managed_tasks import waiter
from bench.trace import stamps
from midstream.worker.child import Child
from midstream.worker.frames import FrameSocket
from midstream.worker.host import RunHost
from midstream.worker.outbound import Outbound

__all__ = ["waiter"]

stamps.before(FrameSocket, "_read", "child: awake")
stamps.before(Child, "_receive", "child: assignment read")
stamps.before(RunHost, "receive", "child: run set up")
stamps.after(RunHost, "receive", "child: known entries replayed")
stamps.send_before(Outbound, "suspend")
