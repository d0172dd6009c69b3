"""Transformation modules and sequences (Sec. 3.1 Eq. 3, C.1, Table 6).

Each module but `Position` is identity for zero parameters. Colour modules are affine per channel,
so they commute with resampling: a sequence keeps them pending on its `Canvas` and applies them
once, at the end, instead of on B x L copies of each sprite.
"""

import math
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dtis_core.errors import DtisError, shown, suggest
from dtis_core.model.canvas import (
    Canvas,
    hat_matrix,
    identity_grid,
    pixel_centres,
    resample_at,
    resample_separably,
)

Parameters = Float[Tensor, "B L k P"]  # k = K for sprite-specific parameters, 1 for shared ones


class Colour:
    """Scale and shift each colour channel: 2C parameters, gains minus one, then offsets."""

    spatial = False

    def __init__(self, channels: int):
        self.channels, self.size = channels, 2 * channels

    def __call__(self, canvas: Canvas, parameters: Parameters, _: tuple[int, int]) -> Canvas:
        """Apply the gains, then the offsets, to the canvas's pending map."""
        canvas = self.scaled(canvas, parameters)
        bias = parameters[..., self.channels :]  # (B, L, k, C)
        return replace(canvas, bias=bias if canvas.bias is None else bias + canvas.bias)

    def scaled(self, canvas: Canvas, parameters: Parameters) -> Canvas:
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

    def frame(self, parameters: Parameters, canvas: tuple[int, int], size: tuple[int, int]) -> list:
        """Return where the sprite's frame lies, as centre and half extent for y, then for x.

        In [-1, 1] of images of `size` (H, W), shape (...,) each. Beyond it nothing is seen.
        """
        zooms = self.zoom(parameters[..., 0], canvas, size)
        x, y = torch.tanh(parameters[..., 1:]).unbind(dim=-1)
        sides = zip((y, x), zooms, canvas, strict=True)
        return [(centre, (1 + 1 / pixels) / zoom) for centre, zoom, pixels in sides]

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Place the canvases in images of `size` (H, W)."""
        y, x = (pixel_centres(side, parameters) for side in size)
        return self.seen_at(canvas, parameters, size, y, x)

    def seen_at(
        self,
        canvas: Canvas,
        parameters: Parameters,
        size: tuple[int, int],
        rows: Float[Tensor, "*B H"],
        columns: Float[Tensor, "*B W"],
    ) -> Canvas:
        """Place the canvases; return pixels at the centres of some rows and columns only."""
        h, w = canvas.pixels.shape[-2:]
        zoom_y, zoom_x = self.zoom(parameters[..., :1], (h, w), size)  # (B, L, k, 1)
        x, y = torch.tanh(parameters[..., 1:]).split(1, dim=-1)
        rows = hat_matrix(zoom_y * (rows - y), h, canvas.padding)  # (B, L, k, H, h)
        columns = hat_matrix(zoom_x * (columns - x), w, canvas.padding)
        return replace(
            canvas,
            pixels=resample_separably(canvas.pixels, rows, columns),
            support=resample_separably(canvas.support, rows, columns),
        )


class PointMap:
    """A spatial module given by where each point of its output reads in its input."""

    spatial = True
    size: int

    def __init__(self, channels: int):
        pass

    def points(
        self, parameters: Float[Tensor, "N P"], at: Float[Tensor, "#N H W 2"]
    ) -> Float[Tensor, "N H W 2"]:
        """Return the points (x, y) in [-1, 1] that the output reads at the points `at`."""
        raise NotImplementedError

    def __call__(self, canvas: Canvas, parameters: Parameters, size: tuple[int, int]) -> Canvas:
        """Sample the canvases onto `size` (H, W)."""
        return apply_maps(canvas, [(self, parameters)], parameters.shape[:3], size)


def apply_maps(
    canvas: Canvas,
    maps: list[tuple[PointMap, Tensor]],
    lead: tuple[int, ...],
    size: tuple[int, int],
) -> Canvas:
    """Transform by several maps of points, in order, and resample once onto `size` (H, W).

    Their composition is a map of points itself; resampling after each would blur the sprite.
    `lead` is (B, L, k), the leading axes of all parameters.
    """
    points = identity_grid(size, canvas.pixels)[None]  # (1, H, W, 2)
    for module, parameters in reversed(maps):
        points = module.points(parameters.flatten(0, 2), points)
    points = points.expand(math.prod(lead), *size, 2).view(*lead, *size, 2)  # (B, L, k, H, W, 2)
    return resample_at(canvas, points)


class Projective(PointMap):
    """Homography: 8 parameters added to the first 8 entries of the 3x3 identity."""

    size = 8

    def matrix(self, parameters: Tensor) -> Float[Tensor, "N 3 3"]:
        """Return the sampling matrix on homogeneous (x, y, 1) for parameters (N, P)."""
        entries = F.pad(parameters, (0, 9 - parameters.shape[1]))
        return torch.eye(3, dtype=entries.dtype, device=entries.device) + entries.view(-1, 3, 3)

    def points(
        self, parameters: Float[Tensor, "N P"], at: Float[Tensor, "#N H W 2"]
    ) -> Float[Tensor, "N H W 2"]:
        """Return the points (x, y) in [-1, 1] that the output reads at the points `at`."""
        matrix = self.matrix(parameters).mT[:, None]  # (N, 1, 3, 3)
        moved = F.pad(at, (0, 1), value=1.0) @ matrix  # (N, H, W, 3)
        depth = moved[..., 2:]
        # Points at or behind the horizon would flip or blow up: keep them far in front instead.
        return moved[..., :2] / depth.clamp(min=0.1)


class Affine(Projective):
    """Affine map: 6 parameters added to the 2x3 identity, row by row."""

    size = 6


class Similarity(Projective):
    """Rotation, isotropic scale and translation: 4 parameters, angle, log-scale, x, y (C.1)."""

    size = 4
    angle = 0  # which of them it is

    def matrix(self, parameters: Tensor) -> Float[Tensor, "N 3 3"]:
        """Return the sampling matrix on homogeneous (x, y, 1) for parameters (N, 4)."""
        angle, log_scale, x, y = parameters.unbind(dim=1)
        scale = torch.exp(-log_scale)
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        rows = [cos, sin, -x, -sin, cos, -y, zero, zero, one]
        return torch.stack(rows, dim=1).view(-1, 3, 3)


class ThinPlateSpline(PointMap):
    """Elastic map: displacements (x, y) of a 4x4 grid of control points, 32 parameters."""

    per_side = 4
    size = 2 * per_side**2

    def points(
        self, parameters: Float[Tensor, "N P"], at: Float[Tensor, "#N H W 2"]
    ) -> Float[Tensor, "N H W 2"]:
        """Return the points (x, y) in [-1, 1] that the output reads at the points `at`."""
        displacements = parameters.view(len(parameters), -1, 2)  # (N, n, 2)
        influence = spline_basis(at, self.per_side) @ spline_weights(self.per_side).to(at)
        return at + torch.einsum("nhwc,ncd->nhwd", influence, displacements)


def spline_basis(points: Float[Tensor, "*lead 2"], side: int) -> Float[Tensor, "*lead basis"]:
    """Return `r^2 log r^2` of the distance to each of side^2 control points, then 1, x and y."""
    line = torch.linspace(-1, 1, side, dtype=points.dtype, device=points.device)
    control = torch.cartesian_prod(line, line).flip(1)  # (n, 2) as (x, y), row by row
    squared = (points.unsqueeze(-2) - control).square().sum(-1)  # (*lead, n)
    kernel = squared * torch.log(squared.clamp(min=1e-12))
    return torch.cat([kernel, torch.ones_like(points[..., :1]), points], dim=-1)


@lru_cache(maxsize=8)
def spline_weights(side: int) -> Float[Tensor, "basis n"]:
    """Return the coefficients of the n splines that displace one control point by 1, others not.

    A spline that interpolates displacements is linear in them.
    """
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    control = torch.cartesian_prod(line, line).flip(1)
    n = len(control)
    system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    system[:n] = spline_basis(control, side)
    system[n:, :n] = system[:n, n:].T
    return torch.linalg.solve(system, torch.eye(n + 3, n, dtype=torch.float64))


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


TRANSFORMATIONS: dict[str, type] = {
    "colour": Colour,
    "position": Position,
    "similarity": Similarity,
    "affine": Affine,
    "projective": Projective,
    "tps": ThinPlateSpline,
    "morphological": Morphological,
}
"""By name; ours, in search/, join when they are imported."""


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
                raise DtisError(
                    f"transformation '{name}' occurs twice in {shown(names)}; leave one out"
                )
        self.names = list(names)
        self.modules = [TRANSFORMATIONS[name](channels) for name in names]
        self.resize_to = resize_to
        spatial = [i for i, module in enumerate(self.modules) if module.spatial]
        self.last_spatial = spatial[-1] if spatial else None
        ends = torch.tensor([0] + [module.size for module in self.modules]).cumsum(0).tolist()
        self.slices = {n: slice(a, b) for n, a, b in zip(names, ends, ends[1:], strict=False)}
        self.size = ends[-1]
        # Neighbouring maps of points make one group.
        index = range(len(names))
        groups = groupby(index, lambda i: -1 if isinstance(self.modules[i], PointMap) else i)
        self.groups = [list(group) for _, group in groups]

    def own(self, parameters: Parameters, index: int) -> Float[Tensor, "B L k Q"]:
        """Return the parameters of the module at `index`."""
        return parameters[..., self.slices[self.names[index]]]

    def __call__(self, canvas: Canvas, parameters: Parameters, active: frozenset | None) -> Canvas:
        """Transform a canvas; modules not in `active` (None: all) are left out (curriculum)."""
        for group in self.groups:
            h, w = canvas.pixels.shape[-2:]
            size = self.resize_to if self.resize_to and self.last_spatial in group else (h, w)
            used = [i for i in group if active is None or self.names[i] in active]
            if not used and size == (h, w):
                continue
            if isinstance(self.modules[group[0]], PointMap):
                maps = [(self.modules[i], self.own(parameters, i)) for i in used]
                canvas = apply_maps(canvas, maps, parameters.shape[:3], size)
            else:
                values = self.own(parameters, group[0])
                values = values if used else torch.zeros_like(values)
                canvas = self.modules[group[0]](canvas, values, size)
        return canvas
