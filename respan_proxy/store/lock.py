"""One writer per database: an advisory lock on a file beside it, which the operating system drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from respan_proxy.errors import ConfigError


class Lock:
    """Held from `acquire` to `release`. The lock file stays behind: removing it would let two holders lock two files of one name."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """`ConfigError` naming the holder when another process has it; `OSError` when the place cannot be written."""
        if self._file is not None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise ConfigError(
                [
                    f"{self._database}: another respan-proxy (process {holder}) writes to this database: "
                    f"stop it (kill {holder}), or give this one a file of its own with --database FILE"
                ]
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
