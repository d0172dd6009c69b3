"""Scores of a trained model on data whose truth is known (Sec. 4 and App. A)."""

import time

import numpy as np
import torch

from dtis_core.datasets import SceneDataset
from dtis_core.errors import NoLabels
from dtis_core.model.composition import squared_errors
from dtis_core.pictures import to_tensor
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.scoring import metrics, papers_rule

SCORES = ("ARI", "ARI-FG", "mACC", "mIoU", "accuracy", "NMI", "IoU", "found")
CHUNK = 512  # images decomposed at once, to bound memory


def evaluate(
    run: Run, data: SceneDataset, steps: int | None = None, inference: str = "best"
) -> dict:
    """Return the scores of `run` on `data`: fractions in [0, 1], and the reconstruction error.

    Which scores depends on what is known: `clustering_scores` for images with a class each,
    `segmentation_scores` for masks of one object, `scene_scores` for more. `steps` is T of
    Algorithm 1, and `inference` how scenes are sought, as for `Run.decompose`, whose wall time is
    `ms_per_image`. Where the paper's rule gives another score than ours, it is there as well: see
    `papers_rule`. Raises NoLabels where too little is known.
    """
    if data.categories is None:
        raise NoLabels(f"{data.name}: has no true labels, so there is nothing to score against")
    if data.masks is None and data.categories.shape[1] > 1:
        raise NoLabels(f"{data.name}: has several objects in an image, and no masks of them")
    if data.masks is None:
        scored = clustering_scores
    else:
        scored = segmentation_scores if data.categories.shape[1] == 1 else scene_scores
    parts, squared, used, seconds = [], 0.0, set(), 0.0
    for start in range(0, len(data), CHUNK):
        part = data.subset(slice(start, start + CHUNK))
        begun = time.perf_counter()
        scene = run.decompose(part.images, steps, inference=inference)
        seconds += time.perf_counter() - begun
        images = to_tensor(part.images)  # (B, C, H, W)
        error = squared_errors(images, scene.reconstruction.cpu())
        squared += float(error.double().sum())
        used |= set(scene.sprite_index.unique().tolist())
        parts.append(predicted_labels(scene, images, scored))
    predicted = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    return {
        "data": data.name,
        "images": len(data),
        "inference": inference,
        **scored(data, predicted, run.config.model.sprites),
        "reconstruction_error": squared / len(data),
        "sprites_used": len(used - {0}),
        "ms_per_image": 1000 * seconds / len(data),
    }


def predicted_labels(scene: Scene, images: torch.Tensor, scored) -> dict[str, np.ndarray]:
    """Return of a decomposed batch what `scored` compares: clusters (B,), or maps (B, H, W)."""
    if scored is clustering_scores:
        return {"clusters": scene.sprite_index[:, 0].cpu().numpy()}
    instances = scene.instance_map.cpu().numpy()
    if scored is segmentation_scores:
        return {"instances": instances}
    present = (scene.sprite_index > 0).cpu().numpy()  # (B, L)
    parts = (instances, images.numpy(), scene.layers.cpu().numpy())
    return {
        "instances": instances,
        "covered": metrics.reassign_background(*parts, present),
        "covered_by_any": metrics.reassign_background(*parts, np.ones_like(present)),
        "semantic": scene.semantic_map.cpu().numpy(),
    }


def clustering_scores(data: SceneDataset, predicted: dict, sprites: int) -> dict[str, float]:
    """Return accuracy under the best naming, and NMI, of the sprites chosen for images (Table 3).

    An image's cluster is the sprite in its first layer.
    """
    true, clusters = data.categories[:, 0], predicted["clusters"]
    ours = {
        "accuracy": metrics.clustering_accuracy(true, clusters),
        "NMI": metrics.nmi(true, clusters),
    }
    papers = {"accuracy": papers_rule.clustering_accuracy(true, clusters, sprites)}
    return ours | papers_rule.where_they_part(ours, papers)


def segmentation_scores(data: SceneDataset, predicted: dict, sprites: int) -> dict[str, float]:
    """Return pixel accuracy (Table 4) and IoU of the foreground, and what no foreground scores."""
    instances = predicted["instances"]
    ours = {
        "accuracy": metrics.segmentation_accuracy(data.masks, instances),
        "IoU": metrics.foreground_iou(data.masks, instances),
        "accuracy_of_all_background": float((data.masks == 0).mean()),
    }
    papers = {"accuracy": papers_rule.segmentation_accuracy(data.masks, instances)}
    return ours | papers_rule.where_they_part(ours, papers)


def scene_scores(data: SceneDataset, predicted: dict, sprites: int) -> dict[str, float]:
    """Return ARI on all pixels, ARI-FG, and mACC and mIoU (Tables 1 and 5).

    ARI-FG is on true foreground, predicted background there given to the layer closest in colour;
    mACC and mIoU are after matching sprites to categories.
    """
    classes = int(data.categories.max())
    maps = (data.semantic_masks(), predicted["semantic"], classes, sprites)
    semantic = metrics.semantic_scores(*maps)
    ours = {
        "ARI": metrics.mean_ari(data.masks, predicted["instances"]),
        "ARI-FG": metrics.mean_ari_foreground(data.masks, predicted["covered"]),
        "mACC": semantic["mACC"],
        "mIoU": semantic["mIoU"],
    }
    covered = predicted["covered_by_any"]
    papers = {"ARI-FG": papers_rule.mean_ari_foreground(data.masks, covered)}
    papers |= papers_rule.semantic_scores(*maps)
    return ours | papers_rule.where_they_part(ours, papers)
