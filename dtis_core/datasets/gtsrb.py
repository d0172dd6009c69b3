"""GTSRB-8: photographs of eight kinds of traffic signs, to cluster (Sec. 4.2)."""

import numpy as np

from dtis_core.datasets import Request, SceneDataset, part_with_images, register
from dtis_core.datasets.images import find_images, read_all, read_image

SIZE = (28, 28)
CLASSES = (3, 7, 9, 11, 17, 18, 25, 35)  # those with 1,000 to 1,500 training images
ADVICE = (
    "download GTSRB_Final_Training_Images.zip of the German Traffic Sign Recognition Benchmark and "
    "unpack it into the clone's data/ or the folder that DTIS_DATA names"
)


@register("gtsrb8")
def load(request: Request) -> SceneDataset:
    """Read the eight classes, whole frames resized as in the paper; categories 1..8 in their order.

    Splits: "all", which the paper trains and scores on; "train" and "validation". A photographed
    sign has 30 frames, its track, whose number begins their names; every fifth track is held out,
    whole.
    Raises DtisError where files are missing or damaged.
    """
    folder, size = request.root / "GTSRB" / "Final_Training" / "Images", request.size or SIZE
    files, categories = [], []
    for category, number in enumerate(CLASSES, start=1):
        where = folder / f"{number:05d}"
        found = find_images(where, ADVICE)
        tracks = sorted({file.name.partition("_")[0] for file in found})
        kept = {tracks[i] for i in part_with_images(len(tracks), request.split, "gtsrb8", where)}
        chosen = [file for file in found if file.name.partition("_")[0] in kept]
        files += chosen
        categories += [category] * len(chosen)
    images = read_all(files, lambda f: read_image(f, size), size)
    # Mixed, so that the first images of a split show all classes.
    order = np.random.default_rng(0).permutation(len(files))[: request.count]
    return SceneDataset("GTSRB-8 (real)", images[order], None, np.array(categories)[order, None])
