"""Sprite selection: the minimum of Eq. (5), by exhaustive search or by Algorithm 1.

Selection needs no gradient. Sprite index 0 is the empty sprite, 1..K the sprites.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.composition import compose, moved_to, rest_of_scene, rest_of_scene_at_ends

Candidates = tuple[Float[Tensor, "B N 1 H W"], Float[Tensor, "B N C H W"]]
"""Alphas and colours that each sprite, in each turn, would give a layer: N = K * turns."""


def candidate_errors(
    images: Float[Tensor, "B C H W"],
    rest: tuple[Tensor, Tensor, Tensor],
    candidates: Candidates,
) -> Float[Tensor, "B N"]:
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
    sprite, all else the same; 0 for an empty one. `turn` (B, L) is the rotation each layer's sprite
    was chosen in. Exhaustive search leaves these three at 0. `occlusion` (B, M, M) is the matrix of
    the choice, as given or as found.
    """

    sprites: Int[Tensor, "B L"]
    background: Int[Tensor, "B"]
    look: Int[Tensor, "B L"]
    need: Float[Tensor, "B L"]
    turn: Int[Tensor, "B L"]
    occlusion: Float[Tensor, "B M M"]


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
    turns: int = 1,
    seek_depth: bool = False,
) -> Selection:
    """Choose each layer's sprite in turn, all other layers fixed, `steps` times over: Algorithm 1.

    `candidates(l, rest)` gives layer l's candidates (l from 0); `rest` is the composite of all
    other layers. With backgrounds (N > 0) `occlusion` has them as layer 0, so M = L + 1, and the
    best one is chosen before the sprites. `penalty` is the lambda of Eq. (5) for an error averaged
    over pixels and channels. Without `empty`, the empty sprite is no candidate, though all layers
    start empty. Each sprite is a candidate in `turns` rotations, which come one after the other.

    With `seek_depth` the depths of the layers are found, too: a sprite is chosen for what it would
    be above or below all others and goes there; in later iterations, where it fits best.

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
    turn = torch.zeros_like(chosen)
    need = images.new_zeros(B, layers)
    occlusion = occlusion.clone() if seek_depth else occlusion
    background = torch.zeros(B, dtype=torch.long, device=images.device)
    image = torch.arange(B, device=images.device)
    looks = 0

    def loss() -> Float[Tensor, "B"]:
        errors = (images - compose(alphas, colours, occlusion)).square().flatten(1).mean(dim=1)
        return errors + penalty * (chosen > 0).sum(dim=1)

    def state() -> tuple[Tensor, ...]:
        found = (alphas, colours, chosen, look, need, turn)
        return (*found, occlusion) if seek_depth else found

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
                former = [part.clone() for part in state()]
                former_loss = loss()
            alphas[:, [below + layer for layer in block]] = 0
            chosen[:, block] = 0
            for layer in block:
                if seek_depth:
                    rests = rest_of_scene_at_ends(alphas, colours, occlusion, below + layer, below)
                else:
                    rests = [rest_of_scene(alphas, colours, occlusion, below + layer)]
                rest = rests[0][0]
                rendered = candidates(layer, rest)
                errors = torch.stack([candidate_errors(images, r, rendered) for r in rests])
                errors, end = errors.min(dim=0)  # (B, N)
                errors, turned = (errors + penalty).unflatten(1, (-1, turns)).min(dim=2)  # (B, K)
                best, k = errors.min(dim=1)
                other = errors.scatter(1, k[:, None], torch.inf).amin(dim=1)
                there = torch.ones_like(k)
                if empty:
                    without = (images - rest).square().flatten(1).mean(dim=1)
                    there, other = (best < without).long(), torch.minimum(other, without)
                need[:, layer] = torch.where(there > 0, other - best, 0.0)
                chosen[:, layer], turn[:, layer] = (k + 1) * there, turned[image, k]
                look[:, layer] = looks
                n = k * turns + turn[:, layer]
                alphas[:, below + layer] = rendered[0][image, n] * there.view(B, 1, 1, 1)
                colours[:, below + layer] = rendered[1][image, n]
                if seek_depth and step == 0:  # all between is for a second look
                    occlusion = moved_to(occlusion, below + layer, end[image, n] * layers, below)
                elif seek_depth:
                    occlusion = best_depth(images, alphas, colours, occlusion, below + layer, below)
                looks += 1
            if keep_better and step:
                back = loss() >= former_loss
                for part, old in zip(state(), former, strict=True):
                    part[back] = old[back]
    return Selection(chosen, background, look, need, turn, occlusion)


def best_depth(
    images: Float[Tensor, "B C H W"],
    alphas: Float[Tensor, "B M 1 H W"],
    colours: Float[Tensor, "B M C H W"],
    occlusion: Float[Tensor, "B M M"],
    layer: int,
    below: int,
) -> Float[Tensor, "B M M"]:
    """Move one layer of a scene in depth order to the depth of least error, the others kept.

    It stays above the background, the `below` (0 or 1) first layers.
    """
    errors = []
    for depth in range(alphas.shape[1] - below):
        moved = moved_to(occlusion, layer, depth, below)
        errors.append((images - compose(alphas, colours, moved)).square().flatten(1).mean(dim=1))
    best = torch.stack(errors, dim=1).argmin(dim=1)  # (B,)
    return moved_to(occlusion, layer, best, below)


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
    need = unknown.to(images.dtype)
    return Selection(best[:, 1:], best[:, 0], unknown, need, unknown, occlusion)
