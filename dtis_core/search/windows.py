"""Windows: candidates are rendered and compared where their layer can be seen, and nowhere else.

Where a layer is placed by a `Position` or one of its kind, its frame is a box in the image. Outside
of it no candidate shows anything, so the error there is that of the rest of the scene.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.model.canvas import Canvas, pixel_centres
from dtis_core.model.composition import Rest
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.selection import Candidates, candidate_errors
from dtis_core.model.transformations import Position

MULTIPLE = 4  # sides are rounded up to one, so that few sizes of arrays occur


@dataclass(frozen=True)
class Window:
    """Boxes of one size (h, w) in images of `image` (H, W); their first rows and columns (B,)."""

    top: Int[Tensor, "B"]
    left: Int[Tensor, "B"]
    size: tuple[int, int]
    image: tuple[int, int]

    @classmethod
    def whole(
        cls, batch: int, image: tuple[int, int], device: torch.device | None = None
    ) -> "Window":
        """Return the boxes that are the whole images."""
        zero = torch.zeros(batch, dtype=torch.long, device=device)
        return cls(zero, zero, image, image)

    @property
    def share(self) -> float:
        """The boxes' share of the images' area."""
        return self.size[0] * self.size[1] / (self.image[0] * self.image[1])

    @cached_property
    def pixels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the boxes' images, rows and columns, which broadcast to (B, h, w)."""
        height, width = (torch.arange(side, device=self.top.device) for side in self.size)
        image = torch.arange(len(self.top), device=self.top.device)[:, None, None]
        rows = (self.top[:, None] + height)[:, :, None]
        return image, rows, (self.left[:, None] + width)[:, None]

    def centres(self, like: Tensor) -> tuple[Float[Tensor, "B h"], Float[Tensor, "B w"]]:
        """Return the centres of rows and columns, in [-1, 1] of the image."""
        _, rows, columns = self.pixels
        y, x = (pixel_centres(side, like) for side in self.image)
        return y[rows[:, :, 0]], x[columns[:, 0]]

    def cut(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Cut the boxes out of images."""
        if self.size == self.image:
            return images
        image, rows, columns = self.pixels
        return images[image, :, rows, columns].movedim(3, 1).contiguous()

    def write(self, images: Float[Tensor, "B C H W"], boxes: Float[Tensor, "B C h w"]) -> None:
        """Write boxes into images."""
        if self.size == self.image:
            images.copy_(boxes)
            return
        image, rows, columns = self.pixels
        images[image, :, rows, columns] = boxes.movedim(1, 3)


def _placement(
    model: DTISprites, layer: Float[Tensor, "B V P"]
) -> tuple[Position, Float[Tensor, "B 1 V Q"]] | None:
    """Return the module that places a layer, and its parameters, if nothing else moves a layer.

    They are zero until the curriculum reaches the module.
    """
    sequence = model.sequences[0]
    spatial = [i for i, module in enumerate(sequence.modules) if module.spatial]
    if len(spatial) != 1 or not isinstance(sequence.modules[spatial[0]], Position):
        return None
    values = sequence.own(layer.unsqueeze(1), spatial[0])
    if model.active is not None and sequence.names[spatial[0]] not in model.active:
        values = torch.zeros_like(values)
    return sequence.modules[spatial[0]], values


def window_of(model: DTISprites, layer: Float[Tensor, "B V P"]) -> Window:
    """Return the boxes in which a layer can be seen, whichever of V sets of parameters it has.

    They are the whole images, if a layer is not just placed, or at no finite place: there the loss
    tells that it is not finite.
    """
    image, placement = model.config.image_size, _placement(model, layer)
    if placement is None:
        return Window.whole(len(layer), image, layer.device)
    module, values = placement
    starts, sizes = [], []
    frame = module.frame(values, model.config.sprite_size, image)  # for y, then x
    for (centre, half), side in zip(frame, image, strict=True):
        low = ((centre - half).amin(dim=(1, 2)) + 1) * side / 2  # (B,) in pixels
        high = ((centre + half).amax(dim=(1, 2)) + 1) * side / 2
        extent = float((high - low).amax())
        if not math.isfinite(extent):
            return Window.whole(len(layer), image, layer.device)
        size = math.ceil(extent) + 1
        size = min(side, -(-size // MULTIPLE) * MULTIPLE)
        starts.append(((low + high - size) / 2).round().long().clamp(0, side - size))
        sizes.append(size)
    return Window(starts[0], starts[1], (sizes[0], sizes[1]), image)


def placed(
    model: DTISprites, canvas: Canvas, layer: Float[Tensor, "B V P"], window: Window
) -> Canvas:
    """Apply the layer's transformations to canvases (b, 1, N, D, h, w) as its window shows them.

    There are as many sets of parameters as canvases, or one for all.
    """
    sequence, placement = model.sequences[0], _placement(model, layer)
    layer = layer.unsqueeze(1)  # (B, 1, V, P)
    if placement is None:
        return sequence(canvas, layer, model.active)
    y, x = (centres[:, None, None] for centres in window.centres(layer))  # (B, 1, 1, h or w)
    for index, (name, module) in enumerate(zip(sequence.names, sequence.modules, strict=True)):
        if module is placement[0]:
            canvas = module.seen_at(canvas, placement[1], window.image, y, x)
        elif model.active is None or name in model.active:
            canvas = module(canvas, sequence.own(layer, index), window.image)
    return canvas


@dataclass(frozen=True)
class Windowed:
    """N candidates for a layer: what they show in a window of each image."""

    alphas: Float[Tensor, "B N 1 h w"]
    colours: Float[Tensor, "B N C h w"]
    window: Window

    def errors(self, inside: Float[Tensor, "B C h w"], rest: Rest) -> Float[Tensor, "B N"]:
        """Return `candidate_errors` in the window; images and rest are cut to it."""
        return candidate_errors(inside, rest, (self.alphas, self.colours))

    def whole(self) -> Candidates:
        """Return the candidates on whole images."""
        (B, N, C), (H, W) = self.colours.shape[:3], self.window.image
        alphas, colours = (self.colours.new_zeros(B, N * c, H, W) for c in (1, C))
        self.window.write(alphas, self.alphas.flatten(1, 2))
        self.window.write(colours, self.colours.flatten(1, 2))
        return alphas.unflatten(1, (N, 1)), colours.unflatten(1, (N, C))

    def chosen(self, n: Int[Tensor, "B"]) -> tuple[Tensor, Tensor]:
        """Return the alphas (B, 1, h, w) and colours (B, C, h, w) of candidate n, from 0."""
        image = torch.arange(len(n), device=n.device)
        return self.alphas[image, n], self.colours[image, n]
