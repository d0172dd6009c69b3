"""Digits: scikit-learn's 1,797 handwritten digits, real images to cluster without a download."""

import numpy as np

from dtis_core.datasets import Request, SceneDataset, part, register
from dtis_core.datasets.images import resize

SIZE = (28, 28)
BRIGHTEST = 16  # in scikit-learn's 8x8 images, which start from 0


@register("digits", files=False)
def load(request: Request) -> SceneDataset:
    """Return the digits, light strokes on black, enlarged (to 28x28 by default).

    Category d + 1 is digit d. Splits: "all"; "validation", every fifth image; "train", the others.
    """
    from sklearn.datasets import load_digits  # here, since its import takes a second

    found = load_digits()
    chosen = part(len(found.target), request.split, "digits")[: request.count]
    pixels = np.rint(found.images[chosen] * (255 / BRIGHTEST)).astype(np.uint8)  # (n, 8, 8)
    grey = np.stack([resize(image, request.size or SIZE) for image in pixels])  # (n, H, W)
    images = np.repeat(grey[..., None], 3, axis=-1)  # (n, H, W, 3)
    return SceneDataset("digits (real)", images, None, found.target[chosen, None] + 1)
