"""SVHN: digits of house numbers, cropped from street photographs, to cluster (Sec. 4.2)."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from tqdm import tqdm

from dtis_core.datasets import Request, SceneDataset, check_split, fingerprint, register
from dtis_core.datasets.cache import Arrays, cached
from dtis_core.datasets.images import Size, resize, stamps
from dtis_core.datasets.matrices import read_matrices
from dtis_core.errors import DtisError

SIZE = (28, 28)
SPLITS = {
    "all": ("train", "test", "extra"),
    "labelled": ("train", "test"),
    "train": ("train",),
    "test": ("test",),
    "extra": ("extra",),
}  # the files that a split reads
ADVICE = (
    "download it from http://ufldl.stanford.edu/housenumbers/ (format 2, cropped digits) into "
    "SVHN/ below the clone's data/ or the folder that DTIS_DATA names"
)


@register("svhn")
def load(request: Request) -> SceneDataset:
    """Read the cropped digits, resized (to 28x28 by default); category d + 1 is digit d.

    Splits: "all" files, which the paper trains on; "labelled", train and test, which it scores;
    "train", "test" and "extra". Without the file of extra digits "all" is "labelled", and the name
    says so. Raises DtisError where a file is missing or damaged.
    """
    split, name = request.split, "SVHN (real)"
    check_split(split, tuple(SPLITS), "svhn")
    folder = request.root / "SVHN"
    if split == "all" and not _file(folder, "extra").is_file():
        split, name = "labelled", "SVHN (real, without extra)"
    parts = [_read(_file(folder, part), request.size or SIZE) for part in SPLITS[split]]
    images, digits = (
        np.concatenate(arrays)[: request.count] for arrays in zip(*parts, strict=True)
    )
    return SceneDataset(name, images, None, digits[:, None] + 1)


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}_32x32.mat"


def _read(path: Path, size: Size) -> Arrays:
    """Return images (n, H, W, 3) and digits (n,) of a file, in the cache until it changes."""
    if not path.is_file():
        raise DtisError(f"{path}: there is no such file; {ADVICE}")

    def build() -> Arrays:
        pixels, digits = _matrices(path)
        images = np.empty((len(digits), *size, 3), np.uint8)
        for index in tqdm(range(len(digits)), desc=path.name, delay=3, unit="image"):
            images[index] = resize(pixels[..., index], size)
        return images, digits

    return cached(f"svhn-{fingerprint('svhn', stamps([path]), size)}", build)


def _matrices(
    path: Path,
) -> tuple[UInt8[np.ndarray, "32 32 3 n"], Integer[np.ndarray, " n"]]:
    """Return pixels and digits of a file, which writes the digit 0 as 10.

    torchvision's reader takes the published files alone, by their checksums; this one can be tried
    on small ones.
    """
    try:
        pixels, labels = read_matrices(path, "X", "y")
        labels = labels.astype(int).ravel()
        if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)):
            raise ValueError(f"X is {pixels.dtype} {pixels.shape} with {len(labels)} labels")
        if not np.isin(labels, range(1, 11)).all():
            raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    except (TypeError, ValueError) as error:
        raise DtisError(
            f"{path}: is not SVHN's matrices of 32x32 digits, or is damaged ({error}); {ADVICE}"
        ) from None
    return pixels, labels % 10
