"""Frames of a clip, each sought from the scene of the one before.

Algorithm 1 need not start from an empty scene. What was found in the last frame, without the layers
that explain nothing of the new one, is a start from which one iteration is enough: objects that
have moved on are looked for beside those that have not. Where that ends worse than the frame before
did, the frame is sought as an image by itself, too, and the better scene goes on.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.search.nested import combined
from dtis_core.search.polishing import ROUND, polished, without_idle_layers
from dtis_core.search.quarter_turns import better_of
from dtis_core.search.rounds import Effort, best_scenes
from dtis_core.search.seeking import SeekingSprites

STRETCHES = 16  # of a clip at most, which go on side by side, for a batch costs less by the image
SHORTEST = 16  # frames of a stretch, whose first is sought by itself
WORSE = 1.1, 2.0  # how much objectives may grow: times what it was, and penalties more


def decomposed_clip(
    model: DTISprites, frames: Float[Tensor, "F C H W"], effort: Effort
) -> Decomposition:
    """Decompose successive frames; a stretch begins with what the whole `effort` finds.

    A model that looks once for all layers has no look to go on with: there, each frame is an image.
    """
    fresh, polish = partial(best_scenes, model, effort=effort), min(effort.polish, ROUND)
    if not isinstance(model, SeekingSprites) or model.search.looks != "residual":
        return fresh(frames)
    count = max(1, min(STRETCHES, len(frames) // SHORTEST))
    stretches = torch.arange(len(frames)).tensor_split(count)  # the longer ones first
    order = [torch.stack([each[0] for each in stretches])]
    found = [fresh(frames[order[0]])]
    for t in range(1, len(stretches[0])):
        order.append(torch.stack([each[t] for each in stretches if t < len(each)]))
        before = _of(found[-1], slice(len(order[-1])))
        were = before.objectives(frames[order[-1] - 1], model.penalty)
        found.append(followed(model, frames[order[-1]], before, were, polish, fresh))
    place = torch.cat(order).argsort()
    return combined(lambda parts: torch.cat(list(parts))[place], found)


@torch.no_grad()
def followed(
    model: SeekingSprites,
    images: Float[Tensor, "B C H W"],
    before: Decomposition,
    were: Float[Tensor, "B"],
    polish: int,
    fresh: Callable[[Tensor], Decomposition],
) -> Decomposition:
    """Return the scenes of images that follow on those of `before`, whose objectives `were` so.

    One iteration of Algorithm 1 and `polish` steps of Gauss-Newton; `fresh` decomposes what became
    worse by itself.
    """
    start = before
    if model.config.empty_sprite:
        start = without_idle_layers(model, images, before)
    scene = polished(model, images, model.resumed(images, start), polish)
    times, more = WORSE
    limit = times * were + more * model.penalty
    worse = scene.objectives(images, model.penalty) > limit  # (B,)
    if not worse.any():
        return scene
    better = better_of(model, images[worse], fresh(images[worse]), _of(scene, worse))

    def put(parts: Sequence[Tensor]) -> Tensor:
        parts[0][worse] = parts[1]
        return parts[0]

    return combined(put, [scene, better])


def _of(scene: Decomposition, images: slice | Tensor) -> Decomposition:
    """Return the scenes of some images of a batch."""
    return combined(lambda parts: parts[0][images], [scene])
