"""Scenes drawn by the rules of CLEVR (Johnson et al. 2017, supplement): what is where, who sees it.

Lengths are Blender's units, z is up, and the ground is z = 0. The camera looks at the origin.
"""

import math
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SHAPES = ("cube", "sphere", "cylinder")
MATERIALS = ("rubber", "metal")
SIZES = {"large": 0.7, "small": 0.35}  # half the height and width
COLOURS = {
    "gray": (87, 87, 87), "red": (173, 35, 35), "blue": (42, 75, 215), "green": (29, 105, 20),
    "brown": (129, 74, 25), "purple": (129, 38, 192), "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}  # fmt: skip
CATEGORIES = {pair: index for index, pair in enumerate(product(SHAPES, MATERIALS), start=1)}
"""The category of a shape and material, 1..6: shape by shape with its two materials."""

HALF_WIDTH = 3.0  # of the square of the ground where centres lie
GAP = 0.25  # between two objects, at least
MARGIN = 0.4  # between two centres, both from left to right and from front to back
TRIES = 50  # for an object's place, before the scene is begun anew
CAMERA = np.array([7.48, -6.55, 5.35])
CAMERA_JITTER, LIGHT_JITTER = 0.5, 1.0  # at most, along each axis
LIGHTS = ("key", "fill", "back")


class Solid(NamedTuple):
    """An object: its names, its centre on the ground, and its turn about it in radians."""

    shape: str
    size: str
    material: str
    colour: str
    x: float
    y: float
    angle: float

    @property
    def half_height(self) -> float:
        """Half its height and, but for a cube's turn, half its width."""
        return SIZES[self.size]

    @property
    def radius(self) -> float:
        """What it needs of the ground, whatever its turn."""
        return self.half_height * (math.sqrt(2) if self.shape == "cube" else 1)


class Scene(NamedTuple):
    """What is rendered.

    Attributes:
        solids: the objects.
        camera: where the camera is.
        shifts: how far each of `LIGHTS` is from its usual place.
    """

    solids: tuple[Solid, ...]
    camera: Float[np.ndarray, "3"]
    shifts: Float[np.ndarray, "3 3"]


def sample(rng: np.random.Generator, count: int) -> Scene:
    """Draw a scene of `count` objects.

    Sizes, shapes, materials, colours and turns are uniform and independent; places are uniform but
    for the gaps and margins between them.
    """
    camera = CAMERA + rng.uniform(-CAMERA_JITTER, CAMERA_JITTER, 3)
    shifts = rng.uniform(-LIGHT_JITTER, LIGHT_JITTER, (len(LIGHTS), 3))
    solids = None
    while solids is None:
        solids = _place(rng, count, directions(camera))
    return Scene(solids, camera, shifts)


def directions(camera: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 2"]:
    """Return what is right and what is behind on the ground, as unit vectors, to a camera."""
    behind = -camera[:2] / np.linalg.norm(camera[:2])
    return np.array([[behind[1], -behind[0]], behind])


def _place(
    rng: np.random.Generator, count: int, axes: Float[np.ndarray, "2 2"]
) -> tuple[Solid, ...] | None:
    """Draw objects one after another; None where one finds no place."""
    solids: list[Solid] = []
    for _ in range(count):
        names = [str(rng.choice(list(kinds))) for kinds in (SHAPES, SIZES, MATERIALS, COLOURS)]
        for _ in range(TRIES):  # with the same names: else small ones would be the most
            x, y = rng.uniform(-HALF_WIDTH, HALF_WIDTH, 2).tolist()
            solid = Solid(*names, x, y, float(rng.uniform(0, 2 * math.pi)))
            if all(_apart(solid, other, axes) for other in solids):
                solids.append(solid)
                break
        else:
            return None
    return tuple(solids)


def _apart(one: Solid, other: Solid, axes: Float[np.ndarray, "2 2"]) -> bool:
    """Tell whether two objects are far enough from each other, and neither beside nor behind."""
    offset = np.array([one.x - other.x, one.y - other.y])
    gap = np.linalg.norm(offset) - one.radius - other.radius
    return bool(gap >= GAP and (np.abs(axes @ offset) >= MARGIN).all())
