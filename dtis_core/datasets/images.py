"""Images of any size and format as arrays of one size, for the datasets that come as files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike
from PIL import ExifTags, Image
from tqdm import tqdm

from dtis_core.datasets import fingerprint
from dtis_core.datasets.cache import cached
from dtis_core.errors import DtisError
from dtis_core.storage.files import read_picture

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
Size = tuple[int, int]  # height, width
Turn = Image.Transpose
# What undoes each of EXIF's orientations but the upright one. Not by ImageOps.exif_transpose: it
# writes the tags back, too, and fails where one of them is odd.
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_90,
}  # fmt: skip


def find_images(folder: Path, advice: str) -> list[Path]:
    """Return the image files of a folder, by name, but for hidden ones.

    Raises DtisError, which ends in `advice`, where there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise DtisError(f"{folder}: there is no such folder; {advice}")
    files = sorted(
        f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")
    )
    if not files:
        raise DtisError(f"{folder}: holds no image ({', '.join(SUFFIXES)}); {advice}")
    return files


def _open(path: Path, convert: Callable[[Image.Image], ArrayLike]) -> np.ndarray:
    """Return what `convert` makes of an image file, turned upright as a camera's EXIF data say.

    Raises DtisError for an unreadable file.
    """

    def upright(picture: Image.Image) -> np.ndarray:
        picture.load()
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
        return np.asarray(convert(picture if turn is None else picture.transpose(turn)))

    return read_picture(path, upright)


def _as_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB: 16 bits a channel become 8, what is transparent shows white.

    Raises ValueError where the range of the pixels' values is not known.
    """
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise ValueError(f"mode {picture.mode}, where 8 or 16 bits a channel are wanted")
    elif picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def _centred_box(picture: Image.Image, size: Size) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the largest centred part of `size`'s proportions."""
    scale = min(picture.width / size[1], picture.height / size[0])
    w, h = scale * size[1], scale * size[0]
    left, top = (picture.width - w) / 2, (picture.height - h) / 2
    return left, top, left + w, top + h


def read_size(path: Path) -> Size:
    """Return the height and width of an image file. Raises DtisError for an unreadable file."""
    height, width = _open(path, lambda picture: picture.size[::-1])
    return int(height), int(width)


def read_image(path: Path, size: Size, crop: bool = False) -> UInt8[np.ndarray, "H W 3"]:
    """Return an image as RGB of `size`, resized bilinearly; what is transparent shows white.

    With `crop`, the largest centred part of the wanted proportions is taken first; without, the
    whole frame is squeezed into them. Raises DtisError for an unreadable file.
    """

    def convert(picture: Image.Image) -> Image.Image:
        box = _centred_box(picture, size) if crop else None
        resample = Image.Resampling.BILINEAR
        return _as_rgb(picture).resize(size[::-1], resample, box=box)

    return _open(path, convert)


def read_mask(path: Path, size: Size, crop: bool = False) -> UInt8[np.ndarray, "H W"]:
    """Return a mask file's integers at `size`, nearest neighbours, cropped as by `read_image`.

    Raises DtisError for an unreadable file, or one that does not hold one integer per pixel from 0
    to 255.
    """

    def convert(picture: Image.Image) -> Image.Image:
        if picture.mode.partition(";")[0] not in ("1", "L", "P", "I"):
            raise ValueError(f"mode {picture.mode}, where a mask has one channel of integers")
        box = _centred_box(picture, size) if crop else None
        picture = picture.convert("L") if picture.mode == "1" else picture
        return picture.resize(size[::-1], Image.Resampling.NEAREST, box=box)

    values = _open(path, convert)
    if values.min() < 0 or values.max() > 255:
        raise DtisError(
            f"{path}: holds integers from {values.min()} to {values.max()}; number the objects of "
            "a mask from 1 to 255"
        )
    return values.astype(np.uint8)


def resize(
    pixels: UInt8[np.ndarray, "h w *C"], size: Size, nearest: bool = False
) -> UInt8[np.ndarray, "H W *C"]:
    """Return an array of pixels at `size`, resized as by `read_image`, or by nearest neighbours."""
    resample = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resample))


def stamps(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return name, size and time of the last change of files, for the key of what is cached.

    Raises DtisError for a link that leads nowhere.
    """
    try:
        return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    except OSError as error:
        raise DtisError(f"{error.filename}: cannot be read; replace or remove it") from error


def read_all(
    files: Sequence[Path], read: Callable[[Path], np.ndarray], *settings: object
) -> np.ndarray:
    """Return `read` of all files, stacked, in the cache until a file or a setting changes.

    Shows progress where that takes more than seconds.
    """
    key = fingerprint("images", 2, stamps(files), *settings)

    def build() -> tuple[np.ndarray]:
        first = read(files[0])
        stacked = np.empty((len(files), *first.shape), first.dtype)
        for index, file in enumerate(tqdm(files, desc=files[0].parent.name, delay=3, unit="file")):
            stacked[index] = read(file)
        return (stacked,)

    return cached(f"images-{key}", build)[0]
