"""The runs that a notebook shows: recorded ones, or the same trained anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtis_core.config import Config, load_preset
from dtis_core.errors import NoLabels
from dtis_core.paths import RUNS
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scoring.results import existing
from dtis_core.scoring.score import score_each
from dtis_core.training.own_images import scaled
from dtis_core.training.session import train

Recipe = tuple[str, Sequence[str], int]
"""How a run is made: the preset, what `--set` changes of it, the seed."""


def runs_or_train(
    wanted: Mapping[str, Recipe],
    retrain: bool,
    device: str = "cpu",
    steps: int = 0,
    home: Path = RUNS,
) -> dict[str, RunFolder]:
    """Return runs by name: the recorded ones, or with `retrain` the same trained anew.

    Args:
        wanted: how each run is made, by the name of its folder.
        retrain: train in `home`, replacing what is there, and score where there are labels.
        device: trains.
        steps: of each training, all moments of its schedule in proportion; 0 for its own length.
        home: the folder that new runs go to.

    A recorded run that is not there is left out, and a line is printed that says how to make it.
    Raises DtisError for a preset, setting or data that cannot be had.
    """
    if retrain:
        return {name: _trained(home / name, *how, device, steps) for name, how in wanted.items()}
    found = {folder.path.name: folder for folder in existing(wanted)}
    for name, (preset, settings, seed) in wanted.items():
        if name not in found:
            words = [preset, *(f"--set '{text}'" for text in settings), f"--seed {seed}"]
            print(f"not run: dtis train {' '.join(words)} --out runs/{name}")
    return found


def _trained(
    path: Path, preset: str, settings: Sequence[str], seed: int, device: str, steps: int
) -> RunFolder:
    """Train and score one run."""
    config: Config = load_preset(preset).override(list(settings))
    if steps:
        config = scaled(config.override(["training.unit=step"]), steps)
    folder = train(config, path, seed, device, overwrite=True)
    try:
        score_each(path)  # the scores go into the run's manifest
    except NoLabels:
        print(f"{path.name}: not scored, for its data has no labels")
    return folder
