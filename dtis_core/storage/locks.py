"""One writer at a time: a lock that the system releases when its holder ends or is killed."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from dtis_core.errors import DtisError, InUse

PAUSE = 0.02  # seconds between two tries

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    BEYOND = 1 << 30  # a locked byte cannot be read there: one after the holder's name

    def _lock(file: FileIO) -> None:
        file.seek(BEYOND)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

    TAKEN: tuple[type[OSError], ...] = (PermissionError,)
else:

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    TAKEN = (BlockingIOError,)


@contextmanager
def locked(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`, which is made if need be and removed at the end.

    Waits for another holder `patience` seconds at most.

    A file that a killed process left behind does not block. Where the file system knows no locks,
    there is none.

    Raises InUse, which begins with `what` (the folder, say, that is locked), where another process
    or thread holds it, and DtisError where the file cannot be made.
    """
    with _held(path, what, time.monotonic() + patience) as file:
        with suppress(OSError):  # no room for the holder's name: the lock holds all the same
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                path.unlink()


def _held(path: Path, what: str, deadline: float) -> FileIO:
    """Return the open lock file, once it is locked and the one that others would find."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No link is followed: what it leads to must not be overwritten.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            file = FileIO(os.open(path, flags, 0o644), "r+")
        except OSError as error:
            raise DtisError(
                f"{path}: cannot be opened as a lock file ({error.strerror}); "
                "check your permission to write there, or remove it"
            ) from error
        try:
            _lock(file)
        except TAKEN:
            with file:
                file.seek(0)
                holder = file.read(200).decode(errors="replace").strip()
            if time.monotonic() < deadline:
                time.sleep(PAUSE)
                continue
            raise InUse(
                f"{what}: in use by {ascii(holder)[1:-1] or 'another process'}; "
                "wait until it ends, or end it, and run this again"
            ) from None
        except OSError:
            return file  # a network's file system without locks: better to work than to refuse
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()  # its holder removed it just now
