"""A run scored on a split of data whose truth is known, and the scores kept in its manifest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dtis_core import datasets
from dtis_core.config import Config, DataConfig
from dtis_core.datasets import SceneDataset
from dtis_core.datasets.atari import title_of
from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED, user_path
from dtis_core.runs.run_folder import commit
from dtis_core.scenes.run import Run, load
from dtis_core.scoring.evaluation import evaluate
from dtis_core.scoring.readings import is_readable, readings
from dtis_core.scoring.results import score_key
from dtis_core.scoring.tracking import evaluate_game
from dtis_core.search.inference import INFERENCES

READ = 64  # images of which scenes are composed to tell how well one look reads them


def score(
    name: str | Path,
    split: str | None = None,
    data_name: str | None = None,
    path: str | None = None,
    settings: Sequence[str] = (),
    inference: str = "best",
) -> dict:
    """Score a run on a split (None: its own) and record it in the manifest of a run folder.

    `data_name` and `path` name another data set than the run's; `inference` is `best` or
    `one-look`, as for `Run.decompose`, and that one's scores have its `readings`, too. `settings`,
    such as `search.views=1`, change how scenes are sought, and are recorded. Raises DtisError for a
    run or data that cannot be had and an unknown inference, and NoLabels for data without truth.
    """
    run = load(name).seeking(settings)
    run.inferring(inference)  # checks the name before data are read
    manifest = run.manifest  # which a training may change meanwhile
    config, split, data = data_of(run, split, data_name, path)
    scores = {"run": run.folder.path.name, "preset": run.config.preset, "split": split}
    if title := title_of(config.data.name):
        scores |= evaluate_game(run, title, split, len(data), inference)
    else:
        scores |= evaluate(run, data, inference=inference)
    if inference == "one-look" and is_readable(run.model):
        scores["readings"] = readings(run, data.images[:READ])
    scores |= {k: manifest.get(k) for k in ("seed", "step", "commit", "device", "wall_seconds")}
    scores["scored_by_commit"] = commit()
    if settings:
        scores["settings"] = list(settings)
    if run.folder.path.resolve().parent != SHIPPED.resolve():
        data = config.data
        name = data.name if data.path == run.config.data.path else f"{data.name}:{data.path}"
        run.folder.note_scores(score_key(name, split, inference, settings), scores)
    return scores


def data_of(
    run: Run, split: str | None = None, data_name: str | None = None, path: str | None = None
) -> tuple[Config, str, SceneDataset]:
    """Return a split of a run's data, or of other data, after the configuration and the split.

    Arguments and errors are as for `score`.
    """
    config = run.config
    if path is not None and not data_name:
        raise DtisError(f"--path {path}: of which data? Name it with --data, such as --data folder")
    if data_name:
        path = path if path is None else str(user_path(path, "--path"))
        config = replace(config, data=DataConfig(data_name, path))
    split = split or config.data.score_split
    return config, split, datasets.load_for(config, split, config.data.held_out)


def score_each(name: str | Path) -> list[dict]:
    """Score and record a run on its own split by each of `INFERENCES`; see `score`."""
    return [score(name, inference=inference) for inference in INFERENCES]
