"""Views: the search begun anew in quarter turns of the image, and the best scene kept.

Algorithm 1 takes the best sprite of the moment, and what that spoils no later step need mend: two
objects that overlap, taken for one, stay one. Turned, the same image is another one to the
predictor, with other mistakes. A turned scene is a scene, its parameters turned; and Eq. (5) tells
which of several is the best. The paper names reconstructions with different discrete rotations as
a cure for wrong turns of sprites (Sec. 4.1); here the whole image is turned, at inference.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.model.predictor import Prediction
from dtis_core.model.transformations import Position, Similarity
from dtis_core.search.nested import combined
from dtis_core.search.polishing import ROUND, polished


def best_of_views(
    model: DTISprites, images: Float[Tensor, "B C H W"], steps: int, polish: int, views: int
) -> Decomposition:
    """Decompose images in the first `views` quarter turns; return each image's best scene.

    `steps` is T of Algorithm 1, `polish` the number of steps on what was found: the first
    round of them on what each view found, for comparison, and the others on the best.
    """
    first = min(polish, ROUND)

    def found(quarters: int) -> Decomposition:
        view = torch.rot90(images, quarters, (2, 3))
        with torch.no_grad():
            scene = model(view, steps=steps)
        return turned(model, polished(model, view, scene, first), -quarters)

    best = found(0)
    for quarters in range(1, views):
        best = better_of(model, images, found(quarters), best)
    return polished(model, images, best, polish - first)


@torch.no_grad()
def better_of(
    model: DTISprites,
    images: Float[Tensor, "B C H W"],
    new: Decomposition,
    old: Decomposition,
) -> Decomposition:
    """Return of each image the scene of smaller objective, Eq. (5); of equals the old one."""
    penalty = model.config.penalty
    better = new.objectives(images, penalty) < old.objectives(images, penalty)

    def chosen(pair: Sequence[Tensor]) -> Tensor:
        return torch.where(better.view(-1, *[1] * (pair[0].dim() - 1)), *pair)  # (B, ...)

    return combined(chosen, (new, old))


@torch.no_grad()
def turned(model: DTISprites, scene: Decomposition, quarters: int) -> Decomposition:
    """Return scenes turned by quarters, anticlockwise, as `torch.rot90` turns their images.

    Backgrounds stay as they are: they are of one colour, or else the turned scene will be worse.
    """
    if quarters % 4 == 0:
        return scene
    prediction = turned_parameters(model, scene.prediction, quarters)
    return model.render(prediction, scene.occlusion, scene.selection)


def turned_parameters(model: DTISprites, prediction: Prediction, quarters: int) -> Prediction:
    """Turn parameters, from the image inwards: places go round, until a similarity takes the turn.

    The configuration's checks see to it that there is one.
    """
    parameters = [prediction.layer.clone(), prediction.sprite.clone()]  # (B, L, P), (B, L, K, R)
    for sequence, values in zip(model.sequences[:2], parameters, strict=True):
        for name, module in reversed(list(zip(sequence.names, sequence.modules, strict=True))):
            start = sequence.slices[name].start
            if isinstance(module, Position):
                x, y = (start + module.translation.start + axis for axis in (0, 1))
                for _ in range(quarters % 4):
                    values[..., [x, y]] = values[..., [y, x]] * values.new_tensor([1, -1])
            elif isinstance(module, Similarity):
                values[..., start + module.angle] -= quarters * math.pi / 2
                return replace(prediction, layer=parameters[0], sprite=parameters[1])
    raise AssertionError("no similarity takes the turn")
