"""A run scored on a split of data whose truth is known, and the scores kept in its manifest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dtis_core import datasets
from dtis_core.config import DataConfig
from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED, user_path
from dtis_core.runs.run_folder import commit
from dtis_core.scenes.run import load
from dtis_core.scoring.evaluation import evaluate


def score(
    name: str | Path,
    split: str | None = None,
    data_name: str | None = None,
    path: str | None = None,
    settings: Sequence[str] = (),
) -> dict:
    """Score a run on a split (None: its own) and record it in the manifest of a run folder.

    `data_name` and `path` name another data set than the run's; `settings`, such as
    `search.views=1`, change how scenes are sought, and are recorded, too. Raises DtisError for a
    run or data that cannot be had, and NoLabels for data without truth.
    """
    if path is not None and not data_name:
        raise DtisError(f"--path {path}: of which data? Name it with --data, such as --data folder")
    run = load(name).seeking(settings)
    config, manifest = run.config, run.manifest  # which a training may change meanwhile
    if data_name:
        path = path if path is None else str(user_path(path, "--path"))
        config = replace(config, data=DataConfig(data_name, path))
    split = split or config.data.score_split
    data = datasets.load_for(config, split, config.data.held_out)
    scores = {"run": run.folder.path.name, "preset": run.config.preset, "split": split}
    scores |= evaluate(run, data)
    scores |= {k: manifest.get(k) for k in ("seed", "step", "commit", "device", "wall_seconds")}
    scores["scored_by_commit"] = commit()
    if settings:
        scores["settings"] = list(settings)
    if run.folder.path.resolve().parent != SHIPPED.resolve():
        run.folder.note_scores(f"{config.data.name}/{split}", scores)
    return scores
