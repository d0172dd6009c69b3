"""Reassignment of unused sprites and of their branches of the predictor (C.2)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.model import DTISprites


def per_sprite_views(model: DTISprites) -> Iterator[tuple[Tensor, int]]:
    """Yield each parameter that belongs to single sprites, and its axis of sprites.

    A sprite's branch of the predictor is its part of the sprite heads' last layer.
    """
    yield model.sprites.appearances, 0
    yield model.sprites.masks, 0
    head = model.predictor.sprite_head
    if model.sequences[1].size:
        yield head.weights[-1], 2
        yield head.biases[-1], 2


def sources(share: Float[Tensor, "K"], threshold: float) -> dict[int, int]:
    """Return which sprite each too little used one restarts from: the most used one.

    Each copy taken counts as half of its source's share. Several sprites restarted at once so
    start from several sources, and no copy is too little used from the outset.
    """
    share = share.clone()
    chosen = {}
    for k in (share < threshold).nonzero().flatten().tolist():
        best = int(share.argmax())
        share[[best, k]] = share[best] / 2
        chosen[k] = best
    return chosen


@torch.no_grad()
def reassign(
    model: DTISprites,
    optimizer: torch.optim.Optimizer,
    share: Float[Tensor, "K"],
    threshold: float,
) -> int:
    """Restart every sprite with a share of layers below `threshold` from the most used one.

    Its images, its branch of the predictor and their Adam moments become copies; the mask noise,
    drawn per sprite, lets the copies part. Returns the number of restarted sprites.
    """
    chosen = sources(share, threshold)
    for parameter, axis in per_sprite_views(model):
        state = optimizer.state.get(parameter, {})
        moments = [v for v in state.values() if torch.is_tensor(v) and v.shape == parameter.shape]
        for values in (parameter.data, *moments):
            split = values.unflatten(axis, (len(share), -1))  # sprites get an axis of their own
            for k, source in chosen.items():
                split.select(axis, k).copy_(split.select(axis, source))
    return len(chosen)
