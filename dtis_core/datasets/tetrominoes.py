"""Tetrominoes: three pieces of four bevelled tiles on black, generated or from the official file.

The generator reproduces the official images from their factors without a differing value.
"""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from dtis_core.datasets import (
    SCENE_COUNTS,
    Request,
    SceneDataset,
    check_split,
    fingerprint,
    register,
)
from dtis_core.datasets.cache import cached
from dtis_core.datasets.records import CHUNK, generated, official_split
from dtis_core.datasets.tfrecord import Feature, read_examples
from dtis_core.errors import DtisError

SIZE = 35
PIECES = 3
COLOURS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)], np.uint8)
BEVEL = np.array(
    [[191, 255, 255, 255, 223], *[[127, 159, 159, 159, 191]] * 3, [95, 63, 63, 63, 127]], np.uint8
)
TILE = len(BEVEL)

# Shape ids 1..19 of the official factors: I (1-2), lying and standing L and J (3-6, 7-10), Z and S
# (11-14), T (15-18), O. Ids 1, 4 and 8 do not occur in the ten official images that were at hand;
# the three shapes left over go where this order puts them.
SHAPES = [
    "####", "#/#/#/#",
    "###/#..", "#../###", "..#/###", "###/..#",
    "##/.#/.#", ".#/.#/##", "##/#./#.", "#./#./##",
    "##./.##", ".##/##.", ".#/##/#.", "#./##/.#",
    ".#./###", "###/.#.", ".#/##/.#", "#./##/#.",
    "##/##",
]  # fmt: skip
# Row and column of the top-left pixel of each tile, from the corner of the bounding box.
CORNERS = TILE * np.array(
    [np.argwhere([[cell == "#" for cell in row] for row in shape.split("/")]) for shape in SHAPES]
)  # (19, 4 tiles, 2)
EXTENTS = CORNERS.max(axis=1) + TILE  # (19, 2) height and width of the bounding boxes


class Factors(NamedTuple):
    """What determines N images: the fields of the official file, without the background.

    Attributes:
        shape: id 1..19.
        colour: red, green and blue, each 0 or 1.
        x: top row of the bounding box, in pixels.
        y: left column of the bounding box, in pixels.
    """

    shape: Integer[np.ndarray, "N 3"]
    colour: UInt8[np.ndarray, "N 3 3"]
    x: Integer[np.ndarray, "N 3"]
    y: Integer[np.ndarray, "N 3"]

    def corners(self) -> Integer[np.ndarray, "N 3 4 2"]:
        """Return row and column of the top-left pixel of each tile."""
        position = np.stack([self.x, self.y], axis=-1)  # (N, 3, 2)
        return position[:, :, None] + CORNERS[self.shape - 1]


def render(
    factors: Factors,
) -> tuple[UInt8[np.ndarray, "N 35 35 3"], UInt8[np.ndarray, "N 35 35"]]:
    """Draw the images, values in 0..255, and their masks: 0 background, m the m-th piece."""
    rows, columns = np.moveaxis(factors.corners(), -1, 0)  # (N, 3, 4) each
    image_of = np.arange(len(rows))[:, None, None]  # (N, 1, 1)
    tiles = np.empty((len(rows), PIECES, TILE, TILE, 4), np.uint8)  # the mask is a fourth channel
    tiles[..., :3] = factors.colour[:, :, None, None] * BEVEL[..., None]
    tiles[..., 3] = np.arange(1, PIECES + 1)[:, None, None]
    # A pixel of four bytes is moved as one number, which is four times faster.
    tiles = tiles.view(np.uint32)[..., 0]  # (N, 3, 5, 5)
    canvas = np.zeros((len(rows), SIZE, SIZE), np.uint32)
    windows = sliding_window_view(canvas, (TILE, TILE), axis=(1, 2), writeable=True)
    windows[image_of, rows, columns] = tiles[:, :, None]  # (N, 3, 4 tiles, 5, 5)
    pixels = canvas.view(np.uint8).reshape(len(rows), SIZE, SIZE, 4)
    return pixels[..., :3], pixels[..., 3]


def sample(count: int, rng: np.random.Generator) -> Factors:
    """Draw the factors of `count` images whose pieces share no pixel.

    Shape and colour are uniform and independent for each piece. The three positions are drawn
    together, uniformly inside the frame, and all three are drawn again until no pixel is covered
    twice: every valid placement of the given shapes is equally likely, and rejection does not
    favour small or compact shapes. Bounding boxes may overlap.
    """
    shape = rng.integers(1, len(SHAPES) + 1, (count, PIECES))
    colour = COLOURS[rng.integers(0, len(COLOURS), (count, PIECES))]
    position = np.zeros((count, PIECES, 2), np.int64)
    left = np.arange(count)  # images without a valid placement yet
    while left.size:
        position[left] = rng.integers(0, SIZE - EXTENTS[shape[left] - 1], endpoint=True)
        drawn = Factors(shape[left], colour[left], *np.moveaxis(position[left], -1, 0))
        left = left[_overlapping(drawn.corners())]
    return Factors(shape, colour, *np.moveaxis(position, -1, 0))


def _overlapping(corners: Integer[np.ndarray, "N 3 4 2"]) -> Bool[np.ndarray, " N"]:
    """Tell which images have two pieces that share a pixel."""
    rows, columns = np.moveaxis(corners.astype(np.int8), -1, 0)  # (N, 3, 4) each
    shared = np.zeros((len(corners), 4, 4), bool)  # tile of one piece, tile of another
    for a, b in combinations(range(PIECES), 2):
        near = np.abs(rows[:, a, :, None] - rows[:, b, None]) < TILE
        shared |= near & (np.abs(columns[:, a, :, None] - columns[:, b, None]) < TILE)
    return shared.any(axis=(1, 2))


@register("tetrominoes", files=False)
def load_generated(request: Request) -> SceneDataset:
    """Generate `request.count` images: by default 60,000 for "train", else 320.

    The splits, "train", "validation" and "final", are separate random streams of the same seed, and
    a shorter dataset is the beginning of a longer one.
    """
    split, seed = request.split, request.seed
    check_split(split, tuple(SCENE_COUNTS), "tetrominoes")
    count = request.count or SCENE_COUNTS[split]
    version = 1  # count up whenever the images of a seed change
    key = fingerprint("tetrominoes generated", version, split, count, seed)
    stream = (list(SCENE_COUNTS).index(split),)
    arrays = cached(f"tetrominoes-{key}", lambda: generated(count, seed, stream, _make))
    return SceneDataset("tetrominoes (generated)", *arrays)


def _make(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a block of images, masks and categories."""
    factors = sample(CHUNK, rng)
    return *render(factors), factors.shape


@register("tetrominoes-official")
def load_official(request: Request) -> SceneDataset:
    """Read the official TFRecord file under `request.root / "multi_object"`.

    For the splits see `official_split`.

    Raises:
        DtisError: there is no such file, or it is damaged or holds something else.
    """
    split, count = request.split, request.count
    check_split(split, tuple(SCENE_COUNTS), "tetrominoes-official")
    path = _official_file(request.root)
    arrays = official_split(path, _parse, split, count, SCENE_COUNTS)
    return SceneDataset(f"tetrominoes (official, {path.name})", *arrays)


def read_factors(path: str | Path) -> Factors:
    """Return the factors of every record of an official file.

    Raises DtisError as `read_examples` does, and where a record has no such factors.
    """
    found = [
        _parse_factors(example, f"{path}: record {index}")
        for index, example in enumerate(read_examples(path))
    ]
    if not found:
        raise DtisError(f"{path}: found no record; download the file again")
    shape, colour, x, y = (np.stack(factor) for factor in zip(*found, strict=True))
    return Factors(shape, colour.astype(np.uint8), x, y)


def _parse_factors(example: dict[str, Feature], where: str) -> list[Integer[np.ndarray, "3 *C"]]:
    """Return shape, colour, x and y of the pieces of one official record."""
    limits = {"shape": (1, len(SHAPES)), "color": (0, 1), "x": (0, SIZE - 1), "y": (0, SIZE - 1)}
    try:
        shape, colour, x, y = (_pieces(example, name, *limit) for name, limit in limits.items())
        if (np.stack([x, y], axis=-1) + EXTENTS[shape - 1] > SIZE).any():
            raise ValueError(f"pieces {shape.tolist()} at {x.tolist()}, {y.tolist()} stick out")
        return [shape, colour, x, y]
    except (KeyError, ValueError, TypeError) as error:
        raise DtisError(f"{where} has no factors of a Tetrominoes scene ({error!r})") from None


def _pieces(
    example: dict[str, Feature], name: str, least: int, most: int
) -> Integer[np.ndarray, "3 *C"]:
    """Return a feature of the pieces, whole numbers `least`..`most`, without the background's.

    A colour is three of them. Raises ValueError for other numbers.
    """
    entities = (1 + PIECES, 3) if name == "color" else (1 + PIECES,)
    values = np.array(example[name], float).reshape(entities)[1:]
    if not np.isin(values, range(least, most + 1)).all():
        raise ValueError(f"{name} is {values.tolist()}, not in {least}..{most}")
    return values.astype(np.int64)


def _official_file(root: Path) -> Path:
    folder = root / "multi_object"
    names = ("tetrominoes_train.tfrecords", "tetrominoes_mini.tfrecords")
    for path in (folder / name for name in names):
        if path.exists():
            return path
    raise DtisError(
        f"{folder}: found neither {names[0]} nor {names[1]}; download {names[0]} from the bucket "
        f"of DeepMind's multi_object_datasets into that folder, or set DTIS_DATA to the folder "
        f"that holds multi_object; 'tetrominoes' is generated and needs no file"
    )


def _parse(
    example: dict[str, Feature], where: str
) -> tuple[UInt8[np.ndarray, "35 35 3"], UInt8[np.ndarray, "35 35"], Integer[np.ndarray, " 3"]]:
    """Return image, mask and shape ids of one official record."""
    try:
        image = np.frombuffer(b"".join(example["image"]), np.uint8).reshape(SIZE, SIZE, 3)
        entities = np.frombuffer(b"".join(example["mask"]), np.uint8)
        entities = entities.reshape(1 + PIECES, SIZE, SIZE)  # 0 or 255, background first
        shapes = _pieces(example, "shape", 1, len(SHAPES))
    except (KeyError, ValueError, TypeError) as error:
        raise DtisError(f"{where} is not a Tetrominoes scene ({error!r})") from None
    return image, entities.argmax(axis=0).astype(np.uint8), shapes
