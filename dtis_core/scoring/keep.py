"""What a run finds in its images, kept in its folder, so that it can be shown without them."""

from pathlib import Path

import numpy as np
import torch

from dtis_core.datasets import SceneDataset
from dtis_core.datasets.atari import play, title_of
from dtis_core.errors import DtisError
from dtis_core.scenes.found import found_file, save_found
from dtis_core.scenes.run import load
from dtis_core.scoring import metrics
from dtis_core.scoring.evaluation import CHUNK
from dtis_core.scoring.score import data_of


def keep(
    name: str | Path,
    split: str | None = None,
    data_name: str | None = None,
    path: str | None = None,
    count: int = 64,
) -> Path:
    """Keep the scenes found in the first `count` images of a split, and facts of all its images.

    `split`, `data_name` and `path` are as for `score`; the scenes are those of the inference
    `best`. The facts, where truth is known: of images with a class each, `confusion`, the number of
    images of each class (row) in which each sprite (column) was chosen; of images with masks, each
    one's `ARI`, or for masks of one object its `accuracy` and what all `background` would score.
    Returns the file. Raises DtisError for a run or data that cannot be had.
    """
    if count < 1:
        raise DtisError(f"--count: must be at least 1, found {count}")
    run = load(name)
    config, split, data = data_of(run, split, data_name, path)
    kept = run.decompose(data.images[:count])
    file = found_file(run, config.data.name, split)
    if title := title_of(config.data.name):
        played = play(title, split, len(data))
        known = {"places": played.places, "shown": played.shown.astype(np.uint8)}
    else:
        parts = [(kept.sprite_index[:, 0], kept.instance_map)]
        for start in range(count, len(data), CHUNK):
            scene = run.decompose(data.images[start : start + CHUNK])
            parts.append((scene.sprite_index[:, 0], scene.instance_map))
        found = [torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True)]
        known = facts(data, *found, run.config.model.sprites)
    save_found(file, kept, known)
    return file


def facts(
    data: SceneDataset, chosen: np.ndarray, instances: np.ndarray, sprites: int
) -> dict[str, np.ndarray]:
    """Return what is known of each image, see `keep`.

    `chosen` (N,) are the first layers' sprites, `instances` (N, H, W) the layers seen.
    """
    if data.categories is None:
        return {}
    if data.masks is None:
        if data.categories.shape[1] > 1:
            return {}
        true = data.categories[:, 0]
        counts = metrics.confusion_matrix(true - 1, chosen, int(true.max()), sprites + 1)
        return {"confusion": counts[:, 1:]}  # without the empty sprite
    if data.categories.shape[1] == 1:
        accuracy = ((instances > 0) == (data.masks > 0)).mean(axis=(1, 2))
        return {"accuracy": accuracy, "background": (data.masks == 0).mean(axis=(1, 2))}
    pairs = zip(data.masks, instances, strict=True)
    return {"ARI": np.array([metrics.adjusted_rand_index(t, p) for t, p in pairs])}
