"""Sprite selection: the minimum of Eq. (5), by Algorithm 1 or by exhaustive search.

Selection needs no gradient. Sprite index 0 is the empty sprite, 1..K the sprites.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.model.composition import Rest, rest_of_scene, squared_errors

Candidates = tuple[Float[Tensor, "B N 1 H W"], Float[Tensor, "B N C H W"]]
"""Alphas and colours of the N candidates for a layer: in the paper the K sprites."""


@dataclass(frozen=True)
class Selection:
    """Chosen sprites (B, L), 0 the empty one, and chosen backgrounds (B,), all 0 without any."""

    sprites: Int[Tensor, "B L"]
    background: Int[Tensor, "B"]


def candidate_errors(
    images: Float[Tensor, "B C H W"], rest: Rest, candidates: Candidates
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


class Choice:
    """The scene chosen so far: what each layer holds, over the chosen background.

    It starts empty, and black; `occlusion` has the background as layer 0 where there are any.
    """

    def __init__(
        self,
        images: Float[Tensor, "B C H W"],
        occlusion: Float[Tensor, "B M M"],
        backgrounds: Float[Tensor, "B G C H W"],
        layers: int,
    ):
        B, G, C, H, W = backgrounds.shape
        self.images, self.backgrounds, self.below = images, backgrounds, min(G, 1)
        self.alphas = images.new_zeros(B, self.below + layers, 1, H, W)
        self.colours = images.new_zeros(B, self.below + layers, C, H, W)
        self.occlusion = occlusion.clone()
        self.sprites = torch.zeros(B, layers, dtype=torch.long, device=images.device)
        self.background = torch.zeros_like(self.sprites[:, 0])
        self.image = torch.arange(B, device=images.device)

    def choose_background(self) -> None:
        """Put the best background, if there are any, behind the layers."""
        if self.below:
            self.put_background(self.background_errors().argmin(dim=1))

    def background_errors(self) -> Float[Tensor, "B G"]:
        """Return the mean squared error of the scene for each background."""
        rest = rest_of_scene(self.alphas, self.colours, self.occlusion, 0)
        opaque = torch.ones_like(self.backgrounds[:, :, :1])
        return candidate_errors(self.images, rest, (opaque, self.backgrounds))

    def put_background(self, n: Int[Tensor, "B"]) -> None:
        """Put background n, from 0, behind the layers."""
        self.background, self.alphas[:, 0] = n, 1
        self.colours[:, 0] = self.backgrounds[self.image, n]

    def rest(self, layer: int) -> Rest:
        """Return the scene without what a layer holds: see `rest_of_scene`."""
        return rest_of_scene(self.alphas, self.colours, self.occlusion, self.below + layer)

    def put(self, layer: int, candidates: Candidates, k: Int[Tensor, "B"]) -> None:
        """Put candidate k of 1..K, or nothing for 0, into a layer of each image."""
        alphas, colours = (part[self.image, (k - 1).clamp(min=0)] for part in candidates)
        self.alphas[:, self.below + layer] = alphas * (k > 0).view(-1, 1, 1, 1)
        self.colours[:, self.below + layer] = colours
        self.sprites[:, layer] = k

    def selection(self) -> Selection:
        """Return what was chosen."""
        return Selection(self.sprites, self.background)


def objectives(
    choice: Choice, layer: int, candidates: Candidates, penalty: float, empty: bool
) -> Float[Tensor, "B n"]:
    """Return Eq. (5) for each candidate 0..N of one layer, but for the other layers' lambdas.

    Candidate 0, the empty sprite, costs no penalty; without `empty` it is none (infinity).
    """
    rest = choice.rest(layer)
    errors = candidate_errors(choice.images, rest, candidates) + penalty  # (B, N)
    nothing = squared_errors(choice.images, rest[0])[:, None]  # (B, 1)
    nothing = nothing if empty else torch.full_like(nothing, torch.inf)
    return torch.cat([nothing, errors], dim=1)  # (B, N + 1)


@torch.no_grad()
def greedy_selection(
    images: Float[Tensor, "B C H W"],
    occlusion: Float[Tensor, "B M M"],
    backgrounds: Float[Tensor, "B G C H W"],
    candidates: Sequence[Candidates],
    penalty: float,
    empty: bool,
    steps: int,
) -> Selection:
    """Choose each layer's sprite in turn, all other layers fixed, T = `steps` times: Algorithm 1.

    The best background is chosen before the sprites. `candidates` holds each layer's; `penalty` is
    the lambda of Eq. (5) for an error averaged over pixels and channels. Without `empty` the empty
    sprite is no candidate, though all layers start empty.
    """
    choice = Choice(images, occlusion, backgrounds, len(candidates))
    for _ in range(steps):
        choice.choose_background()
        for layer, sprites in enumerate(candidates):
            each = objectives(choice, layer, sprites, penalty, empty)
            choice.put(layer, sprites, each.argmin(dim=1))
    return choice.selection()


@torch.no_grad()
def exhaustive_selection(
    images: Float[Tensor, "B C H W"],
    occlusion: Float[Tensor, "B M M"],
    backgrounds: Float[Tensor, "B G C H W"],
    candidates: Sequence[Candidates],
    penalty: float,
    empty: bool,
) -> Selection:
    """Try all combinations of candidates and background: the minimum of Eq. (5) itself.

    There are K^L combinations, (K + 1)^L with `empty`: for two layers, or for checking the greedy
    choice. All that differ in the last layer only are one call of `candidate_errors`.
    """
    choice, last = Choice(images, occlusion, backgrounds, len(candidates)), len(candidates) - 1
    same = torch.zeros_like(choice.background)  # (B,)
    each_sprite = range(0 if empty else 1, candidates[0][0].shape[1] + 1)
    each_background = range(max(1, backgrounds.shape[1]))
    lowest = images.new_full((len(images),), torch.inf)
    best = torch.zeros(len(images), 2 + last, dtype=torch.long, device=images.device)
    for background, *others in itertools.product(each_background, *[each_sprite] * last):
        if choice.below:
            choice.put_background(same + background)
        for layer, k in enumerate(others):
            choice.put(layer, candidates[layer], same + k)
        each = objectives(choice, last, candidates[last], penalty, empty)
        loss, k = (each + penalty * sum(k > 0 for k in others)).min(dim=1)
        found = torch.stack([same + j for j in (background, *others)] + [k], dim=1)  # (B, 1 + L)
        best = torch.where((loss < lowest)[:, None], found, best)
        lowest = torch.minimum(loss, lowest)
    return Selection(best[:, 1:], best[:, 0])
