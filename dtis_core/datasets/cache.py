"""Arrays that take time to make, kept in files that may vanish or break without harm."""

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dtis_core.paths import cache_dir

Arrays = tuple[np.ndarray, ...]


def cached(key: str, build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept under `key`, or build and keep them.

    `key` must change whenever `build` would return something else. A file that is missing, cut
    short or fails its checksum is built again; where the folder cannot be written to, nothing is
    kept.
    """
    path = cache_dir() / f"{key}.npys"
    arrays = _read(path)
    if arrays is None:
        arrays = build()
        _write(path, arrays)
    return arrays


def _read(path: Path) -> Arrays | None:
    """Read a file of `_write`; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            checksums = np.load(file, allow_pickle=False)  # (number of arrays,)
            arrays = tuple(np.load(file, allow_pickle=False) for _ in checksums)
    except Exception:  # any: of a header that says anything
        return None
    return arrays if np.array_equal(checksums, _checksums(arrays)) else None


def _write(path: Path, arrays: Arrays) -> None:
    """Write the checksums and then the arrays, one after another in one file, in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError:
        return
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for array in (_checksums(arrays), *arrays):
                np.save(file, array, allow_pickle=False)
        temporary.replace(path)
    except OSError:
        pass  # the disk is full: go on without the cache
    finally:
        temporary.unlink(missing_ok=True)


def _checksums(arrays: Arrays) -> np.ndarray:
    return np.array([zlib.crc32(array) for array in arrays])
