"""House numbers drawn for want of photographs: a stand-in for SVHN, easier than it (Sec. 4.2).

Each image is the crop of one digit out of a number that is written in one of Matplotlib's own
fonts, so that it is the same everywhere: slanted and turned, in two colours, with a shadow, uneven
light, blur and noise; digits beside it show at the sides, cut off.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

from dtis_core.datasets import Request, SceneDataset, check_split, fingerprint, register
from dtis_core.datasets.cache import cached
from dtis_core.datasets.records import CHUNK, generated

COUNTS = {"train": 30_000, "validation": 2_000, "final": 2_000}  # streams in this order
SIZE = 28
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralBol",
    "cmss10", "cmb10",
)  # fmt: skip
TALL, CELL = 32, 48  # pixels of a drawn digit's height, and of the square about it
BESIDE = 0.6  # the share of images with a digit to the left, and of those with one to the right
CONTRAST = 60  # levels between ink and ground, at least, in brightness
Plane = Float[np.ndarray, "N 28 28"]


class Hand(NamedTuple):
    """How N digits are written.

    Attributes:
        font: index of `FONTS`.
        digit: to the left, in the middle and to the right; the one in the middle is the label.
        beside: 1 where there is a digit on that side, left and right, else 0.
        warp: from pixels off the image's centre to heights of a digit, about the digit's centre.
        shift: of the digit, in heights.
        gap: between two digits, in heights.
    """

    font: Integer[np.ndarray, " N"]
    digit: Integer[np.ndarray, "N 3"]
    beside: Float[np.ndarray, "N 2"]
    warp: Float[np.ndarray, "N 2 2"]
    shift: Float[np.ndarray, "N 2"]
    gap: Float[np.ndarray, " N"]


@register("svhn-drawn", files=False)
def load(request: Request) -> SceneDataset:
    """Generate 28x28 crops of house numbers; category d + 1 is digit d, each as frequent.

    There are `request.count` of them, 30,000 for "train" and 2,000 for "validation" and "final" by
    default. The splits are separate random streams of the same seed, and a shorter dataset is the
    beginning of a longer one.
    """
    split, seed = request.split, request.seed
    check_split(split, tuple(COUNTS), "svhn-drawn")
    count = request.count or COUNTS[split]
    version = 1  # count up whenever the images of a seed change
    key = fingerprint("svhn-drawn generated", version, split, count, seed)
    stream = (list(COUNTS).index(split),)
    images, digits = cached(f"svhn-drawn-{key}", lambda: generated(count, seed, stream, _make))
    return SceneDataset("SVHN stand-in (generated)", images, None, digits[:, None] + 1)


def _make(
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "N 28 28 3"], Integer[np.ndarray, " N"]]:
    """Return a block of images and the digits in their middle."""
    hand = _sample(rng, CHUNK)
    ink = _ink(hand)  # (N, H, W)
    depth = rng.uniform(0, 0.5, (CHUNK, 1, 1)) * (rng.random((CHUNK, 1, 1)) < 0.5)
    fall = rng.uniform(-0.12, 0.12, (CHUNK, 2))
    shadow = 1 - depth * _ink(hand._replace(shift=hand.shift + fall))
    ground, colour = _colours(rng, CHUNK)
    image = shadow[..., None] * ground * (1 - ink[..., None]) + ink[..., None] * colour
    image *= _light(rng, CHUNK)[..., None]
    image = _blurred(image, rng.uniform(0.3, 1.1, CHUNK))
    image += rng.normal(0, 1, image.shape) * rng.uniform(0, 8, (CHUNK, 1, 1, 1))
    return image.round().clip(0, 255).astype(np.uint8), hand.digit[:, 1]


def _sample(rng: np.random.Generator, count: int) -> Hand:
    """Draw how digits are written."""
    height = rng.uniform(0.62, 0.9, count) * SIZE  # pixels
    across = rng.uniform(0.9, 1.15, count)
    angle, slant = np.deg2rad(rng.normal(0, 5, count)), rng.normal(0, 0.12, count)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)  # (N, 2, 2)
    one = np.ones(count)
    shear = np.stack([np.stack([one, slant], -1), np.stack([0 * one, one], -1)], axis=1)
    scale = np.stack([1 / across, one], axis=-1) / height[:, None]  # (N, 2)
    return Hand(
        font=rng.integers(0, len(FONTS), count),
        digit=rng.integers(0, 10, (count, 3)),
        beside=(rng.random((count, 2)) < BESIDE).astype(float),
        warp=scale[:, :, None] * (shear @ turn),
        shift=rng.normal(0, 0.05, (count, 2)),
        gap=rng.uniform(0.06, 0.2, count),
    )


@cache
def _glyphs() -> tuple[Float[np.ndarray, "F 10 48 48"], Float[np.ndarray, "F 10"]]:
    """Return each font's digits, centred, with their widths in heights of a digit."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    glyphs, widths = np.zeros((len(FONTS), 10, CELL, CELL)), np.zeros((len(FONTS), 10))
    for f, name in enumerate(FONTS):
        trial = ImageFont.truetype(str(folder / f"{name}.ttf"), 100)
        tall = trial.getbbox("8")[3] - trial.getbbox("8")[1]
        font = ImageFont.truetype(str(folder / f"{name}.ttf"), 100 * TALL / tall)
        for digit in range(10):
            left, top, right, bottom = font.getbbox(str(digit))
            picture = Image.new("L", (CELL, CELL))
            corner = ((CELL - right - left) / 2, (CELL - bottom - top) / 2)
            ImageDraw.Draw(picture).text(corner, str(digit), fill=255, font=font)
            glyphs[f, digit] = np.asarray(picture) / 255
            widths[f, digit] = (right - left) / TALL
    return glyphs, widths


def _ink(hand: Hand) -> Plane:
    """Return how much of each pixel is ink."""
    glyphs, widths = _glyphs()
    row, column = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    offset = np.stack([column, row], axis=-1)  # (H, W, 2)
    place = np.einsum("nij,hwj->nhwi", hand.warp, offset) - hand.shift[:, None, None]
    width = widths[hand.font[:, None], hand.digit]  # (N, 3)
    ink = np.zeros(place.shape[:3])
    for side, sign in enumerate((-1, 0, 1)):
        step = sign * ((width[:, 1] + width[:, side]) / 2 + hand.gap)  # (N,)
        there = hand.beside[:, max(sign, 0)] if sign else np.ones(len(step))
        glyph = glyphs[hand.font, hand.digit[:, side]]
        found = _looked_up(glyph, place[..., 0] - step[:, None, None], place[..., 1])
        ink = np.maximum(ink, there[:, None, None] * found)
    return ink


def _looked_up(glyph: Float[np.ndarray, "N 48 48"], x: Plane, y: Plane) -> Plane:
    """Return glyphs at places in heights off their centres, bilinearly; 0 beside them."""
    x, y = (np.clip(TALL * at + (CELL - 1) / 2, 0, CELL - 1.001) for at in (x, y))
    left, top = x.astype(int), y.astype(int)
    x, y = x - left, y - top
    n = np.arange(len(glyph))[:, None, None]
    upper = glyph[n, top, left] * (1 - x) + glyph[n, top, left + 1] * x
    lower = glyph[n, top + 1, left] * (1 - x) + glyph[n, top + 1, left + 1] * x
    return upper * (1 - y) + lower * y


def _colours(
    rng: np.random.Generator, count: int
) -> tuple[Float[np.ndarray, "N 1 1 3"], Float[np.ndarray, "N 1 1 3"]]:
    """Draw colours of ground and ink, 0..255: greys with a hue, far enough apart in brightness."""
    brightness = rng.uniform(20, 235, (2, count))
    while (near := np.abs(np.subtract(*brightness)) < CONTRAST).any():
        brightness[:, near] = rng.uniform(20, 235, (2, near.sum()))
    hue = rng.normal(0, 22, (2, count, 3))
    hue -= hue.mean(axis=-1, keepdims=True)
    ground, ink = np.clip(brightness[..., None] + hue, 0, 255)[:, :, None, None]  # (N, 1, 1, 3)
    return ground, ink


def _light(rng: np.random.Generator, count: int) -> Plane:
    """Draw a light that falls off to one side, as a factor."""
    across, down = rng.uniform(-0.2, 0.2, (2, count, 1, 1))
    ramp = np.linspace(-1, 1, SIZE)
    return 1 + across * ramp + down * ramp[:, None]


def _blurred(
    image: Float[np.ndarray, "N 28 28 3"], sigma: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N 28 28 3"]:
    """Return images blurred by Gaussians of these deviations in pixels, edges repeated."""
    reach = 3
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma[:, None]) ** 2)  # (N, 7)
    weight /= weight.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(image, pad, mode="edge")
        parts = (padded.take(range(k, k + SIZE), axis=axis) for k in range(2 * reach + 1))
        image = sum(weight[:, k, None, None, None] * part for k, part in enumerate(parts))
    return image
