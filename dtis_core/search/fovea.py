"""The fovea: the attended place, seen at full resolution, and then again as large as it is.

Attended features tell what is where to half a pixel, and an angle hardly at all. Here a crop around
the place is read anew: of what image and rest differ in, which is the object that is missing. It
tells every parameter, an angle as vectors at several harmonics: modulo a sprite's own symmetry a
number for it would have to jump somewhere, and no network learns that. Further glances go where
the ones before lead: there the object fills the crop, be it small or large, and what was read is
corrected.
"""

import math
import warnings
from collections.abc import Callable
from collections.abc import Sequence as Numbers
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.model.canvas import pixel_centres

SIDE = 24  # samples of a crop
REACH = 1.3  # of a crop, in sprite sizes
FEATURES = 128
GLANCES = 3  # a third one corrects what the second left, by the same network
OFFSET = 0.2  # half image sides that an output of 1 moves the centre, for a sprite of its own size
DIFFERENCE_GAIN, IMAGE_GAIN = 4.0, 2.0  # bring both near unit variance


class Reading(NamedTuple):
    """What a glance reads for N images.

    layer (N, P): the layer's parameters, but for the translation an offset from the crop's centre;
    sprite (N, K, R); vectors (N, K, h, 2): each sprite's angle at h harmonics.
    """

    layer: Float[Tensor, "N P"]
    sprite: Float[Tensor, "N K R"]
    vectors: Float[Tensor, "N K h 2"]


class Estimate(NamedTuple):
    """What is known of a layer after a glance.

    place (N, 2): its centre (x, y), in half image sides; unit (N,): half image sides that an offset
    of 1 meant; layer (N, P): its parameters, but for the place, which are 0; sprite, vectors: see
    `Reading`.
    """

    place: Float[Tensor, "N 2"]
    unit: Float[Tensor, "N"]
    layer: Float[Tensor, "N P"]
    sprite: Float[Tensor, "N K R"]
    vectors: Float[Tensor, "N K h 2"]


class Glance(nn.Module):
    """Reads crops of `reach` (x, y) half image sides; for P, R parameters and h harmonics."""

    def __init__(
        self, channels: int, sprites: int, sizes: tuple[int, int, int], reach: tuple[float, float]
    ):
        super().__init__()
        self.reach, self.sprites = reach, sprites
        layer, self.sprite_size, harmonics = sizes
        self.convolutions = nn.Sequential(
            nn.Conv2d(2 * channels, 32, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64 * (SIDE // 4) ** 2, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.layer = nn.Linear(FEATURES, layer)
        self.each = self.sprite_size + 2 * harmonics  # numbers for each sprite
        with warnings.catch_warnings():  # where sprites have no parameters of their own
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.sprite = nn.Linear(FEATURES, sprites * self.each)

    def forward(
        self,
        both: Float[Tensor, "N D H W"],
        centre: Float[Tensor, "N 2"],
        size: Float[Tensor, "N"],
    ) -> Reading:
        """Read images of D = 2C channels around centres (x, y) in [-1, 1], `size` times as far."""
        line = pixel_centres(SIDE, both)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)  # (s, s, 2)
        reach = size[:, None] * size.new_tensor(self.reach)  # (N, 2)
        points = centre[:, None, None] + grid * reach[:, None, None]  # (N, s, s, 2)
        crops = nn.functional.grid_sample(both, points, padding_mode="border", align_corners=False)
        features = self.convolutions(crops)
        sprite = self.sprite(features).unflatten(1, (self.sprites, self.each))  # (N, K, R + 2 h)
        vectors = sprite[..., self.sprite_size :].unflatten(-1, (-1, 2))
        return Reading(self.layer(features), sprite[..., : self.sprite_size], vectors)


class Fovea(nn.Module):
    """Glances, each where and as large as the one before read; all but the first by one network.

    `at` is where a layer's parameters hold its translation, `enlargement` tells of them how many
    times its own size a sprite is shown at.
    """

    def __init__(
        self, glances: tuple[Glance, Glance], at: slice, enlargement: Callable[[Tensor], Tensor]
    ):
        super().__init__()
        self.glances = nn.ModuleList(glances)
        self.at, self.enlargement = at, enlargement
        self.in_use = True  # but not before it has learned to read

    def get_extra_state(self) -> Tensor:
        """Return what is kept beside the weights: whether a run has come to use it."""
        return torch.tensor(self.in_use)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what `get_extra_state` returned."""
        self.in_use = bool(state)

    @property
    def networks(self) -> list[Glance]:
        """The network of the first glance, and that of all others."""
        return [glance for glance in self.glances if isinstance(glance, Glance)]

    def keep_sprites(self, count: int) -> None:
        """Say that only so many sprites are left."""
        for network in self.networks:
            network.sprites = count

    def forward(
        self,
        images: Float[Tensor, "N C H W"],
        rest: Float[Tensor, "N C H W"],
        place: Float[Tensor, "N 2"],
    ) -> list[Estimate]:
        """Read images beside the rest of the scene, from places (x, y) in [-1, 1] on.

        No gradient goes through where the crops are.
        """
        both = torch.cat([DIFFERENCE_GAIN * (images - rest), IMAGE_GAIN * (images - 0.5)], dim=1)
        size, layer, estimates = torch.ones_like(place[:, 0]), place.new_zeros(()), []
        for number in range(GLANCES):
            reading = self.networks[min(number, 1)](both, place.detach(), size)
            place = place + OFFSET * size[:, None] * reading.layer[:, self.at]
            kept = torch.ones_like(reading.layer)
            kept[:, self.at] = 0
            layer = layer + kept * reading.layer
            estimates.append(Estimate(place, OFFSET * size, layer, *reading[1:]))
            size = self.enlargement(layer.detach())
        return estimates


def vectors_of(
    angle: Float[Tensor, "*lead"], harmonics: Numbers[int]
) -> Float[Tensor, "*lead h 2"]:
    """Return the unit vectors (cos m a, sin m a) of angles a at each harmonic m."""
    turned = angle.unsqueeze(-1) * angle.new_tensor(harmonics)
    return torch.stack([torch.cos(turned), torch.sin(turned)], dim=-1)


def angles_of(
    vectors: Float[Tensor, "*lead h 2"], harmonics: Numbers[int]
) -> Float[Tensor, "*lead T"]:
    """Return the angles that vectors at each harmonic m leave open, m of them: T in all."""
    directions = torch.atan2(vectors[..., 1], vectors[..., 0])  # (..., h)
    each = [directions[..., :0]]
    for index, m in enumerate(harmonics):
        turns = 2 * math.pi * torch.arange(m, dtype=vectors.dtype, device=vectors.device)
        each.append((directions[..., index, None] + turns) / m)
    return torch.cat(each, dim=-1)
