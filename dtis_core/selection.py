"""Sprite selection: the minimum of Eq. (5), by exhaustive search or by Algorithm 1.

Selection needs no gradient. Sprite index 0 is the empty sprite, 1..K the sprites.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.composition import compose, rest_of_scene

Candidates = tuple[Float[Tensor, "B K 1 H W"], Float[Tensor, "B K C H W"]]
"""Alphas and colours that each sprite would give a layer."""


def candidate_errors(
    images: Float[Tensor, "B C H W"],
    rest: tuple[Tensor, Tensor, Tensor],
    candidates: Candidates,
) -> Float[Tensor, "B K"]:
    """Return the mean squared error of the scene for each candidate of one layer.

    The composite is `P + alpha * (V * colour - Q)` by `rest_of_scene`, so its error needs one pass
    over the candidates, however many other layers there are.
    """
    P, Q, V = (part[:, None] for part in rest)  # (B, 1, C or 1, H, W)
    alphas, colours = candidates
    # These are the largest arrays of a training step: three passes over them, no more.
    errors = torch.addcmul(-Q, V, colours)
    errors = torch.addcmul(P - images[:, None], alphas, errors)
    return torch.linalg.vector_norm(errors, dim=(2, 3, 4)).square() / errors[0, 0].numel()


@dataclass(frozen=True)
class Selection:
    """Chosen sprites (B, L), 0 the empty one, and chosen backgrounds (B,), all 0 without any.

    `look` (B, L) counts which call for candidates, from 0, each layer's content comes from; `need`
    (B, L) is how much larger the error would be with the next best choice for a layer that holds a
    sprite, all else the same; 0 for an empty one. Exhaustive search leaves both at 0.
    """

    sprites: Int[Tensor, "B L"]
    background: Int[Tensor, "B"]
    look: Int[Tensor, "B L"]
    need: Float[Tensor, "B L"]


@torch.no_grad()
def greedy_selection(
    images: Float[Tensor, "B C H W"],
    occlusion: Float[Tensor, "B M M"],
    backgrounds: Float[Tensor, "B N C H W"],
    candidates: Callable[[int, Float[Tensor, "B C H W"]], Candidates],
    layers: int,
    penalty: float,
    empty: bool,
    steps: int,
    keep_better: bool = False,
) -> Selection:
    """Choose each layer's sprite in turn, all other layers fixed, `steps` times over: Algorithm 1.

    `candidates(l, rest)` gives layer l's candidates (l from 0); `rest` is the composite of all
    other layers. With backgrounds (N > 0) `occlusion` has them as layer 0, so M = L + 1, and the
    best one is chosen before the sprites. `penalty` is the lambda of Eq. (5) for an error averaged
    over pixels and channels. Without `empty`, the empty sprite is no candidate, though all layers
    start empty.

    `keep_better` is for candidates that depend on `rest`. Then a later iteration's choices stay
    only in images whose loss they lower; and every other iteration empties two layers at a time,
    for an object that two layers share is a minimum that no single change leaves.
    """
    B, N, C, H, W = backgrounds.shape
    below = min(N, 1)
    alphas = images.new_zeros(B, below + layers, 1, H, W)
    colours = images.new_zeros(B, below + layers, C, H, W)
    chosen = torch.zeros(B, layers, dtype=torch.long, device=images.device)
    look = torch.zeros_like(chosen)
    need = images.new_zeros(B, layers)
    background = torch.zeros(B, dtype=torch.long, device=images.device)
    image = torch.arange(B, device=images.device)
    looks = 0

    def loss() -> Float[Tensor, "B"]:
        errors = (images - compose(alphas, colours, occlusion)).square().flatten(1).mean(dim=1)
        return errors + penalty * (chosen > 0).sum(dim=1)

    for step in range(steps):
        if N:
            rest = rest_of_scene(alphas, colours, occlusion, 0)
            opaque = images.new_ones(B, N, 1, H, W)
            background = candidate_errors(images, rest, (opaque, backgrounds)).argmin(dim=1)
            alphas[:, 0], colours[:, 0] = 1, backgrounds[image, background]
        pairs = keep_better and step > 0 and step % 2 == 0 and layers > 1
        for first in range(layers):
            block = [first, (first + 1) % layers] if pairs else [first]
            if keep_better and step:
                former = [part.clone() for part in (alphas, colours, chosen, look, need)]
                former_loss = loss()
            alphas[:, [below + layer for layer in block]] = 0
            chosen[:, block] = 0
            for layer in block:
                rest = rest_of_scene(alphas, colours, occlusion, below + layer)
                sprite_alphas, sprite_colours = candidates(layer, rest[0])
                errors = candidate_errors(images, rest, (sprite_alphas, sprite_colours)) + penalty
                best, k = errors.min(dim=1)
                other = errors.scatter(1, k[:, None], torch.inf).amin(dim=1)
                there = torch.ones_like(k)
                if empty:
                    without = (images - rest[0]).square().flatten(1).mean(dim=1)
                    there, other = (best < without).long(), torch.minimum(other, without)
                need[:, layer] = torch.where(there > 0, other - best, 0.0)
                chosen[:, layer] = (k + 1) * there
                look[:, layer] = looks
                alphas[:, below + layer] = sprite_alphas[image, k] * there.view(B, 1, 1, 1)
                colours[:, below + layer] = sprite_colours[image, k]
                looks += 1
            if keep_better and step:
                back = loss() >= former_loss
                for part, old in zip((alphas, colours, chosen, look, need), former, strict=True):
                    part[back] = old[back]
    return Selection(chosen, background, look, need)


@torch.no_grad()
def exhaustive_selection(
    images: Float[Tensor, "B C H W"],
    occlusion: Float[Tensor, "B M M"],
    backgrounds: Float[Tensor, "B N C H W"],
    alphas: Float[Tensor, "B L K 1 H W"],
    colours: Float[Tensor, "B L K C H W"],
    penalty: float,
    empty: bool,
) -> Selection:
    """Try all combinations of sprites and background: the minimum of Eq. (5) itself.

    Costs K^L compositions, (K + 1)^L with `empty`: for two layers, or for checking the greedy one.
    """
    B, L, K = alphas.shape[:3]
    N = backgrounds.shape[1]
    best_error = images.new_full((B,), float("inf"))
    best = torch.zeros(B, L + 1, dtype=torch.long, device=images.device)
    layer = torch.arange(L, device=images.device)
    per_layer = [range(0 if empty else 1, K + 1)] * L
    for combination in itertools.product(range(max(N, 1)), *per_layer):
        k = torch.tensor(combination, device=images.device)
        there = k[1:] > 0
        index = (k[1:] - 1).clamp(min=0)
        layer_alphas = alphas[:, layer, index] * there.view(1, L, 1, 1, 1)
        layer_colours = colours[:, layer, index]
        if N:
            layer_alphas = torch.cat([torch.ones_like(layer_alphas[:, :1]), layer_alphas], dim=1)
            layer_colours = torch.cat([backgrounds[:, k[:1]], layer_colours], dim=1)
        composite = compose(layer_alphas, layer_colours, occlusion)
        error = (images - composite).square().flatten(1).mean(dim=1) + penalty * there.sum()
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = torch.where(better[:, None], k, best)
    unknown = torch.zeros_like(best[:, 1:])
    return Selection(best[:, 1:], best[:, 0], unknown, unknown.to(images.dtype))
