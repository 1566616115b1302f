"""Power cuts under load: what was not synced is gone, what was acknowledged is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from support.chaos.scenario import chaos


@pytest.mark.timeout(120)
@pytest.mark.parametrize("flags", [["--power-cut"], ["--power-cut", "--torn", "7"]], ids=["nothing", "some sectors"])
async def test_power_cut_under_load(tmp_path: Path, flags: list[str]) -> None:
    verdict = await chaos(tmp_path, seed="power-cut", kills=4, launch=flags)
    assert not verdict.violations, str(verdict)


WRITER = """
import os, random, signal, sys
import apsw
from support.chaos.power_cut import PowerCut
_, path, synchronous, torn = sys.argv
power_cut = PowerCut(torn=random.Random(torn) if torn else None)
connection = apsw.Connection(path)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("CREATE TABLE words (word)")
connection.execute(f"PRAGMA synchronous = {synchronous}")
for number in range(3000):
    connection.execute("INSERT INTO words VALUES (?)", (os.urandom(200),))
assert apsw.Connection(path).execute("SELECT count(*) FROM words").get == 3000, "another connection must see them"
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("torn", ["", "7"], ids=["nothing survives", "some sectors survive"])
@pytest.mark.parametrize(("synchronous", "survives"), [("FULL", True), ("NORMAL", False), ("OFF", False)])
def test_the_power_cut_itself(tmp_path: Path, synchronous: str, survives: bool, torn: str) -> None:
    """What SQLite synced survives, through checkpoints and restarts of its log; the rest does not."""
    path = tmp_path / "words.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.run([sys.executable, "-c", WRITER, str(path), synchronous, torn], env=environment, check=False)
    assert writer.returncode == -signal.SIGKILL
    connection = apsw.Connection(str(path))
    if synchronous != "OFF":
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        count = connection.execute("SELECT count(*) FROM words").get
        assert (count == 3000) == survives
        return
    # Without any sync not even the order of writes holds: the database may be empty, short or broken.
    try:
        count = connection.execute("SELECT count(*) FROM words").get
    except apsw.Error:
        return
    assert count < 3000
