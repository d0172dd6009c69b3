"""Postcards: generated photographs for want of a web collection (Sec. 4.2.3), one motif on each.

A card is a landscape of soft colours with at most one of six motifs, in two tones of its own, large
or small, a little turned and not quite in the middle; a fifth of the cards shows none, for web
images do not always show what they are filed under. They are easier than photographs.
"""

from functools import partial

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from dtis_core.datasets import Request, SceneDataset, check_split, fingerprint, register
from dtis_core.datasets.cache import cached
from dtis_core.datasets.records import CHUNK, generated

COUNTS = {"all": 1200, "validation": 320, "final": 320}  # streams in this order
SIZE = (64, 64)
EMPTY = 0.2  # the share of cards without a motif
FINER = 4  # drawn at so many times the size, for smooth outlines


def _round(x: float, y: float, width: float, height: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 40)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def _star() -> np.ndarray:
    angle = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 0.4, 1.0)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _points(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points)


MOTIFS = {
    "house": [
        _points((-0.7, 0.0), (0.7, 0.0), (0.7, 0.9), (-0.7, 0.9)),
        _points((-0.95, 0.0), (0.0, -0.9), (0.95, 0.0)),
    ],
    "tree": [
        _points((-0.15, 0.4), (0.15, 0.4), (0.15, 1.0), (-0.15, 1.0)),
        _round(0, -0.25, 0.7, 0.75),
    ],
    "ship": [
        _points((-1.0, 0.4), (1.0, 0.4), (0.6, 0.9), (-0.6, 0.9)),
        _points((-0.1, -0.95), (0.8, 0.25), (-0.1, 0.25)),
    ],
    "star": [_star(), _round(0, 0, 0.3, 0.3)],
    "fish": [
        _points((-0.4, 0.0), (-1.0, -0.5), (-1.0, 0.5)),
        _round(0.25, 0, 0.75, 0.45),
    ],
    "cup": [
        _points((0.5, -0.4), (0.95, -0.4), (0.95, 0.3), (0.5, 0.3)),
        _points((-0.7, -0.7), (0.6, -0.7), (0.45, 0.8), (-0.55, 0.8)),
    ],
}
"""Two polygons each, x to the right and y down in [-1, 1]; the second is drawn over the first."""

HUES = np.array([
    [[178, 60, 50], [96, 44, 40]], [[110, 74, 48], [52, 128, 66]],
    [[70, 52, 110], [238, 232, 214]], [[240, 196, 60], [206, 110, 36]],
    [[226, 96, 64], [240, 150, 70]], [[60, 96, 150], [96, 150, 200]],
])  # fmt: skip
"""The colours of each motif's polygons."""


@register("postcards", files=False)
def load(request: Request) -> SceneDataset:
    """Generate cards with masks and the motif of each, 0 for none.

    Splits are independent random streams: "all", 1,200 cards by default, to train and score on as
    the paper does; "validation" and "final", 320 each. A shorter data set is the beginning of a
    longer one.
    """
    split, seed, size = request.split, request.seed, request.size or SIZE
    check_split(split, tuple(COUNTS), "postcards")
    count = request.count or COUNTS[split]
    version = 1  # count up whenever the images of a seed change
    key = fingerprint("postcards generated", version, size, split, count, seed)
    make = partial(_make, size=size)
    stream = (list(COUNTS).index(split),)
    arrays = cached(f"postcards-{key}", lambda: generated(count, seed, stream, make))
    return SceneDataset("postcards (generated)", *arrays)


def _make(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a block of cards, masks and motifs."""
    cards = [_card(rng, size) for _ in range(CHUNK)]
    return tuple(np.stack(part) for part in zip(*cards, strict=True))


def _card(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Return a card (H, W, 3), its mask (H, W) and its motif (1,)."""
    motif = 0 if rng.random() < EMPTY else int(rng.integers(1, len(MOTIFS) + 1))
    card = _landscape(rng, size)
    tone = np.clip(rng.normal(1, 0.12) * (1 + rng.normal(0, 0.05, 3)), 0.5, 1.4)
    scale = rng.uniform(0.45, 0.75)
    angle = np.deg2rad(rng.normal(0, 8))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    at = rng.uniform(-0.22, 0.22, 2)
    mask = np.zeros(size, np.float64)
    if motif:
        for shape, hue in zip(list(MOTIFS.values())[motif - 1], HUES[motif - 1], strict=True):
            cover = _cover(shape @ turn + at, size)[..., None]  # (H, W, 1)
            card = card * (1 - cover) + cover * hue * tone
            mask = np.maximum(mask, cover[..., 0])
    card += rng.normal(0, 4, card.shape)  # a camera's noise
    pixels = card.round().clip(0, 255).astype(np.uint8)
    return pixels, (mask > 0.5).astype(np.uint8), np.array([motif])


def _cover(
    polygon: Float[np.ndarray, "n 2"], size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Return how much of each pixel a polygon covers; the image spans [-1, 1]."""
    height, width = (side * FINER for side in size)
    fine = Image.new("L", (width, height))
    corners = (polygon + 1) / 2 * (width, height)
    ImageDraw.Draw(fine).polygon([tuple(corner) for corner in corners], fill=255)
    return np.asarray(fine.resize(size[::-1], Image.Resampling.BOX)) / 255


def _landscape(
    rng: np.random.Generator, size: tuple[int, int]
) -> Float[np.ndarray, "height width 3"]:
    """Return a sky over a ground, 0..255, with clouds that are a few pixels wide."""
    height, width = size
    sky, ground = rng.uniform((90, 120, 150), (190, 215, 255)), rng.uniform(60, 170, 3)
    horizon = rng.uniform(0.5, 0.8)
    rows = np.linspace(0, 1, height)[:, None, None]
    share = 1 / (1 + np.exp((horizon - rows) * 40))  # (H, 1, 1) of the ground
    clouds = rng.integers(0, 256, (6, 6), dtype=np.uint8)
    clouds = Image.fromarray(clouds).resize((width, height), Image.Resampling.BICUBIC)
    shade = (np.asarray(clouds, float)[..., None] / 255 - 0.5) * 50
    return sky * (1 - share) + ground * share + shade
