"""Who is alive: a look at the processes of this machine."""

import subprocess
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
HAS_PROC = (PROC / "self" / "stat").exists()
SOURCE = "/proc" if HAS_PROC else "ps"


class Process(NamedTuple):
    """`state` is a letter: `S` sleeps, `R` runs, `Z` is a zombie, dead but not yet reaped."""

    pid: int
    parent: int
    state: str


def all_processes() -> list[Process]:
    """From /proc, on other systems from ps."""
    if not HAS_PROC:
        rows = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True).stdout
        return [Process(int(pid), int(parent), state[0]) for pid, parent, state in map(str.split, rows.splitlines())]
    return [found for path in PROC.iterdir() if path.name.isdecimal() and (found := _read(path)) is not None]


def find(pid: int) -> Process | None:
    """None where it does not exist: it has ended, and was reaped."""
    return next((process for process in all_processes() if process.pid == pid), None)


def children_of(pid: int) -> list[int]:
    return [process.pid for process in all_processes() if process.parent == pid and process.state != "Z"]


def _read(path: Path) -> Process | None:
    try:
        stat = (path / "stat").read_text()
    except OSError:  # It has ended meanwhile.
        return None
    # `pid (name) state parent ...`, and the name may hold anything.
    state, parent = stat.rpartition(")")[2].split()[:2]
    return Process(int(path.name), int(parent), state)
