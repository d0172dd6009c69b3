"""Where things lie: the clone, and those folders of it that an environment variable can move.

And what a path is that a user gives.
"""

import os
from pathlib import Path

from dtis_core.errors import DtisError, shown

CLONE = Path(__file__).resolve().parents[1]
PACKAGE = CLONE / "dtis_core"
NOTEBOOKS = CLONE / "notebooks"
RUNS = CLONE / "runs"
SHIPPED = CLONE / "data" / "shipped"  # the recorded runs
SAMPLES = CLONE / "data" / "samples"  # images that anyone may pass on


def data_root() -> Path:
    """Return the folder of downloaded files: `$DTIS_DATA`, or the clone's `data`."""
    return Path(os.environ.get("DTIS_DATA") or CLONE / "data")


def cache_dir() -> Path:
    """Return the cache folder, `$DTIS_CACHE` or `data/cache`; it may be deleted at any time."""
    return Path(os.environ.get("DTIS_CACHE") or CLONE / "data" / "cache")


def figures_folder() -> Path:
    """Return the folder that figures go to: `$DTIS_FIGURES`, or the clone's `figures`."""
    return Path(os.environ.get("DTIS_FIGURES") or CLONE / "figures")


def user_path(given: str | Path, what: str) -> Path:
    """Return a path that a user gave, its `~` spelled out; there need not be anything there.

    Raises DtisError, which begins with `what` (such as an option's name), for an empty one and for
    one that the system cannot look up: too long, with a NUL, or in an unknown user's home.
    """
    if not str(given):
        raise DtisError(f"{what}: is empty; name a folder, or . for the one you are in")
    try:
        path = Path(given).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise DtisError(f"{what}: {shown(str(given))} is no usable path ({reason})") from error
    return path
