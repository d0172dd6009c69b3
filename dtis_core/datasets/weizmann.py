"""Weizmann Horse: 327 photographs of horses from the side, with masks (Sec. 4.2)."""

import numpy as np

from dtis_core.datasets import Request, SceneDataset, part_with_images, register
from dtis_core.datasets.images import find_images, read_all, read_image, read_mask
from dtis_core.errors import DtisError

SIZE = (128, 128)
ADVICE = (
    "download the Weizmann Horse database and put its photographs in weizmann_horse_db/horse and "
    "its masks in weizmann_horse_db/mask, below the clone's data/ or the folder that DTIS_DATA "
    "names"
)


@register("weizmann")
def load(request: Request) -> SceneDataset:
    """Read the photographs and masks, squeezed into squares as in the paper.

    Splits: "all", which the paper trains and scores on, and "train" and "validation" (every fifth).
    Raises DtisError where files are missing or damaged.
    """
    folder, size = request.root / "weizmann_horse_db", request.size or SIZE
    photographs = find_images(folder / "horse", ADVICE)
    masks = {file.stem: file for file in find_images(folder / "mask", ADVICE)}
    for photograph in photographs:
        if photograph.stem not in masks:
            raise DtisError(f"{photograph}: has no mask of its name in {folder / 'mask'}; {ADVICE}")
    chosen = part_with_images(len(photographs), request.split, "weizmann", folder / "horse")
    photographs = [photographs[i] for i in chosen[: request.count]]
    images = read_all(photographs, lambda f: read_image(f, size), size)
    masks = [masks[file.stem] for file in photographs]
    masks = (read_all(masks, lambda f: read_mask(f, size), size) > 0).astype(np.uint8)
    return SceneDataset("Weizmann Horse (real)", images, masks, np.ones((len(images), 1), int))
