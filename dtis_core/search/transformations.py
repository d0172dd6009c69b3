"""Our variants of transformations: fewer parameters, and sprites at the objects' own size."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.canvas import Canvas
from dtis_core.model.transformations import Colour, Parameters, Position, Similarity


class Tint(Colour):
    """Scale each colour channel: C parameters, gains minus one. For objects lit without offset."""

    def __init__(self, channels: int):
        self.channels = self.size = channels

    def __call__(self, canvas: Canvas, parameters: Parameters, _: tuple[int, int]) -> Canvas:
        """Apply the gains to the canvas's pending map."""
        return self.scaled(canvas, parameters)


class Placement(Position):
    """Our variant of `Position`: starts at the sprite's own size, and scales by at most 2.

    A sprite pixel covers one image pixel for s = 0, so that sprites can become exact copies of the
    objects.
    """

    octaves = 1  # doublings of the size at most, and halvings

    def zoom(self, s: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> tuple:
        """Return sampling scales (y, x) for log-scale `s`, canvas (h, w) and image (H, W)."""
        scale = torch.exp(-math.log(2) * self.octaves * torch.tanh(s / self.octaves))
        return scale * size[0] / canvas[0], scale * size[1] / canvas[1]

    def enlargement(self, parameters: Float[Tensor, "*lead P"]) -> Float[Tensor, "*lead"]:
        """Return how many times its own size a sprite is shown at."""
        return torch.exp2(self.octaves * torch.tanh(parameters[..., 0] / self.octaves))

    def scaled(self, s: Tensor, factor: float) -> Tensor:
        """Return the log-scale that shows a sprite `factor` times larger, as far as it can."""
        share = torch.tanh(s / self.octaves) + math.log(factor) / math.log(2) / self.octaves
        return torch.atanh(share.clamp(-0.999, 0.999)) * self.octaves


class WidePlacement(Placement):
    """`Placement` that scales by at most 4: for objects half the size of others of their kind.

    A sprite as large as the largest would reach half its size only at the end of a tanh, where no
    network reads it and no gradient leads back.
    """

    octaves = 2


class Translation(Placement):
    """Our variant for objects of one size: `Placement` without the scale, 2 parameters (x, y)."""

    size = 2
    translation = slice(0, 2)

    def frame(self, parameters: Parameters, canvas: tuple[int, int], size: tuple[int, int]) -> list:
        """Return where the sprite's frame lies; see `Position`."""
        return super().frame(F.pad(parameters, (1, 0)), canvas, size)

    def seen_at(self, canvas: Canvas, parameters: Parameters, *where: Any) -> Canvas:
        """Place the canvases in images; see `Position`."""
        return super().seen_at(canvas, F.pad(parameters, (1, 0)), *where)

    def enlargement(self, parameters: Float[Tensor, "*lead P"]) -> Float[Tensor, "*lead"]:
        """Return that a sprite is shown at its own size."""
        return torch.ones_like(parameters[..., 0])

    def moved(self, parameters: Tensor, shift: tuple[float, float], factor: float) -> Tensor:
        """Return parameters (..., 2) for a sprite shifted by (x, y) image sizes."""
        if factor != 1:
            raise DtisError("scale: this model's objects have one size; it can only be 1")
        return super().moved(F.pad(parameters, (1, 0)), shift, 1.0)[..., 1:]


class Rotation(Similarity):
    """`Similarity` without scale and shift, 1 parameter: a layer's placement has both."""

    size = 1

    def matrix(self, parameters: Tensor) -> Tensor:
        """Return the sampling matrix (N, 3, 3) on homogeneous (x, y, 1) for angles (N, 1)."""
        return super().matrix(F.pad(parameters, (0, 3)))


OURS = {
    "tint": Tint,
    "placement": Placement,
    "wide_placement": WidePlacement,
    "translation": Translation,
    "rotation": Rotation,
}
