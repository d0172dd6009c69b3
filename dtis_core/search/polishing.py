"""Polishing: a found scene's parameters improved by gradient steps on that scene's own error.

The predictor guesses all parameters in one pass; what it misses, a turn of some degrees or half a
pixel, blurs the error that selection compares, so that a second sprite seems worth its penalty
where the first lies badly. From a good guess the error's own gradient leads to the minimum: no
encoder runs, and the sprites stay as they are.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model.composition import rest_of_scene, squared_errors
from dtis_core.model.dti_sprites import Decomposition, DTISprites

ROUND = 30  # steps, before layers that have become idle are emptied
RATE = 0.02  # Adam's first step; parameters are radians, logarithms of scales, half image sides
PARTS = ("layer", "sprite", "background")


def polished(
    model: DTISprites, images: Float[Tensor, "B C H W"], scene: Decomposition, steps: int
) -> Decomposition:
    """Return the scene after `steps` steps on its parameters, idle layers emptied now and then.

    No image's objective, Eq. (5), is worse than it was.
    """
    for done in range(0, steps, ROUND):
        scene = improved(model, images, scene, min(ROUND, steps - done))
        if model.config.empty_sprite:
            scene = without_idle_layers(model, images, scene)
    return scene


def improved(
    model: DTISprites,
    images: Float[Tensor, "B C H W"],
    scene: Decomposition,
    steps: int,
) -> Decomposition:
    """Return the scene with parameters that lower its error, its selection as it is.

    Adam's steps shrink to 0 along a half cosine. An image whose error they did not lower keeps its
    parameters. Without gradient.
    """
    found = {name: getattr(scene.prediction, name).detach() for name in PARTS}
    found = {name: part for name, part in found.items() if part.numel()}
    moved = {name: part.clone().requires_grad_() for name, part in found.items()}
    adam = torch.optim.Adam(moved.values(), lr=RATE)
    with torch.enable_grad():
        for step in range(steps):
            adam.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
            error = _rendered(model, scene, moved).errors(images).sum()
            gradients = torch.autograd.grad(error, list(moved.values()))
            for part, gradient in zip(moved.values(), gradients, strict=True):
                part.grad = gradient
            adam.step()
    with torch.no_grad():
        after = _rendered(model, scene, moved).errors(images)
        better = after < scene.errors(images)  # (B,)
        kept = {
            name: torch.where(better.view(-1, *[1] * (part.dim() - 1)), moved[name], part)
            for name, part in found.items()
        }  # (B, ...)
        return _rendered(model, scene, kept)


def _rendered(model: DTISprites, scene: Decomposition, parts: dict[str, Tensor]) -> Decomposition:
    """Render the scene's selection from other parameters."""
    return model.render(replace(scene.prediction, **parts), scene.occlusion, scene.selection)


@torch.no_grad()
def without_idle_layers(
    model: DTISprites, images: Float[Tensor, "B C H W"], scene: Decomposition
) -> Decomposition:
    """Return the scene with layers emptied as long as Eq. (5) is smaller without one of them.

    Of each image the layer goes first whose going lowers the objective most.
    """
    L, below = model.config.layers, min(model.config.backgrounds, 1)
    occlusion, penalty = model.below(scene.occlusion), model.config.penalty
    alphas, sprites = scene.alphas.clone(), scene.selection.sprites.clone()
    present = scene.objectives(images, penalty)
    every = torch.arange(len(images), device=images.device)
    for _ in range(L):
        objectives = []
        for layer in range(L):
            without = rest_of_scene(alphas, scene.colours, occlusion, below + layer)[0]
            used = (sprites > 0).sum(dim=1) - 1
            objective = squared_errors(images, without) + penalty * used
            objectives.append(torch.where(sprites[:, layer] > 0, objective, torch.inf))
        best, layer = torch.stack(objectives, dim=1).min(dim=1)
        goes = best < present
        if not goes.any():
            break
        alphas[every[goes], below + layer[goes]] = 0
        sprites[every[goes], layer[goes]] = 0
        present = torch.where(goes, best, present)
    selection = replace(scene.selection, sprites=sprites)
    return model.render(scene.prediction, scene.occlusion, selection)
