"""`midstream`, stamped."""

from bench.trace import stamps
from midstream.cli import main
from midstream.worker.runs import Runs
from midstream.worker.worker import Worker

if __name__ == "__main__":
    stamps.before(Worker, "received", "worker: assignment parsed")
    stamps.after(Runs, "assigned", "worker: assignment passed on, reported")
    stamps.before(Runs, "relay", "worker: new entries parsed")
    stamps.send_before(Runs, "suspended")
    main()
