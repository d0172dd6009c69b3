"""Scores of a trained model on a data set with true masks and categories (Sec. 4.1, App. A)."""

import numpy as np
import torch

from dtis_core.datasets import SceneDataset
from dtis_core.errors import DtisError
from dtis_core.metrics import (
    mean_ari,
    mean_ari_foreground,
    reassign_background,
    semantic_scores,
)
from dtis_core.scene import Run


def evaluate(run: Run, data: SceneDataset, steps: int | None = None) -> dict:
    """Return the scores of `run` on `data`: fractions in [0, 1], and the reconstruction error.

    ARI on all pixels; ARI-FG on true foreground, predicted background there given to the layer
    closest in colour; mACC and mIoU after matching sprites to categories. Raises DtisError for data
    without masks.
    """
    if data.masks is None or data.categories is None:
        raise DtisError(f"{data.name}: has no true masks, so there is nothing to score against")
    scene = run.decompose(data.images, steps)
    instances = scene.instance_map.cpu().numpy()
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    error = (images - scene.reconstruction.cpu()).square().mean()
    covered = reassign_background(
        instances,
        images.numpy(),
        scene.layers.cpu().numpy(),
        (scene.sprite_index > 0).cpu().numpy(),
    )
    classes = int(data.categories.max())
    semantic = semantic_scores(
        data.semantic_masks(),
        scene.semantic_map.cpu().numpy(),
        classes,
        run.config.model.sprites,
    )
    return {
        "data": data.name,
        "images": len(data),
        "ARI": mean_ari(data.masks, instances),
        "ARI-FG": mean_ari_foreground(data.masks, covered),
        "mACC": semantic["mACC"],
        "mIoU": semantic["mIoU"],
        "reconstruction_error": float(error),
        "sprites_used": int(len(np.unique(scene.sprite_index.cpu().numpy()))),
    }
