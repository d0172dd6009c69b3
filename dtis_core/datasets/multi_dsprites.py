"""Multi-dSprites: coloured squares, ellipses and hearts that overlap on grey (Sec. 4.1).

Generated, or read from the official file. The silhouettes are curves fitted to 320 genuine frames
of dSprites, which they reproduce from the factors: all but four hearts, to the last pixel.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

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
from dtis_core.datasets.tfrecord import Feature
from dtis_core.errors import DtisError

SIZE = 64
FIRST_CENTRE, RANGE = 15.5, 32  # pixels: a position p in 0..1 is at 15.5 + 32 p
REACH = 14  # pixels: no silhouette extends further from its centre
# The factors of dSprites. Its last orientation is its first again, as in the original.
SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.linspace(0, 2 * np.pi, 40)
POSITIONS = np.linspace(0, 1, 32)


class Kind(NamedTuple):
    """What scenes are drawn: see `sample` for the fields."""

    objects: tuple[int, int]
    dullest: float = 0.5
    hidden: bool = False


KINDS = {
    "multi-dsprites": Kind((2, 5)),
    "multi-dsprites2": Kind((2, 2)),
    "multi-dsprites-harsh": Kind((2, 5), dullest=0.0, hidden=True),
}

Plane = Float[np.ndarray, "S H W"]  # S silhouettes


def _in_square(x: Plane, y: Plane) -> Bool[np.ndarray, "S H W"]:
    return np.maximum(np.abs(x), np.abs(y)) <= 9.598


def _in_ellipse(x: Plane, y: Plane) -> Bool[np.ndarray, "S H W"]:
    return (x / 12.766) ** 2 + (y / 7.214) ** 2 <= 1


def _in_heart(x: Plane, y: Plane) -> Bool[np.ndarray, "S H W"]:
    """Tell what lies inside the curve (9.593 sin³t, 1.436 + 0.66225 h(t)), y upwards, where.

    h(t) = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t = (4 - 2c² - 8c⁴) + c (19 - 8c²), c = cos t:
    over each x, the curve has one point with c > 0 and one with -c, equally far from their middle.
    """
    height = (-y - 1.436) / 0.66225  # y points down
    cos2 = 1 - np.cbrt(x / 9.593) ** 2  # negative beside the heart
    middle = 4 - 2 * cos2 - 8 * cos2**2
    cos = np.sqrt(np.maximum(cos2, 0))
    return (cos2 >= 0) & (np.abs(height - middle) <= cos * (19 - 8 * cos2))


# Category of a shape: whether points, in pixels at scale 1 and orientation 0, are inside it.
SHAPES: dict[int, Callable] = {1: _in_square, 2: _in_ellipse, 3: _in_heart}


class Factors(NamedTuple):
    """What determines N images of up to M objects, from the farthest to the nearest.

    Attributes:
        shape: 1 square, 2 ellipse, 3 heart; 0 where there is no object.
        scale: 0.5..1.
        orientation: radians, anticlockwise.
        x: centre's column, 0..1 from 15.5 to 47.5 pixels.
        y: centre's row, likewise.
        colour: red, green and blue of the background and the objects.
    """

    shape: Integer[np.ndarray, "N M"]
    scale: Float[np.ndarray, "N M"]
    orientation: Float[np.ndarray, "N M"]
    x: Float[np.ndarray, "N M"]
    y: Float[np.ndarray, "N M"]
    colour: UInt8[np.ndarray, "N 1+M 3"]


def render(
    factors: Factors,
) -> tuple[UInt8[np.ndarray, "N 64 64 3"], UInt8[np.ndarray, "N 64 64"]]:
    """Draw the images, without anti-aliasing, and their masks: 0 background, m the m-th object."""
    masks = _draw_masks(factors)
    image_of = np.arange(len(masks))[:, None, None]  # (N, 1, 1)
    return factors.colour[image_of, masks], masks


def _draw_masks(factors: Factors) -> UInt8[np.ndarray, "N 64 64"]:
    """Paint the objects over each other, the first one first."""
    count, objects = factors.shape.shape
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    for m in range(objects):
        inside, top, left = _silhouettes(*(factor[:, m] for factor in factors[:5]))
        image, row, column = inside.nonzero()
        masks[image, top[image] + row, left[image] + column] = m + 1
    return masks


def _silhouettes(
    shape: Integer[np.ndarray, " S"],
    scale: Float[np.ndarray, " S"],
    orientation: Float[np.ndarray, " S"],
    x: Float[np.ndarray, " S"],
    y: Float[np.ndarray, " S"],
) -> tuple[Bool[np.ndarray, "S 28 28"], Integer[np.ndarray, " S"], Integer[np.ndarray, " S"]]:
    """Return a window of pixels about each object, true inside it, and its top and left."""
    column, row = FIRST_CENTRE + RANGE * x, FIRST_CENTRE + RANGE * y
    left, top = (np.floor(c).astype(int) - REACH + 1 for c in (column, row))
    window = np.arange(2 * REACH)
    dx = ((left - column)[:, None] + window)[:, None, :]  # (S, 1, W) from the centre
    dy = ((top - row)[:, None] + window)[:, :, None]  # (S, H, 1)
    cos, sin = (f(orientation)[:, None, None] / scale[:, None, None] for f in (np.cos, np.sin))
    inside = np.zeros((len(shape), len(window), len(window)), bool)
    for category, contains in SHAPES.items():
        s = shape == category
        across, down = cos[s] * dx[s] - sin[s] * dy[s], sin[s] * dx[s] + cos[s] * dy[s]
        inside[s] = contains(across, down)
    return inside, top, left


def sample(count: int, rng: np.random.Generator, kind: Kind = KINDS["multi-dsprites"]) -> Factors:
    """Draw the factors of `count` images with at least and at most so many `kind.objects`.

    The number of objects and the level of grey are uniform. Shape, scale, orientation and position
    are uniform over the values that dSprites has, independently for each object. The distribution
    of the published colours, "random HSV", is not known; assumed here are a uniform hue and
    saturation and value uniform in `kind.dullest`..1. From 0.5, colours vary widely, yet none is so
    near to a grey or to black that an object is lost on its background; from 0, some are.

    Whether the published scenes may hide an object altogether is not known either. Unless
    `kind.hidden`, scenes with a hidden object are drawn again, with the same number of objects,
    until each shows. Where it may, one object in 130 is hidden: it has a category but no pixel.
    """
    fewest, most = kind.objects
    number = rng.integers(fewest, most, count, endpoint=True)
    present = np.arange(most) < number[:, None]  # (N, M)
    factors = _draw_factors(present, rng, kind.dullest)
    left = np.arange(0 if kind.hidden else count)  # images to look at for hidden objects
    while left.size:
        left = left[_some_hidden(Factors(*(factor[left] for factor in factors)))]
        drawn = _draw_factors(present[left], rng, kind.dullest)
        for factor, values in zip(factors, drawn, strict=True):
            factor[left] = values
    return factors


def _draw_factors(
    present: Bool[np.ndarray, "N M"], rng: np.random.Generator, dullest: float
) -> Factors:
    """Draw factors independently for each object that is present."""
    n, m = present.shape
    shape = rng.integers(1, len(SHAPES) + 1, (n, m)) * present
    values = (SCALES, ORIENTATIONS, POSITIONS, POSITIONS)
    scale, orientation, x, y = (rng.choice(value, (n, m)) for value in values)
    grey = rng.integers(0, 256, (n, 1, 1)).repeat(3, axis=-1)
    hsv = rng.uniform((0, dullest, dullest), 1, (n, m, 3))
    colours = np.round(255 * _rgb(hsv)) * present[..., None]
    colour = np.concatenate([grey, colours], axis=1).astype(np.uint8)  # (N, 1 + M, 3)
    return Factors(shape, scale, orientation, x, y, colour)


def _rgb(hsv: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Convert hue, saturation and value to red, green and blue, all in 0..1."""
    hue, saturation, value = (hsv[..., i, None] for i in range(3))
    sector = (6 * hue + (5, 3, 1)) % 6
    return value * (1 - saturation * np.minimum(sector, 4 - sector).clip(0, 1))


def _some_hidden(factors: Factors) -> Bool[np.ndarray, " N"]:
    """Tell which images have an object without a pixel."""
    count, objects = factors.shape.shape
    entity = _draw_masks(factors) + (1 + objects) * np.arange(count)[:, None, None]  # (N, H, W)
    pixels = np.bincount(entity.ravel(), minlength=count * (1 + objects))
    pixels = pixels.reshape(count, 1 + objects)
    return ((pixels[:, 1:] == 0) & (factors.shape > 0)).any(axis=1)


@register("multi-dsprites", files=False)
def load_generated(request: Request) -> SceneDataset:
    """Generate images of 2 to 5 objects; see `sample` for what is drawn.

    There are `request.count` of them, 60,000 for "train" and 320 for "validation" and "final" by
    default. The splits are separate random streams of the same seed, and a shorter dataset is the
    beginning of a longer one.
    """
    return _load_generated(request, "multi-dsprites")


@register("multi-dsprites2", files=False)
def load_generated_pairs(request: Request) -> SceneDataset:
    """Generate images of exactly two objects, Multi-dSprites2 (Sec. 4.1), as "multi-dsprites"."""
    return _load_generated(request, "multi-dsprites2")


@register("multi-dsprites-harsh", files=False)
def load_generated_harsh(request: Request) -> SceneDataset:
    """Generate the harsher reading of what was published, else as "multi-dsprites".

    Hue, saturation and value are uniform in 0..1: one object in 80 differs from its background by
    10 of 255 levels at most, which a model of images cannot see but scores count. And objects may
    be hidden altogether: such have no pixel, so that no score counts them.
    """
    return _load_generated(request, "multi-dsprites-harsh")


def _load_generated(request: Request, name: str) -> SceneDataset:
    split, seed, kind = request.split, request.seed, KINDS[name]
    check_split(split, tuple(SCENE_COUNTS), name)
    count = request.count or SCENE_COUNTS[split]
    version = 1  # count up whenever the images of a seed change
    key = fingerprint("multi-dsprites generated", version, kind, split, count, seed)
    stream = (list(SCENE_COUNTS).index(split), *kind.objects, *[1] * kind.hidden)
    make = partial(_make, kind=kind)
    arrays = cached(f"{name}-{key}", lambda: generated(count, seed, stream, make))
    return SceneDataset(f"{name} (generated)", *arrays)


def _make(rng: np.random.Generator, kind: Kind) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a block of images, masks and categories."""
    factors = sample(CHUNK, rng, kind)
    return *render(factors), factors.shape


OFFICIAL = "multi_dsprites_colored_on_grayscale.tfrecords"


@register("multi-dsprites-official")
def load_official(request: Request) -> SceneDataset:
    """Read the official TFRecord file under `request.root / "multi_object"`, once; then the cache.

    For the splits see `official_split`. An object that is hidden altogether
    has a category but no pixel.

    Raises:
        DtisError: there is no such file, or it is damaged or holds something else.
    """
    split, count = request.split, request.count
    check_split(split, tuple(SCENE_COUNTS), "multi-dsprites-official")
    path = request.root / "multi_object" / OFFICIAL
    if not path.exists():
        raise DtisError(
            f"{path}: there is no such file; download {OFFICIAL} from the bucket of DeepMind's "
            f"multi_object_datasets into that folder, or set DTIS_DATA to the folder that holds "
            f"multi_object; 'multi-dsprites' is generated and needs no file"
        )
    stat = path.stat()
    key = fingerprint("official", path.name, stat.st_size, stat.st_mtime_ns, split, count)
    arrays = cached(
        f"multi-dsprites-{key}", lambda: official_split(path, _parse, split, count, SCENE_COUNTS)
    )
    return SceneDataset(f"multi-dsprites (official, {path.name})", *arrays)


def _parse(
    example: dict[str, Feature], where: str
) -> tuple[UInt8[np.ndarray, "64 64 3"], UInt8[np.ndarray, "64 64"], Integer[np.ndarray, " 5"]]:
    """Return image, mask and categories of one official record."""
    entities = 6  # the background first; those beyond the scene's own are invisible
    try:
        image = np.frombuffer(b"".join(example["image"]), np.uint8).reshape(SIZE, SIZE, 3)
        shows = np.frombuffer(b"".join(example["mask"]), np.uint8)  # 0 or 255
        # Stored pixel by pixel; records made of the published reader's output hold entity by
        # entity. Only in the right order does every pixel show something.
        orders = shows.reshape(SIZE * SIZE, entities), shows.reshape(entities, SIZE * SIZE).T
        shape, visibility = (
            np.array(example[name], float).reshape(entities) for name in ("shape", "visibility")
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DtisError(f"{where} is not a Multi-dSprites scene ({error!r})") from None
    shows = next((order for order in orders if order.any(axis=1).all()), None)
    if shows is None:
        raise DtisError(f"{where}: some pixels are in none of its masks; download the file again")
    nearest = entities - 1 - shows[:, ::-1].argmax(axis=1)  # (H * W,)
    categories = np.where(visibility > 0, shape, 0)[1:]
    if not np.isin(categories, (0, *SHAPES)).all():
        raise DtisError(f"{where} has shapes {categories.tolist()}; only 1 to 3 are known")
    return image, nearest.reshape(SIZE, SIZE).astype(np.uint8), categories.astype(np.int64)
