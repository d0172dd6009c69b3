"""What a notebook shows: recorded runs, or new ones; scenes of images, or what was kept of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from dtis_core import datasets
from dtis_core.config import Config, load_preset
from dtis_core.datasets import SceneDataset
from dtis_core.errors import DtisError, NoLabels
from dtis_core.paths import RUNS
from dtis_core.pictures import to_pictures
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.found import load_found
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.scoring.results import existing
from dtis_core.scoring.score import data_of, score_each
from dtis_core.threads import chosen_threads
from dtis_core.training.own_images import scaled
from dtis_core.training.session import train
from dtis_core.workbook.notebook import WITHOUT_DATA

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
    with chosen_threads():
        folder = train(config, path, seed, device, overwrite=True)
    try:
        score_each(path)  # the scores go into the run's manifest
    except NoLabels:
        print(f"{path.name}: not scored, for its data has no labels")
    return folder


def say_what_is_missing(
    data: str,
    split: str,
    what: str,
    instead: str = "what the model found in them, drawn from kept parameters",
) -> None:
    """Print of a data set that is not at hand what is missing, and what is shown in its place."""
    try:
        datasets.load(data, split, 1)
    except DtisError:
        print(f"not here: {what}; data/README.md says where they go.")
        print(f"Shown in their place: {instead}.")


def scenes_of(
    run: Run, numbers: Sequence[int], data: str | None = None, split: str | None = None
) -> tuple[Scene, SceneDataset | None]:
    """Return the scenes of some images of a split, by their numbers, and these images.

    Decomposed, where the images are at hand; else drawn as `dtis keep` kept them, and None for the
    images. `data` and `split` are the run's own by default. Raises DtisError where there is
    neither.
    """
    found = _images_or_found(run, numbers, data, split)
    if isinstance(found, Scene):
        return found, None
    return run.decompose(found.images), found


def samples_of(
    run: Run, numbers: Sequence[int]
) -> tuple[Float[np.ndarray, "n H W 3"], Integer[np.ndarray, "n H W"] | None]:
    """Return some images of a run's own split, by number, and which object each pixel shows.

    As they are and as labelled, None without labels, where the images are at hand; else what the
    run found in them, as `scenes_of`.
    """
    found = _images_or_found(run, numbers)
    if isinstance(found, Scene):
        return to_pictures(found.reconstruction.cpu()), found.instance_map.cpu().numpy()
    return to_pictures(found.images), found.masks


def _images_or_found(
    run: Run, numbers: Sequence[int], data: str | None = None, split: str | None = None
) -> SceneDataset | Scene:
    """Return images of a split or, with a line that says so, the scenes that were kept of them."""
    try:
        return data_of(run, split, data)[2].subset(list(numbers))
    except DtisError:
        own = run.config.data
        scene = load_found(run, data or own.name, split or own.score_split, numbers)
        print(f"{WITHOUT_DATA}{len(numbers)} images drawn from what was kept of them")
        return scene
