"""Exhaustive search among residual looks: the candidates and depths of all layers chosen together.

A look needs a scene to look at, so Algorithm 1 leads the looks; but it chooses layer by layer. Here
the minimum of Eq. (5) is sought over all combinations of what each layer's last look proposes.
"""

from collections.abc import Sequence

import torch

from dtis_core.model.composition import all_orders, compose, put_background_below, squared_errors
from dtis_core.model.selection import Choice, exhaustive_selection
from dtis_core.search.residual import ResidualSearch
from dtis_core.search.windows import Windowed


@torch.no_grad()
def choose_jointly(search: ResidualSearch, proposed: Sequence[tuple[int, Windowed]]) -> None:
    """Try all combinations of candidates in all L! depth orders; keep in each image the best.

    `proposed` has each layer's last look: its number, and its candidates. The scene chosen layer by
    layer stays in images where nothing is better.
    """
    images, rules, layers = search.images, search.rules, range(len(proposed))
    candidates = [windowed.whole() for _, windowed in proposed]
    looks = torch.tensor([number for number, _ in proposed], device=images.device)  # (L,)
    search.filled = set(layers)
    for order in all_orders(len(proposed)).to(images):  # (L, L)
        occlusion = order.expand(len(images), -1, -1)
        occlusion = put_background_below(occlusion) if search.below else occlusion
        scene = Choice(images, occlusion, search.backgrounds, len(proposed))
        found = exhaustive_selection(
            images, occlusion, search.backgrounds, candidates, rules.penalty, rules.empty
        )
        if scene.below:
            scene.put_background(found.background)
        for layer in layers:
            scene.put(layer, candidates[layer], found.sprites[:, layer])
        composite = compose(scene.alphas, scene.colours, occlusion)
        used = (scene.sprites > 0).sum(dim=1)
        loss = squared_errors(images, composite) + rules.penalty * used
        parts = [scene.alphas, scene.colours, scene.occlusion, scene.background, scene.sprites]
        search.take([*parts, looks.expand_as(scene.sprites), composite], loss < search.loss())
