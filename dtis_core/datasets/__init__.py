"""Scene datasets in one shape, found by name: `load("tetrominoes")`.

A dataset is one module of this package that registers a loader; every module here is imported, so
adding a dataset touches one file. The other modules read or cache what the loaders need.
May import: config, errors, storage, paths, pictures.
"""

import hashlib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from dtis_core.config import Config
from dtis_core.errors import DtisError, shown, suggest
from dtis_core.paths import data_root, user_path
from dtis_core.storage.files import system_errors_explained

MOST_IMAGES = 10_000_000
LARGEST_SIDE = 4096  # pixels
SCENE_COUNTS = {"train": 60_000, "validation": 320, "final": 320}
"""Splits of generated scenes, independent random streams in this order, and their usual lengths:
what is learned from; what settings may be chosen by; what is scored once, when they are settled."""


@dataclass(frozen=True)
class SceneDataset:
    """Images held in memory, with the true scene where it is known.

    Attributes:
        name: name and origin, for instance "tetrominoes (generated)"; shown beside every number.
        images: RGB images in 0..255.
        masks: the object each pixel shows: 0 is background, m is the m-th object; None if unknown.
        categories: category 1..classes of the m-th object in column m - 1, 0 where there is none;
            one column, the image's class, for data to cluster; None if unknown.
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
        arrays = (self.images, self.masks, self.categories)
        return SceneDataset(self.name, *(None if a is None else a[indices] for a in arrays))


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    Attributes:
        split: "train", "validation", "final" or another split the dataset has.
        count: at most this many images, the first of the split; None for the dataset's default.
        seed: selects the random stream of a generated dataset; files ignore it.
        root: the folder that holds downloaded files.
        size: height and width wanted of images that come in any size; None for the dataset's
            default. Datasets of one size ignore it.
    """

    split: str
    count: int | None
    seed: int
    root: Path
    size: tuple[int, int] | None


Loader = Callable[[Request], SceneDataset]
DATASETS: dict[str, Loader] = {}
WITHOUT_FILES: set[str] = set()  # the data sets that take no folder


def register(name: str, files: bool = True) -> Callable[[Loader], Loader]:
    """Register a loader, which answers a `Request`, under `name`.

    `files` says whether it reads any of the request's `root`.
    """

    def add(loader: Loader) -> Loader:
        DATASETS[name] = loader
        if not files:
            WITHOUT_FILES.add(name)
        return loader

    return add


def load(
    name: str,
    split: str = "train",
    count: int | None = None,
    seed: int = 0,
    root: str | Path | None = None,
    size: tuple[int, int] | None = None,
) -> SceneDataset:
    """Load a dataset by its registered name; see `Request` for the arguments.

    `root` None means `data_root()`.

    Raises:
        DtisError: unknown name or split, a count, size or seed out of range, a root for data that
            are not read from files, a missing, damaged or unreadable file, or more data than fit in
            memory.
    """
    if name not in DATASETS:
        raise DtisError(f"unknown dataset '{name:.80}'{suggest(name, DATASETS)}")
    if count is not None and not 1 <= count <= MOST_IMAGES:
        raise DtisError(
            f"count is {shown(count)}; ask for at least 1 image of '{name}', at most {MOST_IMAGES}"
        )
    if size is not None and not all(1 <= side <= LARGEST_SIDE for side in size):
        raise DtisError(f"size is {tuple(size)}; give sides of 1 to {LARGEST_SIDE} pixels")
    if seed < 0:
        raise DtisError(f"seed is {seed}; give 0 or more")
    if root is not None and name in WITHOUT_FILES:
        raise DtisError(
            f"{shown(str(root))}: '{name}' is not read from files; leave --path and data.path out, "
            "or name other data"
        )
    root = data_root() if root is None else user_path(root, "root")
    with system_errors_explained(root):
        try:
            return DATASETS[name](Request(split, count, seed, root, size))
        except MemoryError as error:
            raise DtisError(
                f"'{name}' does not fit in memory ({error}); ask for fewer images, by data.count, "
                "or for smaller ones, by model.image_size"
            ) from error


def load_for(config: Config, split: str, count: int | None = None) -> SceneDataset:
    """Load the data a configuration names, at its images' size; arguments and errors as in `load`.

    Raises a DtisError, too, where the images do not have the size and channels that it says.
    """
    data, model = config.data, config.model
    loaded = load(data.name, split, count, root=data.path, size=model.image_size)
    found = loaded.images.shape[1:]
    if found != (*model.image_size, model.channels):
        raise DtisError(
            f"{loaded.name}: images are {found[:2]} with {found[2]} channels, but model.image_size "
            f"is {model.image_size} and model.channels {model.channels}"
        )
    return loaded


def part(total: int, split: str, name: str) -> Integer[np.ndarray, " n"]:
    """Return which of `total` things a split holds, where a dataset comes without splits.

    "all" of them; "validation", every fifth from the fifth on; "train", the others. None is
    "final": presets for such data train and score on all of it, as the paper does. Raises DtisError
    for another split.
    """
    check_split(split, ("all", "train", "validation"), name)
    index = np.arange(total)
    held_out = index % 5 == 4
    return index[{"all": held_out | True, "validation": held_out, "train": ~held_out}[split]]


def part_with_images(total: int, split: str, name: str, where: Path) -> Integer[np.ndarray, " n"]:
    """Return `part`. Raises DtisError, about the folder `where`, where there is nothing in it."""
    found = part(total, split, name)
    if not len(found):
        raise DtisError(
            f"{where}: the '{split}' split of {total} images is empty; every fifth is held out, "
            "so add images, or ask for 'all'"
        )
    return found


def check_split(split: str, known: tuple[str, ...], name: str) -> None:
    """Raise a DtisError unless dataset `name` has this split."""
    if split not in known:
        raise DtisError(f"'{name}' has no split '{split}'{suggest(split, known)}")


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
