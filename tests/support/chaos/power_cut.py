"""A SQLite VFS under which kill -9 is a power cut: what was not synced is gone.

Writes are held in memory, where reads see them, and reach the real file only at xSync. With `torn`, some sectors of
unsynced writes reach it early, as an operating system may do in any order.
"""

import random
import threading
from dataclasses import dataclass, field

import apsw

SECTOR_BYTES = 512
"""What a disk writes at once or not at all."""


@dataclass(slots=True)
class Contents:
    """A file as its connections see it, and what of that has not been synced yet."""

    image: bytearray
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    """In order: a write at an offset, or (with None) a truncation to that size."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    open_files: int = 0


class PowerCut(apsw.VFS):
    """Becomes the default VFS of the process for as long as this object lives.

    `torn` draws which sectors survive unsynced; None: none does.
    """

    def __init__(self, *, torn: random.Random | None = None) -> None:
        self._torn = torn
        self._contents: dict[str, Contents] = {}
        self._lock = threading.Lock()
        self.real_vfs = apsw.vfs_names()[0]
        super().__init__("power-cut", self.real_vfs, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "PowerCutFile":
        return PowerCutFile(self, name, flags, self._torn)

    def enter(self, path: str, file: "PowerCutFile") -> Contents:
        """The contents that all open files of this path share."""
        with self._lock:
            contents = self._contents.get(path)
            if contents is None:
                contents = self._contents[path] = Contents(file.read_real())
            contents.open_files += 1
            return contents

    def leave(self, path: str) -> None:
        """The last file of a path is closed: what it had not synced stays lost, as after a cut."""
        with self._lock:
            contents = self._contents[path]
            contents.open_files -= 1
            if contents.open_files == 0:
                del self._contents[path]


class PowerCutFile(apsw.VFSFile):
    """One connection's open file. Locks, shared memory and file control pass through to the real one."""

    def __init__(
        self, vfs: PowerCut, name: str | apsw.URIFilename | None, flags: list[int], torn: random.Random | None
    ) -> None:
        super().__init__(vfs.real_vfs, name, flags)
        self._vfs = vfs
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._torn = torn
        self._contents = vfs.enter(self._path, self)

    def read_real(self) -> bytearray:
        return bytearray(super().xRead(super().xFileSize(), 0))

    def xRead(self, amount: int, offset: int) -> bytes:
        with self._contents.lock:
            return bytes(self._contents.image[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        data = bytes(data)
        with self._contents.lock:
            image = self._contents.image
            if len(image) < offset:
                image.extend(bytes(offset - len(image)))
            image[offset : offset + len(data)] = data
            self._contents.unsynced.append((offset, data))
            if self._torn is not None:
                self._write_some_sectors(self._torn, data, offset)

    def _write_some_sectors(self, torn: random.Random, data: bytes, offset: int) -> None:
        start = 0
        while start < len(data):
            end = start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES
            if torn.random() < 0.5:
                super().xWrite(data[start:end], offset + start)
            start = end

    def xTruncate(self, newsize: int) -> None:
        with self._contents.lock:
            del self._contents.image[newsize:]
            self._contents.unsynced.append((newsize, None))

    def xFileSize(self) -> int:
        with self._contents.lock:
            return len(self._contents.image)

    def xSync(self, flags: int) -> None:
        """Everything written so far survives from here on. The real disk need not be waited for: only processes die."""
        with self._contents.lock:
            for offset, data in self._contents.unsynced:
                if data is None:
                    super().xTruncate(offset)
                else:
                    super().xWrite(data, offset)
            self._contents.unsynced.clear()

    def xClose(self) -> None:
        self._vfs.leave(self._path)
        super().xClose()
