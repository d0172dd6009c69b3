"""Sprites restarted or given up, with their branches of the predictor (reassignment, C.2)."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.model.dti_sprites import DTISprites
from dtis_core.search.seeking_predictor import Attention, SeekingPredictor


def per_sprite_views(model: DTISprites) -> Iterator[tuple[nn.Parameter, int, tuple[int, int]]]:
    """Yield each parameter that belongs to single sprites, and how one axis holds them.

    That axis and its shape with the sprites apart: (K, -1), or (-1, K) where they lie innermost. A
    sprite's branch of the predictor is its part of the sprite heads' last layer, and its attention
    maps where it has its own.
    """
    K = model.config.sprites
    yield model.sprites.appearances, 0, (K, -1)
    yield model.sprites.masks, 0, (K, -1)
    head, look = model.predictor.sprite_head, model.predictor.look
    if model.sequences[1].size:
        yield head.weights[-1], 2, (K, -1)
        yield head.biases[-1], 2, (K, -1)
    if isinstance(model.predictor, SeekingPredictor) and model.predictor.search.fovea:
        for network in model.predictor.fovea.networks:
            for parameter in network.sprite.parameters():
                yield parameter, 0, (K, -1)
    if isinstance(look, Attention) and look.per_sprite:
        for parameter in look.scores.parameters():  # its weight and its bias
            yield parameter, 0, (-1, K)


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


def _parts(
    model: DTISprites, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[nn.Parameter, str | None, Tensor, int, tuple[int, int]]]:
    """Yield the values of each of `per_sprite_views`'s parameters and then those of its moments.

    As (parameter, name of the moment or None, values, axis, its shape with the sprites apart).
    """
    for parameter, axis, apart in per_sprite_views(model):
        yield parameter, None, parameter.data, axis, apart
        for name, values in optimizer.state.get(parameter, {}).items():
            if torch.is_tensor(values) and values.shape == parameter.shape:
                yield parameter, name, values, axis, apart


@torch.no_grad()
def keep_only(model: DTISprites, optimizer: torch.optim.Optimizer, kept: list[int]) -> None:
    """Shrink the model to the sprites `kept`, in that order, for good.

    Parameters are replaced by new ones: an old one's gradients keep their size for as long as any
    graph that was made with it is alive.
    """
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for parameter, name, values, axis, apart in list(_parts(model, optimizer)):
        split = values.unflatten(axis, apart)
        fewer = split.index_select(
            axis + apart.index(model.config.sprites), torch.tensor(kept, device=values.device)
        )
        fewer = fewer.flatten(axis, axis + 1)
        if name is None:
            replaced[parameter] = nn.Parameter(fewer, parameter.requires_grad)
        else:
            optimizer.state[parameter][name] = fewer
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, replaced.get(parameter, parameter))
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(p, p) for p in group["params"]]
    for old, new in replaced.items():
        if old in optimizer.state:
            optimizer.state[new] = optimizer.state.pop(old)
    model.config = replace(model.config, sprites=len(kept))
    model.predictor.keep_sprites(len(kept))


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
    for _, _, values, axis, apart in _parts(model, optimizer):
        split = values.unflatten(axis, apart)
        sprites = split.movedim(axis + apart.index(len(share)), 0)  # (K, ...)
        for k, source in chosen.items():
            sprites[k] = sprites[source]
    return len(chosen)
