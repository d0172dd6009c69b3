"""Images of any size and format as arrays of one size, for the datasets that come as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from dtis_core.datasets import fingerprint
from dtis_core.datasets.cache import cached
from dtis_core.errors import DtisError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
Size = tuple[int, int]  # height, width


def find_images(folder: Path, advice: str) -> list[Path]:
    """Return the image files of a folder, by name.

    Raises DtisError, which ends in `advice`, where there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise DtisError(f"{folder}: there is no such folder; {advice}")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise DtisError(f"{folder}: holds no image ({', '.join(SUFFIXES)}); {advice}")
    return files


def _open(path: Path, convert: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return what `convert` makes of an image file. Raises DtisError for an unreadable one."""
    try:
        with Image.open(path) as picture:
            return np.asarray(convert(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DtisError(
            f"{path}: cannot be read as an image ({error}); replace or remove it"
        ) from None


def read_image(path: Path, size: Size, crop: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """Return an image as RGB of `size`, resized bilinearly.

    With `crop`, the largest centred part of the wanted proportions is taken first; without, the
    whole frame is squeezed into them. Raises DtisError for an unreadable file.
    """

    def convert(picture: Image.Image) -> Image.Image:
        box = None
        if crop:
            scale = min(picture.width / size[1], picture.height / size[0])
            w, h = scale * size[1], scale * size[0]
            left, top = (picture.width - w) / 2, (picture.height - h) / 2
            box = (left, top, left + w, top + h)
        resample = Image.Resampling.BILINEAR
        return picture.convert("RGB").resize(size[::-1], resample, box=box)

    return _open(path, convert)


def read_mask(path: Path, size: Size) -> UInt8[np.ndarray, "H W"]:
    """Return a mask file's integers at `size`, nearest neighbours.

    Raises DtisError for an unreadable file or one with more than a channel.
    """

    def convert(picture: Image.Image) -> Image.Image:
        if len(picture.getbands()) > 1:
            raise ValueError(f"{len(picture.getbands())} channels where a mask has one")
        picture = picture.convert("L") if picture.mode == "1" else picture
        return picture.resize(size[::-1], Image.Resampling.NEAREST)

    return _open(path, convert).astype(np.uint8)


def read_all(
    files: Sequence[Path], read: Callable[[Path], np.ndarray], *settings: object
) -> np.ndarray:
    """Return `read` of all files, stacked, in the cache until a file or a setting changes.

    Shows progress where that takes more than seconds.
    """
    stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = fingerprint("images", stats, *settings)

    def build() -> tuple[np.ndarray]:
        first = read(files[0])
        stacked = np.empty((len(files), *first.shape), first.dtype)
        for index, file in enumerate(tqdm(files, desc=files[0].parent.name, delay=3, unit="file")):
            stacked[index] = read(file)
        return (stacked,)

    return cached(f"images-{key}", build)[0]
