"""Transformation modules and sequences (Sec. 3.1 Eq. 3, C.1, Table 6).

Each module is identity for zero parameters. Spatial modules *sample*: an output pixel at y in
[-1, 1] (image frame) reads the canvas at `u(y)` in [-1, 1] (canvas frame), bilinearly.

A `Canvas` carries the pixels of K sprites and a `support`, a canvas of ones that goes through the
same resampling: it says where the sprite's frame lies, for the mask noise and for colour offsets.
Colour modules are affine per channel, so they commute with resampling: a sequence keeps them
pending and applies them once, at the end, instead of on B x L copies of each sprite.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dtis_core.errors import DtisError, suggest

Parameters = Float[Tensor, "B L k P"]  # k = K for sprite-specific parameters, 1 for shared ones


@dataclass(frozen=True)
class Canvas:
    """Images on their way through a sequence; leading axes broadcast (1 where shared).

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


class Tint:
    """Scale each colour channel: C parameters, gains minus one. For objects lit without offset."""

    spatial = False

    def __init__(self, channels: int):
        self.channels = self.size = channels

    def __call__(self, canvas: Canvas, parameters: Parameters, _: tuple[int, int]) -> Canvas:
        """Apply the gains to the canvas's pending map."""
        gain = 1 + parameters[..., : self.channels]  # (B, L, k, C)
        return replace(
            canvas,
            gain=gain if canvas.gain is None else gain * canvas.gain,
            bias=None if canvas.bias is None else gain * canvas.bias,
        )

    def recoloured(self, parameters: Tensor, colour: tuple[float, ...]) -> Tensor:
        """Return parameters (..., P) that multiply a sprite's colours by `colour`."""
        changed = torch.zeros_like(parameters)
        changed[..., : self.channels] = parameters.new_tensor(colour) - 1
        return changed


class Colour(Tint):
    """Scale and shift each colour channel: 2C parameters, gains minus one, then offsets."""

    def __init__(self, channels: int):
        self.channels, self.size = channels, 2 * channels

    def __call__(self, canvas: Canvas, parameters: Parameters, _: tuple[int, int]) -> Canvas:
        """Apply the gains, then the offsets, to the canvas's pending map."""
        canvas = super().__call__(canvas, parameters, _)
        bias = parameters[..., self.channels :]  # (B, L, k, C)
        return replace(canvas, bias=bias if canvas.bias is None else bias + canvas.bias)


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


class Position:
    """Coarse placement: 3 parameters, log-scale s and the translation (x, y) (C.1).

    The sprite's frame fills `1 / (exp(s) + 1)` of the image, half of it at first and never all.
    Translations pass through tanh, so a sprite's centre cannot leave the image and lose its
    gradient for good.
    """

    spatial = True
    size = 3
    translation = slice(1, 3)

    def __init__(self, channels: int):
        pass

    def zoom(self, s: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> tuple:
        """Return sampling scales (y, x) for log-scale `s`, canvas (h, w) and image (H, W)."""
        return (torch.exp(s) + 1,) * 2

    def scaled(self, s: Tensor, factor: float) -> Tensor:
        """Return the log-scale that shows a sprite `factor` times larger, as far as it can."""
        zoom = (torch.exp(s) + 1) / factor
        return torch.log((zoom - 1).clamp(min=1e-3))

    def moved(self, parameters: Tensor, shift: tuple[float, float], factor: float) -> Tensor:
        """Return parameters (..., 3) for a sprite shifted by (x, y) image sizes and scaled."""
        centre = torch.tanh(parameters[..., 1:]) + 2 * parameters.new_tensor(shift)
        scale = self.scaled(parameters[..., :1], factor)
        return torch.cat([scale, torch.atanh(centre.clamp(-0.999, 0.999))], dim=-1)

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Place the canvases in images of `size` (H, W)."""
        h, w = canvas.pixels.shape[-2:]
        zoom_y, zoom_x = self.zoom(parameters[..., :1], (h, w), size)  # (B, L, k, 1)
        x, y = torch.tanh(parameters[..., 1:]).split(1, dim=-1)
        read_y = zoom_y * (pixel_centres(size[0], x) - y)  # (B, L, k, H)
        read_x = zoom_x * (pixel_centres(size[1], x) - x)  # (B, L, k, W)
        rows = hat_matrix(read_y, h, canvas.padding)  # (B, L, k, H, h)
        columns = hat_matrix(read_x, w, canvas.padding)
        return replace(
            canvas,
            pixels=resample_separably(canvas.pixels, rows, columns),
            support=resample_separably(canvas.support, rows, columns),
        )


class Placement(Position):
    """Our variant of `Position`: starts at the sprite's own size, and scales by at most 2.

    A sprite pixel covers one image pixel for s = 0, so that sprites can become exact copies of the
    objects.
    """

    def zoom(self, s: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> tuple:
        """Return sampling scales (y, x) for log-scale `s`, canvas (h, w) and image (H, W)."""
        scale = torch.exp(-math.log(2) * torch.tanh(s))
        return scale * size[0] / canvas[0], scale * size[1] / canvas[1]

    def scaled(self, s: Tensor, factor: float) -> Tensor:
        """Return the log-scale that shows a sprite `factor` times larger, as far as it can."""
        share = torch.tanh(s) + math.log(factor) / math.log(2)
        return torch.atanh(share.clamp(-0.999, 0.999))


class Translation(Placement):
    """Our variant for objects of one size: `Placement` without the scale, 2 parameters (x, y)."""

    size = 2
    translation = slice(0, 2)

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Place the canvases in images of `size` (H, W)."""
        return super().__call__(canvas, F.pad(parameters, (1, 0)), size)

    def moved(self, parameters: Tensor, shift: tuple[float, float], factor: float) -> Tensor:
        """Return parameters (..., 2) for a sprite shifted by (x, y) image sizes."""
        if factor != 1:
            raise DtisError("scale: this model's objects have one size; it can only be 1")
        return super().moved(F.pad(parameters, (1, 0)), shift, 1.0)[..., 1:]


class GridTransformation:
    """A spatial module that samples along a grid; subclasses say where each output pixel reads."""

    spatial = True
    size: int

    def __init__(self, channels: int):
        pass

    def grid(self, parameters: Tensor, size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
        """Return sampling points (x, y) in [-1, 1] for parameters (N, P)."""
        raise NotImplementedError

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Sample the canvases onto `size` (H, W)."""
        B, L, k, P = parameters.shape
        K, D, h, w = canvas.pixels.shape[2:]
        support = canvas.support.expand(*canvas.pixels.shape[:3], 1, h, w)
        both = torch.cat([canvas.pixels, support], dim=3).expand(B, L, K, D + 1, h, w)
        grid = self.grid(parameters.reshape(B * L * k, P), size)  # (N, H, W, 2)
        # Where parameters are shared by all sprites, the sprites travel as channels of one image.
        both = both.reshape(B * L * k, (K // k) * (D + 1), h, w)
        moved = F.grid_sample(both, grid, padding_mode=canvas.padding, align_corners=False)
        moved = moved.reshape(B, L, K, D + 1, *size)
        return replace(canvas, pixels=moved[:, :, :, :-1], support=moved[:, :, :, -1:])


def identity_grid(size: tuple[int, int], like: Tensor) -> Float[Tensor, "H W 2"]:
    """Return the centres (x, y) of all pixels of an image of `size` (H, W), in [-1, 1]."""
    y, x = pixel_centres(size[0], like), pixel_centres(size[1], like)
    return torch.stack([x.expand(size), y[:, None].expand(size)], dim=-1)


class Projective(GridTransformation):
    """Homography: 8 parameters added to the first 8 entries of the 3x3 identity."""

    size = 8

    def matrix(self, parameters: Tensor) -> Float[Tensor, "N 3 3"]:
        """Return the sampling matrix on homogeneous (x, y, 1) for parameters (N, P)."""
        entries = F.pad(parameters, (0, 9 - parameters.shape[1]))
        return torch.eye(3, dtype=entries.dtype, device=entries.device) + entries.view(-1, 3, 3)

    def grid(self, parameters: Tensor, size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
        """Return sampling points (x, y) in [-1, 1] for parameters (N, P)."""
        points = F.pad(identity_grid(size, parameters), (0, 1), value=1.0)  # (H, W, 3)
        moved = torch.einsum("nij,hwj->nhwi", self.matrix(parameters), points)
        depth = moved[..., 2:]
        # Points at or behind the horizon would flip or blow up: keep them far in front instead.
        return moved[..., :2] / depth.clamp(min=0.1)


class Affine(Projective):
    """Affine map: 6 parameters added to the 2x3 identity, row by row."""

    size = 6


class Similarity(Projective):
    """Rotation, isotropic scale and translation: 4 parameters, angle, log-scale, x, y (C.1)."""

    size = 4

    def matrix(self, parameters: Tensor) -> Float[Tensor, "N 3 3"]:
        """Return the sampling matrix on homogeneous (x, y, 1) for parameters (N, 4)."""
        angle, log_scale, x, y = parameters.unbind(dim=1)
        scale = torch.exp(-log_scale)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        rows = [cos, sin, -x, -sin, cos, -y, zero, zero, one]
        return torch.stack(rows, dim=1).view(-1, 3, 3)


class ThinPlateSpline(GridTransformation):
    """Elastic map: displacements (x, y) of a 4x4 grid of control points, 32 parameters."""

    per_side = 4
    size = 2 * per_side**2

    def weights(self, size: tuple[int, int], like: Tensor) -> Float[Tensor, "H W n"]:
        """Return the influence of each of the n control points on each pixel.

        The spline that interpolates the displacements is linear in them: solve once for unit
        displacements with the kernel `r^2 log r^2` and an affine part.
        """
        side = torch.linspace(-1, 1, self.per_side, dtype=torch.float64)
        control = torch.cartesian_prod(side, side).flip(1)  # (n, 2) as (x, y)
        n = len(control)

        def basis(points: Tensor) -> Tensor:
            squared = (points[:, None] - control).square().sum(-1)
            kernel = squared * torch.log(squared.clamp(min=1e-12))
            return torch.cat([kernel, torch.ones(len(points), 1), points], dim=1)  # (points, n+3)

        system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
        system[:n] = basis(control)
        system[n:, :n] = system[:n, n:].T
        solution = torch.linalg.solve(system, torch.eye(n + 3, n, dtype=torch.float64))
        grid = identity_grid(size, side).reshape(-1, 2)  # (H W, 2)
        return (basis(grid) @ solution).to(like).view(*size, n)

    def grid(self, parameters: Tensor, size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
        """Return sampling points (x, y) in [-1, 1] for parameters (N, 32)."""
        displacements = parameters.view(len(parameters), -1, 2)  # (N, n, 2)
        field = torch.einsum("hwc,ncd->nhwd", self.weights(size, parameters), displacements)
        return identity_grid(size, parameters) + field


class Morphological:
    """Soft dilation or erosion, the extra module of DTI-Clustering: 1 + 7x7 parameters.

    The first parameter a sharpens a weighted mean towards the largest (a > 0) or the smallest
    (a < 0) value under the kernel; the others are added to a kernel that keeps only its centre.
    """

    spatial = True
    kernel = 7
    size = 1 + kernel**2

    def __init__(self, channels: int):
        pass

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Thicken or thin the canvases, which keep their size; `size` must be theirs."""
        B, L, k, P = parameters.shape
        K, D, h, w = canvas.pixels.shape[2:]
        # The mean is not linear: pending colours first.
        parts = [part.expand(B, L, K, -1, h, w) for part in (canvas.colour, canvas.mask)]
        pixels = torch.cat(parts, dim=3).reshape(B * L * K, D, h, w)
        patches = F.unfold(pixels, self.kernel, padding=self.kernel // 2)
        patches = patches.view(B, L, K, D, self.kernel**2, h * w)
        centre = torch.zeros(self.kernel**2, dtype=pixels.dtype, device=pixels.device)
        centre[self.kernel**2 // 2] = 1
        kernel = (centre + parameters[..., 1:]).clamp(0, 1)[..., None, :, None]  # (B,L,k,1,n,1)
        sharpness = parameters[..., :1, None, None]  # (B, L, k, 1, 1, 1)
        weights = kernel * torch.exp(sharpness * patches)
        mean = (weights * patches).sum(4) / weights.sum(4).clamp(min=1e-6)  # (B, L, K, D, h w)
        return replace(canvas, pixels=mean.view(B, L, K, D, h, w), gain=None, bias=None)


TRANSFORMATIONS = {
    "colour": Colour,
    "tint": Tint,
    "position": Position,
    "placement": Placement,
    "translation": Translation,
    "similarity": Similarity,
    "affine": Affine,
    "projective": Projective,
    "tps": ThinPlateSpline,
    "morphological": Morphological,
}


class Sequence:
    """Modules applied one after the other, with their parameters side by side in one vector.

    `resize_to` (H, W) is where the last spatial module puts its result; None keeps the canvas size.
    Raises DtisError for a module that is unknown or occurs twice.
    """

    def __init__(self, names: list[str], channels: int, resize_to: tuple[int, int] | None):
        for name in names:
            if name not in TRANSFORMATIONS:
                raise DtisError(f"unknown transformation '{name}'{suggest(name, TRANSFORMATIONS)}")
            if names.count(name) > 1:
                raise DtisError(f"transformation '{name}' occurs twice in {names}; leave one out")
        self.names = list(names)
        self.modules = [TRANSFORMATIONS[name](channels) for name in names]
        self.resize_to = resize_to
        spatial = [i for i, module in enumerate(self.modules) if module.spatial]
        self.last_spatial = spatial[-1] if spatial else None
        ends = torch.tensor([0] + [module.size for module in self.modules]).cumsum(0).tolist()
        self.slices = {n: slice(a, b) for n, a, b in zip(names, ends, ends[1:], strict=False)}
        self.size = ends[-1]

    def __call__(self, canvas: Canvas, parameters: Parameters, active: frozenset | None) -> Canvas:
        """Transform a canvas; modules not in `active` (None: all) are left out (curriculum)."""
        for index, (name, module) in enumerate(zip(self.names, self.modules, strict=True)):
            size = tuple(canvas.pixels.shape[-2:])
            if self.resize_to and index == self.last_spatial:
                size = self.resize_to
            here = parameters[..., self.slices[name]]
            if active is not None and name not in active:
                if size == tuple(canvas.pixels.shape[-2:]):
                    continue
                here = torch.zeros_like(here)
            canvas = module(canvas, here, size)
        return canvas
