"""Layers moved in the depth order of a scene."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.model.composition import Alphas, Colours, Occlusion, Rest, visibilities


def moved_to(
    occlusion: Float[Tensor, "B M M"], layer: int, depth: int | Int[Tensor, "B"], below: int
) -> Float[Tensor, "B M M"]:
    """Move a layer of scenes in depth order to a depth, the order of the others kept.

    Depth 0 is just above the background (the `below` first layers, 0 or 1), and beyond the number
    of other layers is in front of all. Shape (B, M, M).
    """
    hides = occlusion.clone()
    hides[:, :, layer] = 0
    rank = hides.sum(dim=2) - below  # (B, M) how many object layers each of the others hides
    depth = depth[:, None] if isinstance(depth, Tensor) else depth
    hidden = (rank < depth).to(occlusion.dtype)  # (B, M)
    hides[:, layer], hides[:, :, layer] = hidden, 1 - hidden
    hides[:, layer, layer] = 0
    return hides


def rest_of_scene_at_ends(
    alphas: Alphas, colours: Colours, occlusion: Occlusion, layer: int, below: int
) -> list[Rest]:
    """Return `rest_of_scene` for the layer moved to either end of the depth order.

    First just above the background (the `below` first layers, 0 or 1), then in front of all.
    """
    alphas = alphas.clone()
    alphas[:, layer] = 0
    others = visibilities(alphas, occlusion) * colours  # (B, L, C, H, W)
    P = others.sum(dim=1)
    seen = (1 - alphas[:, below:]).prod(dim=1)
    return [(P, others[:, :below].sum(dim=1), seen), (P, P, torch.ones_like(seen))]
