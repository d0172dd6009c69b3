"""The best scenes: sought, polished, and sought on from there, the better scene kept.

What a look or two read is off by some tenths of a pixel, and what is left along every edge draws
the next looks. Once polished, a scene shows what is really missing; and where to read again what is
there, for the middle of an object that is partly hidden is not the middle of what shows of it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.search.polishing import polished
from dtis_core.search.quarter_turns import best_of_views, better_of
from dtis_core.search.seeking import SeekingSprites


class Effort(NamedTuple):
    """What to spend on a scene: T of Algorithm 1, steps of polishing, and views.

    Polishing comes `every` so many iterations, or else, for 0, after all of them.
    """

    steps: int
    polish: int
    views: int
    every: int


@torch.no_grad()
def best_scenes(
    model: DTISprites, images: Float[Tensor, "B C H W"], effort: Effort
) -> Decomposition:
    """Decompose images: the best of the views, and then further iterations from there.

    A model that looks once for all layers has no look to go on with: its iterations come first.
    """
    steps, polish, views, every = effort
    if not every or not isinstance(model, SeekingSprites) or model.search.looks != "residual":
        return best_of_views(model, images, steps, polish, views)
    best = best_of_views(model, images, min(every, steps), polish, views)
    for done in range(every, steps, every):
        scene = model.resumed(images, best, min(every, steps - done), done)
        best = better_of(model, images, polished(model, images, scene, polish), best)
    return best
