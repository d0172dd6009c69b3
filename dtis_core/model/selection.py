"""Sprite selection: the minimum of Eq. (5), by exhaustive search or by Algorithm 1.

Selection needs no gradient. Sprite index 0 is the empty sprite, 1..K the sprites.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtis_core.model.composition import (
    compose,
    moved_to,
    rest_of_scene,
    rest_of_scene_at_ends,
    squared_errors,
)

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
    was chosen in. Exhaustive search leaves `look` and `need` at 0. `occlusion` (B, M, M) is the
    matrix of the choice, as given or as found.
    """

    sprites: Int[Tensor, "B L"]
    background: Int[Tensor, "B"]
    look: Int[Tensor, "B L"]
    need: Float[Tensor, "B L"]
    turn: Int[Tensor, "B L"]
    occlusion: Float[Tensor, "B M M"]


class _Choice:
    """The choice so far: what each layer holds, where it came from, and the scene it makes."""

    def __init__(self, images: Tensor, occlusion: Tensor, backgrounds: Tensor, layers: int):
        B, N, C, H, W = backgrounds.shape
        self.images, self.backgrounds, self.below = images, backgrounds, min(N, 1)
        self.alphas = images.new_zeros(B, self.below + layers, 1, H, W)
        self.colours = images.new_zeros(B, self.below + layers, C, H, W)
        self.occlusion = occlusion.clone()
        self.sprites = torch.zeros(B, layers, dtype=torch.long, device=images.device)
        self.background = torch.zeros_like(self.sprites[:, 0])
        self.look, self.turn = torch.zeros_like(self.sprites), torch.zeros_like(self.sprites)
        self.need = images.new_zeros(B, layers)
        self.image = torch.arange(B, device=images.device)

    def choose_background(self) -> None:
        """Put the best background behind the layers."""
        rest = rest_of_scene(self.alphas, self.colours, self.occlusion, 0)
        opaque = torch.ones_like(self.backgrounds[:, :, :1])
        self.background = candidate_errors(self.images, rest, (opaque, self.backgrounds)).argmin(1)
        self.alphas[:, 0] = 1
        self.colours[:, 0] = self.backgrounds[self.image, self.background]

    def empty(self, layers: list[int]) -> None:
        """Take the sprites out of some layers."""
        self.alphas[:, [self.below + layer for layer in layers]] = 0
        self.sprites[:, layers] = 0

    def rests(self, layer: int, ends: bool) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return `rest_of_scene` for a layer where it lies, or for both ends of the depth order."""
        parts = (self.alphas, self.colours, self.occlusion, self.below + layer)
        return rest_of_scene_at_ends(*parts, self.below) if ends else [rest_of_scene(*parts)]

    def put(self, layer: int, rendered: Candidates, n: Tensor, there: Tensor) -> None:
        """Put candidate n (B,) into a layer, in the images where `there` (B,) is 1."""
        alphas, colours = (part[self.image, n] for part in rendered)
        self.alphas[:, self.below + layer] = alphas * there.view(-1, 1, 1, 1)
        self.colours[:, self.below + layer] = colours

    def move(self, layer: int, depth: Int[Tensor, "B"]) -> None:
        """Move a layer to a depth."""
        self.occlusion = moved_to(self.occlusion, self.below + layer, depth, self.below)

    def best_depth(self, layer: int) -> Int[Tensor, "B"]:
        """Return the depth of a layer that makes the error smallest, the others' order kept."""
        errors = []
        for depth in range(self.sprites.shape[1]):
            moved = moved_to(self.occlusion, self.below + layer, depth, self.below)
            composite = compose(self.alphas, self.colours, moved)
            errors.append(squared_errors(self.images, composite))
        return torch.stack(errors, dim=1).argmin(dim=1)

    def loss(self, penalty: float) -> Float[Tensor, "B"]:
        """Return the objective of Eq. (5) for each image."""
        composite = compose(self.alphas, self.colours, self.occlusion)
        errors = squared_errors(self.images, composite)
        return errors + penalty * (self.sprites > 0).sum(dim=1)

    def _parts(self) -> tuple[Tensor, ...]:
        return (self.alphas, self.colours, self.occlusion, self.sprites, self.look, self.turn,
                self.need)  # fmt: skip

    def copy(self) -> list[Tensor]:
        """Return what `take_back` needs."""
        return [part.clone() for part in self._parts()]

    def take_back(self, former: list[Tensor], where: Bool[Tensor, "B"]) -> None:
        """Return to a former choice in some images."""
        for part, old in zip(self._parts(), former, strict=True):
            part[where] = old[where]

    def result(self) -> Selection:
        """Return the choice."""
        return Selection(
            self.sprites, self.background, self.look, self.need, self.turn, self.occlusion
        )


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
    choice = _Choice(images, occlusion, backgrounds, layers)
    looks = 0
    for step in range(steps):
        if backgrounds.shape[1]:
            choice.choose_background()
        pairs = keep_better and step > 0 and step % 2 == 0 and layers > 1
        for first in range(layers):
            block = [first, (first + 1) % layers] if pairs else [first]
            if keep_better and step:
                former, former_loss = choice.copy(), choice.loss(penalty)
            choice.empty(block)
            for layer in block:
                rests = choice.rests(layer, ends=seek_depth)
                rendered = candidates(layer, rests[0][0])
                errors = torch.stack([candidate_errors(images, rest, rendered) for rest in rests])
                errors, end = errors.min(dim=0)  # (B, N), farthest or closest
                errors, turn = (errors + penalty).unflatten(1, (-1, turns)).min(dim=2)  # (B, K)
                best, k = errors.min(dim=1)
                other = errors.scatter(1, k[:, None], torch.inf).amin(dim=1)
                there = torch.ones_like(k)
                if empty:
                    without = squared_errors(images, rests[0][0])
                    there, other = (best < without).long(), torch.minimum(other, without)
                turn = turn[choice.image, k]
                choice.sprites[:, layer], choice.turn[:, layer] = (k + 1) * there, turn
                choice.need[:, layer] = torch.where(there > 0, other - best, 0.0)
                choice.look[:, layer] = looks
                choice.put(layer, rendered, k * turns + turn, there)
                if seek_depth:  # all depths between are for a second look
                    end = end[choice.image, k * turns + turn] * layers
                    choice.move(layer, choice.best_depth(layer) if step else end)
                looks += 1
            if keep_better and step:
                choice.take_back(former, choice.loss(penalty) >= former_loss)
    return choice.result()


@torch.no_grad()
def exhaustive_selection(
    images: Float[Tensor, "B C H W"],
    occlusion: Float[Tensor, "B M M"],
    backgrounds: Float[Tensor, "B backgrounds C H W"],
    alphas: Float[Tensor, "B L N 1 H W"],
    colours: Float[Tensor, "B L N C H W"],
    penalty: float,
    empty: bool,
    turns: int = 1,
) -> Selection:
    """Try all combinations of candidates and background: the minimum of Eq. (5) itself.

    Each layer has N = K * turns candidates: each sprite in `turns` rotations, one after the other.
    There are N^L combinations, (N + 1)^L with `empty`: for two layers, or for checking the greedy
    choice. All that differ in the last layer only are one call of `candidate_errors`.
    """
    B, L, N = alphas.shape[:3]
    choice = _Choice(images, occlusion, backgrounds, L)
    image, candidates = choice.image, range(0 if empty else 1, N + 1)
    best_loss = images.new_full((B,), torch.inf)
    best = torch.zeros(B, 1 + L, dtype=torch.long, device=images.device)
    last = alphas[:, -1], colours[:, -1]
    each = range(max(1, backgrounds.shape[1])), *[candidates] * (L - 1)
    for background, *others in itertools.product(*each):
        if choice.below:
            choice.alphas[:, 0], choice.colours[:, 0] = 1, backgrounds[:, background]
        for layer, n in enumerate(others):
            there = torch.full_like(image, n > 0)
            choice.put(layer, (alphas[:, layer], colours[:, layer]), there * (n - 1), there)
        choice.empty([L - 1])
        rest = choice.rests(L - 1, ends=False)[0]
        without = squared_errors(images, rest[0])
        errors = candidate_errors(images, rest, last) + penalty
        errors = torch.cat([without[:, None] if empty else errors[:, :0], errors], dim=1)
        loss, n = (errors + penalty * sum(n > 0 for n in others)).min(dim=1)
        n = n + candidates.start
        found = torch.stack([torch.full_like(n, j) for j in (background, *others)] + [n], dim=1)
        best = torch.where((loss < best_loss)[:, None], found, best)
        best_loss = torch.minimum(loss, best_loss)
    choice.background, chosen = best[:, 0], best[:, 1:]  # (B, L)
    choice.sprites = (chosen + turns - 1) // turns
    choice.turn = (chosen - 1).clamp(min=0) % turns
    return choice.result()
