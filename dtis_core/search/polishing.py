"""Polishing: a found scene's parameters improved on that scene's own error.

The predictor guesses all parameters in one pass; what it misses, a turn of some degrees or half a
pixel, blurs the error that selection compares, so that a second sprite seems worth its penalty
where the first lies badly. From a good guess a few steps of Gauss-Newton lead to the minimum: no
encoder runs, and the sprites stay as they are.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model.composition import rest_of_scene, squared_errors
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.search.gauss_newton import improved

ROUND = 4  # steps, before layers that have become idle are emptied


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
