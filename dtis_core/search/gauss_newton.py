"""Gauss-Newton: a scene's parameters moved to where Eq. (5) is smaller, one layer after the other.

A layer has some ten parameters, and what it shows is nearly linear in a small change of them. So
the change that lowers the squared error most solves a small linear system, one for each image.
Derivatives are differences of renderings, which see across a hard edge where a gradient does not.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dtis_core.model.canvas import Canvas
from dtis_core.model.composition import (
    compose,
    rest_of_scene,
    squared_errors,
    visibilities,
)
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.search.windows import Windowed, placed, window_of

DIFFERENCE = 0.02  # of radians, logarithms of scales, half image sides
DAMPINGS = (1e-3, 3e-2, 0.5)  # shares of the diagonal that are added to it: each is tried
FLOOR = 1e-2  # a parameter's least weight in the damping, as a share of the strongest one's
LARGEST = 0.3  # change of a parameter at once

Linear = Float[Tensor, "B Q X"]
"""What Q parameters change in X numbers, per unit of each."""


def changes(derivatives: Linear, residual: Float[Tensor, "B X"]) -> Float[Tensor, "B V Q"]:
    """Return the changes of Q parameters that would remove a residual, one for each damping."""
    system, side = derivatives @ derivatives.mT, derivatives @ residual.unsqueeze(-1)
    diagonal = system.diagonal(dim1=1, dim2=2)
    weight = diagonal + FLOOR * diagonal.amax(dim=1, keepdim=True) + 1e-6  # (B, Q)
    damping = weight.new_tensor(DAMPINGS)[:, None] * weight[:, None]  # (B, V, Q)
    damped = system[:, None] + torch.diag_embed(damping)
    return torch.linalg.solve(damped, side[:, None]).squeeze(-1).clamp(-LARGEST, LARGEST)


def steps_of(count: int, like: Tensor) -> Float[Tensor, "N Q"]:
    """Return no step, then one along each of Q parameters."""
    steps = DIFFERENCE * torch.eye(count, dtype=like.dtype, device=like.device)
    return nn.functional.pad(steps, (0, 0, 1, 0))


@torch.no_grad()
def improved(
    model: DTISprites, images: Float[Tensor, "B C H W"], scene: Decomposition, rounds: int
) -> Decomposition:
    """Return the scene with parameters that lower its error, its selection as it is.

    Each round moves the background and then every layer once, the others fixed. No image's error
    is larger than it was.
    """
    search = _Improvement(model, images, scene)
    for _ in range(rounds):
        search.move_background()
        for layer in range(scene.selection.sprites.shape[1]):
            search.move_layer(layer)
    return search.scene()


class _Improvement:
    """A scene on its way: parameters of the chosen sprites, and what the layers show with them."""

    def __init__(self, model: DTISprites, images: Float[Tensor, "B C H W"], scene: Decomposition):
        self.model, self.images, self.start = model, images, scene
        self.below = min(model.config.backgrounds, 1)
        self.chosen = scene.selection.sprites
        self.image = torch.arange(len(images), device=images.device)
        first = (self.chosen - 1).clamp(min=0)  # of an empty layer any, for it shows nothing
        self.canvases = model.sprites.canvases()[first]  # (B, L, D, h, w)
        sprite = scene.prediction.sprite
        self.pick = first[:, :, None, None].expand(-1, -1, 1, sprite.shape[-1])
        self.sprite = sprite.gather(2, self.pick)[:, :, 0]  # (B, L, R)
        self.layer = scene.prediction.layer.clone()
        self.background = scene.prediction.background.clone()
        self.occlusion = model.below(scene.occlusion)
        self.alphas, self.colours = scene.alphas.clone(), scene.colours.clone()

    def scene(self) -> Decomposition:
        """Render what has been found."""
        prediction = self.start.prediction
        sprite = prediction.sprite.scatter(2, self.pick, self.sprite[:, :, None])
        prediction = replace(
            prediction, layer=self.layer, sprite=sprite, background=self.background
        )
        return self.model.render(prediction, self.start.occlusion, self.start.selection)

    def move_background(self) -> None:
        """Do one step on the parameters of the chosen background."""
        size = self.background.shape[-1]
        if not self.below or not size:
            return
        seen = visibilities(self.alphas, self.occlusion)[:, 0]
        residual = self.images - compose(self.alphas, self.colours, self.occlusion)
        now, *moved = (self._background(step) for step in steps_of(size, self.background))
        derivatives = [seen * (colours - now) / DIFFERENCE for colours in moved]
        found = changes(torch.stack(derivatives, dim=1).flatten(2), residual.flatten(1))
        tried = [now, *(self._background(change) for change in found.unbind(1))]
        errors = [squared_errors(residual, seen * (colours - now)) for colours in tried]
        best = torch.stack(errors, dim=1).argmin(dim=1)  # (B,)
        found = nn.functional.pad(found, (0, 0, 1, 0))
        self.background[self.image, self.start.selection.background] += found[self.image, best]
        self.colours[:, 0] = torch.stack(tried, dim=1)[self.image, best]

    def _background(self, step: Float[Tensor, "*B S"]) -> Float[Tensor, "B C H W"]:
        """Render the chosen background with its parameters changed by a step."""
        which = self.start.selection.background
        parameters = self.background.clone()
        parameters[self.image, which] += step
        return self.model.background_colours(parameters)[self.image, which]

    def move_layer(self, index: int) -> None:
        """Do one step on the parameters of a layer and of the sprite in it."""
        rest = rest_of_scene(self.alphas, self.colours, self.occlusion, self.below + index)
        layer, sprite, P = self.layer[:, index], self.sprite[:, index], self.layer.shape[-1]
        near = self._differences(index)
        window = near.window
        behind, hidden, seen = (window.cut(part)[:, None] for part in rest)
        added = near.alphas * (seen * near.colours - hidden)  # (B, 1 + Q, C, h, w)
        residual = window.cut(self.images) - behind[:, 0] - added[:, 0]
        derivatives = (added[:, 1:] - added[:, :1]) / DIFFERENCE
        found = changes(derivatives.flatten(2), residual.flatten(1))
        found = nn.functional.pad(found, (0, 0, 1, 0))  # (B, 1 + V, Q), first none
        layers, sprites = layer[:, None] + found[..., :P], sprite[:, None] + found[..., P:]
        tried = self._shown(self._warped(index, sprites), layers)
        cut = tried.window.cut
        rest = cut(rest[0]), cut(rest[1]), cut(rest[2])
        best = tried.errors(cut(self.images), rest).argmin(dim=1)
        self.layer[:, index] = layers[self.image, best]
        self.sprite[:, index] = sprites[self.image, best]
        alphas, colours = tried.chosen(best)
        there = (self.chosen[:, index] > 0).view(-1, 1, 1, 1)
        self.alphas[:, self.below + index] = 0
        tried.window.write(self.alphas[:, self.below + index], alphas * there)
        tried.window.write(self.colours[:, self.below + index], colours)

    def _differences(self, index: int) -> Windowed:
        """Render a layer as it is, and with each of its Q = P + R parameters moved a little.

        A sprite is warped once for all changes of the layer's parameters.
        """
        layer, sprite = self.layer[:, index], self.sprite[:, index]
        P, R = layer.shape[-1], sprite.shape[-1]
        canvas = self._warped(index, sprite[:, None] + steps_of(R, sprite))  # 1 + R of them
        own = (torch.arange(1 + P + R, device=layer.device) - P).clamp(min=0)
        steps = nn.functional.pad(steps_of(P, layer), (0, 0, 0, R))  # (1 + P + R, P)
        return self._shown(_taken(canvas, own), layer[:, None] + steps)

    def _warped(self, index: int, sprite: Float[Tensor, "B V R"]) -> Canvas:
        """Apply the sprite-specific transformations with V sets of parameters."""
        V = sprite.shape[1]
        canvases = self.canvases[:, index, None, None].expand(-1, -1, V, -1, -1, -1)
        canvas = Canvas(canvases, torch.ones_like(canvases[:, :, :, :1]))
        return self.model.sequences[1](canvas, sprite[:, None], self.model.active)

    def _shown(self, canvas: Canvas, layer: Float[Tensor, "B V P"]) -> Windowed:
        """Apply the layer's transformations with V sets of parameters."""
        window = window_of(self.model, layer)
        canvas = placed(self.model, canvas, layer, window)
        return Windowed(self.model.masks_of(canvas)[:, 0], canvas.colour[:, 0], window)


def _taken(canvas: Canvas, which: Int[Tensor, "V"]) -> Canvas:
    """Return canvases by their numbers."""

    def taken(part: Tensor | None) -> Tensor | None:
        return part if part is None or part.shape[2] == 1 else part[:, :, which]

    pixels, support = canvas.pixels[:, :, which], canvas.support[:, :, which]
    return replace(
        canvas, pixels=pixels, support=support, gain=taken(canvas.gain), bias=taken(canvas.bias)
    )
