"""A sweep's `results.csv`, read again: how a measure depends on a setting, over all seeds."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from dtis_core.errors import DtisError
from dtis_core.paths import RUNS, SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.storage.files import read_text
from dtis_core.sweeps.grid import grid, seeds_of
from dtis_core.sweeps.sweep import RESULTS, sweep

NEEDED = {"run", "settings", "seed", "status"}
TEXTS = {"run", "preset", "settings", "status", "device", "commit", "error"}  # 1e5 is a commit


def recorded_or_swept(
    name: str,
    presets: Sequence[str],
    seeds: str,
    assignments: Sequence[str],
    retrain: bool,
    jobs: int | None = None,
    home: Path = RUNS,
) -> list[dict]:
    """Return the rows of a sweep: of the shipped one so named, or with `retrain` of a new one.

    Each has its run's `folder` as well; of a shipped sweep not all are there. `presets`, `seeds`,
    `assignments` and `jobs` are as for `dtis sweep`; runs of a new sweep that are in `home` already
    go on. Raises DtisError as `grid`, `sweep` and `read_results` do.
    """
    folder = (home if retrain else SHIPPED) / name
    if retrain:
        sweep(grid(presets, seeds_of(seeds), assignments), folder, jobs)
    rows = read_results(folder / RESULTS)
    return [row | {"folder": RunFolder(folder / row["run"])} for row in rows]


def read_results(path: Path | str) -> list[dict]:
    """Return the rows of a `results.csv`: text, but for what is a number.

    Raises DtisError for a file that cannot be read and one that no sweep wrote.
    """
    try:
        rows = list(csv.DictReader(read_text(Path(path)).splitlines()))
    except (OSError, ValueError) as error:
        raise DtisError(f"{path}: cannot be read as a table of runs ({error})") from error
    if not rows or not rows[0].keys() >= NEEDED:
        raise DtisError(f"{path}: is no table of runs; dtis sweep writes one, results.csv")
    return [
        {name: text if name in TEXTS else _value(text) for name, text in row.items() if name}
        for row in rows
    ]


def _value(text: str | None) -> str | float:
    try:
        return float(text or "")
    except ValueError:
        return text or ""


def by_setting(rows: Sequence[dict], setting: str, measure: str) -> dict[float, list[float]]:
    """Return a measure of the finished runs, one value for each seed, by a setting's number.

    Raises DtisError where a finished run lacks the setting or the measure.
    """
    found: dict[float, list[float]] = {}
    for row in rows:
        if row["status"] != "finished":
            continue
        assigned = re.findall(rf"(?:^| ){re.escape(setting)}=(\S+)", str(row["settings"]))
        number, value = _value("".join(assigned[-1:])), row.get(measure)  # the last one holds
        for name, what in ((setting, number), (measure, value)):
            if not isinstance(what, float):
                raise DtisError(f"{row['run']}: has no number for {name}, but {what!r:.80}")
        number = int(number) if number.is_integer() else number
        found.setdefault(number, []).append(value)
    return dict(sorted(found.items()))
