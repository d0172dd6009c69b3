"""Scores by the rule that the paper's numbers were counted with, where it is laxer than ours.

| score | ours | the paper's rule |
|---|---|---|
| accuracy (of clusters) | sprites have a class each | more sprites than classes: by majority |
| mACC, mIoU | so, over classes that occur | so, over all up to the last that occurs |
| accuracy (of masks) | foreground is foreground | the two may swap, in all images at once |
| ARI-FG | reassigned pixels go to a layer in use | to any layer; images without objects score 1 |

The text has the best naming one to one (Sec. 4.2, supplement A) and "the closest object layers"
(Sec. 4.1); ours follows it. Label maps are as in `metrics`.
"""

import numpy as np
from jaxtyping import Integer
from scipy.optimize import linear_sum_assignment

from dtis_core.scoring import metrics
from dtis_core.scoring.metrics import Labels

SUFFIX = " (paper's rule)"  # of a score's name


def named(counts: Integer[np.ndarray, "classes sprites"]) -> Integer[np.ndarray, "classes classes"]:
    """Return how often each true class (row) was called each class (column).

    One to one, so that most are right; but more sprites than classes are named by majority.
    """
    classes, sprites = counts.shape
    if sprites > classes:
        names = counts.argmax(axis=0)  # (sprites,)
        called = np.zeros((classes, classes), counts.dtype)
        np.add.at(called.T, names, counts.T)
        return called
    rows, columns = linear_sum_assignment(counts, maximize=True)
    called = np.zeros((classes, classes), counts.dtype)
    called[:, rows] = counts[:, columns]
    return called


def semantic_scores(
    true: Labels, predicted: Labels, n_classes: int, n_sprites: int
) -> dict[str, float]:
    """Return mACC and mIoU over background and `n_classes`, absent ones being 0."""
    called = named(metrics.confusion_matrix(true, predicted, 1 + n_classes, 1 + n_sprites))
    hits, occurrences, claimed = called.diagonal(), called.sum(axis=1), called.sum(axis=0)
    accuracy = hits / np.maximum(1, occurrences)
    iou = hits / np.maximum(1, occurrences + claimed - hits)
    return {"mACC": float(accuracy.mean()), "mIoU": float(iou.mean())}


def clustering_accuracy(true: Labels, predicted: Labels, n_sprites: int) -> float:
    """Return the share of things in a cluster named by their class.

    `true` are any integers, `predicted` sprites in 0..n_sprites.
    """
    classes, true = np.unique(true, return_inverse=True)
    counts = metrics.confusion_matrix(true, predicted, len(classes), 1 + n_sprites)
    used = counts[:, 1:] if not counts[:, 0].any() else counts  # 0, the empty sprite, may be none
    return float(named(used).diagonal().sum() / true.size)


def segmentation_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of pixels rightly called foreground or background, whichever is which."""
    accuracy = metrics.segmentation_accuracy(true, predicted)
    return max(accuracy, 1 - accuracy)


def mean_ari_foreground(true: Labels, predicted: Labels) -> float:
    """Return ARI-FG, where images without an object score 1.

    Pass `predicted` through `reassign_background` with all layers present.
    """
    share = float((true > 0).any(axis=(1, 2)).mean())
    return 1 - share + (share * metrics.mean_ari_foreground(true, predicted) if share else 0.0)


def where_they_part(ours: dict[str, float], papers: dict[str, float]) -> dict[str, float]:
    """Return the paper's scores that are not ours, under names of their own."""
    return {
        name + SUFFIX: value
        for name, value in papers.items()
        if not np.isclose(value, ours[name], rtol=0, atol=1e-12)
    }
