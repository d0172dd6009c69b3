"""Where things lie: the clone, and those folders of it that an environment variable can move."""

import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
PACKAGE = CLONE / "dtis_core"
NOTEBOOKS = CLONE / "notebooks"
RUNS = CLONE / "runs"
SHIPPED = CLONE / "data" / "shipped"  # the recorded runs


def data_root() -> Path:
    """Return the folder of downloaded files: `$DTIS_DATA`, or the clone's `data`."""
    return Path(os.environ.get("DTIS_DATA") or CLONE / "data")


def cache_dir() -> Path:
    """Return the cache folder, `$DTIS_CACHE` or `data/cache`; it may be deleted at any time."""
    return Path(os.environ.get("DTIS_CACHE") or CLONE / "data" / "cache")


def figures_folder() -> Path:
    """Return the folder that figures go to: `$DTIS_FIGURES`, or the clone's `figures`."""
    return Path(os.environ.get("DTIS_FIGURES") or CLONE / "figures")
