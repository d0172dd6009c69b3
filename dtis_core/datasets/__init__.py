"""Scene datasets in one shape, found by name: `load("tetrominoes")`.

A dataset is one module of this package that registers a loader; every module here is imported, so
adding a dataset touches one file. The other modules read or cache what the loaders need.
"""

import hashlib
import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from dtis_core.errors import DtisError, suggest

CLONE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SceneDataset:
    """Images held in memory, with the true scene where it is known.

    Attributes:
        name: name and origin, for instance "tetrominoes (generated)"; shown beside every number.
        images: RGB images in 0..255.
        masks: the object each pixel shows: 0 is background, m is the m-th object; None if unknown.
        categories: category 1..classes of the m-th object in column m - 1, 0 where there is none;
            None if unknown.
        fingerprint: 16 hexadecimal digits of the name and contents, computed unless given.
    """

    name: str
    images: UInt8[np.ndarray, "N H W 3"]
    masks: UInt8[np.ndarray, "N H W"] | None
    categories: Integer[np.ndarray, "N M"] | None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Compute the fingerprint."""
        if not self.fingerprint:
            digits = fingerprint(self.name, self.images, self.masks, self.categories)
            object.__setattr__(self, "fingerprint", digits)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def semantic_masks(self) -> Integer[np.ndarray, "N H W"]:
        """Return the category each pixel shows, 0 for background.

        Raises:
            DtisError: the dataset has no masks or no categories.
        """
        if self.masks is None or self.categories is None:
            raise DtisError(f"{self.name} has no masks with categories; semantic scores need both")
        lookup = np.pad(self.categories, ((0, 0), (1, 0)))  # (N, 1 + M), background first
        return lookup[np.arange(len(self))[:, None, None], self.masks]  # (N, H, W)

    def take(self, n: int) -> "SceneDataset":
        """Return the first `n` images, or all of them if there are fewer."""
        return self.subset(slice(n))

    def subset(self, indices: Integer[np.ndarray, " S"] | list[int] | slice) -> "SceneDataset":
        """Return the images at `indices`, in that order; a slice shares memory with this one."""
        parts = (self.images, self.masks, self.categories)
        return SceneDataset(self.name, *(None if part is None else part[indices] for part in parts))


Loader = Callable[[str, int | None, int, Path], SceneDataset]
DATASETS: dict[str, Loader] = {}


def register(name: str) -> Callable[[Loader], Loader]:
    """Register a loader `(split, count, seed, root) -> SceneDataset` under `name`."""

    def add(loader: Loader) -> Loader:
        DATASETS[name] = loader
        return loader

    return add


def load(
    name: str,
    split: str = "train",
    count: int | None = None,
    seed: int = 0,
    root: str | Path | None = None,
) -> SceneDataset:
    """Load a dataset by its registered name.

    Args:
        name: a key of `DATASETS`.
        split: "train", "test" or another split the dataset has.
        count: at most this many images, the first of the split; None for the dataset's default.
        seed: selects the random stream of a generated dataset; files ignore it.
        root: the folder that holds downloaded files; `data_root()` if None.

    Raises:
        DtisError: unknown name or split, a count below 1, a negative seed, or a missing or
            damaged file.
    """
    if name not in DATASETS:
        raise DtisError(f"unknown dataset '{name}'{suggest(name, DATASETS)}")
    if count is not None and count < 1:
        raise DtisError(f"count is {count}; ask for at least 1 image of '{name}'")
    if seed < 0:
        raise DtisError(f"seed is {seed}; give 0 or more")
    return DATASETS[name](split, count, seed, data_root() if root is None else Path(root))


def check_split(split: str, known: tuple[str, ...], name: str) -> None:
    """Raise a DtisError unless dataset `name` has this split."""
    if split not in known:
        raise DtisError(f"'{name}' has no split '{split}'{suggest(split, known)}")


def data_root() -> Path:
    """Return the folder of downloaded files: `$DTIS_DATA`, or the clone's `data`."""
    return Path(os.environ.get("DTIS_DATA") or CLONE / "data")


def cache_dir() -> Path:
    """Return the cache folder, `$DTIS_CACHE` or `data/cache`; it may be deleted at any time."""
    return Path(os.environ.get("DTIS_CACHE") or CLONE / "data" / "cache")


def fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that depend on every part: contents of arrays, else repr."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()[:16]


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
