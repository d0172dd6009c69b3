"""Sprites on their way through a sequence of transformations, and how their pixels are resampled.

Spatial transformations *sample*: an output pixel at y in [-1, 1] (image frame) reads the canvas at
`u(y)` in [-1, 1] (canvas frame), bilinearly. Axis-aligned ones are two small matrix products.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Canvas:
    """Images on their way through a sequence; leading axes broadcast (1 where shared).

    The support is a canvas of ones that goes through the same resampling: it says where the
    sprite's frame lies, for the mask noise and for colour offsets.

    pixels (B, L, K, C+1, h, w): colours, then the mask. support (B, L, K, 1, h, w) in [0, 1].
    gain, bias (B, L, K, C) or None: the pending colour map `gain * colour + bias * support`.
    """

    pixels: Float[Tensor, "B L K D h w"]
    support: Float[Tensor, "#B #L #K 1 h w"]
    gain: Tensor | None = None
    bias: Tensor | None = None
    padding: str = "zeros"

    @property
    def mask(self) -> Float[Tensor, "B L K 1 h w"]:
        """The last channel of the pixels."""
        return self.pixels[:, :, :, -1:]

    @property
    def colour(self) -> Float[Tensor, "B L K C h w"]:
        """The other channels, under the pending colour map."""
        colour = self.pixels[:, :, :, :-1]
        if self.gain is not None:
            colour = self.gain[..., None, None] * colour
        if self.bias is not None:
            colour = colour + self.bias[..., None, None] * self.support
        return colour


def pixel_centres(count: int, like: Tensor) -> Float[Tensor, "n"]:
    """Return the centres of `count` pixels that share [-1, 1]."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) * 2 + 1) / count - 1


def hat_matrix(
    coordinates: Float[Tensor, "*lead n"], count: int, padding: str = "zeros"
) -> Float[Tensor, "*lead n count"]:
    """Return bilinear weights: row i reads a line of `count` pixels at `coordinates[i]`.

    Coordinates are in [-1, 1] of the line; beyond it the weights fade to zero, or for a padding
    of "border" stay at the last pixel.
    """
    index = ((coordinates + 1) * count - 1) / 2
    if padding == "border":
        index = index.clamp(0, count - 1)
    pixels = torch.arange(count, dtype=index.dtype, device=index.device)
    return (1 - (index[..., None] - pixels).abs()).clamp(min=0)


def resample_separably(
    pixels: Float[Tensor, "b l K D h w"],
    rows: Float[Tensor, "B L k H h"],
    columns: Float[Tensor, "B L k W w"],
) -> Float[Tensor, "B L N D H W"]:
    """Return `rows @ pixels @ columns^T` for every canvas, N the larger of k and K.

    With weights shared by all sprites (k = 1) the sprites lie side by side in one large product
    per image and layer, and canvases shared by all images make the first product a single one.
    """
    if rows.shape[2] > 1:
        return rows.unsqueeze(3) @ pixels @ columns.unsqueeze(3).mT
    b, layers, K, D, h, w = pixels.shape
    B, L, _, H, _ = rows.shape
    side_by_side = pixels.permute(0, 1, 4, 2, 3, 5).reshape(b, layers, h, K * D * w)
    if b == layers == 1:
        side_by_side = side_by_side[0, 0]  # (h, K D w)
    moved = rows[:, :, 0] @ side_by_side  # (B, L, H, K D w)
    moved = moved.reshape(B, L, H * K * D, w) @ columns[:, :, 0].mT  # (B, L, H K D, W)
    return moved.reshape(B, L, H, K, D, -1).permute(0, 1, 3, 4, 2, 5)  # (B, L, K, D, H, W)


def identity_grid(size: tuple[int, int], like: Tensor) -> Float[Tensor, "H W 2"]:
    """Return the centres (x, y) of all pixels of an image of `size` (H, W), in [-1, 1]."""
    y, x = pixel_centres(size[0], like), pixel_centres(size[1], like)
    return torch.stack([x.expand(size), y[:, None].expand(size)], dim=-1)


def resample_at(canvas: Canvas, points: Float[Tensor, "B L k H W 2"]) -> Canvas:
    """Read the canvases at `points` (x, y) in [-1, 1] of their frame, bilinearly.

    Where points are shared by all sprites (k = 1) the sprites travel as channels of one image.
    """
    B, L, k, H, W, _ = points.shape
    K, D, h, w = canvas.pixels.shape[2:]
    support = canvas.support.expand(*canvas.pixels.shape[:3], 1, h, w)
    both = torch.cat([canvas.pixels, support], dim=3).expand(B, L, K, D + 1, h, w)
    both = both.reshape(B * L * k, (K // k) * (D + 1), h, w)
    grid = points.reshape(B * L * k, H, W, 2)
    moved = F.grid_sample(both, grid, padding_mode=canvas.padding, align_corners=False)
    moved = moved.reshape(B, L, K, D + 1, H, W)
    return replace(canvas, pixels=moved[:, :, :, :-1], support=moved[:, :, :, -1:])
