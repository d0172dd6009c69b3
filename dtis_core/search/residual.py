"""Algorithm 1 with a look before each choice: candidates that depend on what is already explained.

A look sees the composite of all other layers beside the image. So a layer asks what is missing, its
candidates differ from iteration to iteration, and an iteration need not make the scene better.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtis_core.model.composition import Rest, compose, ordered_occlusion, squared_errors
from dtis_core.model.selection import Candidates, Choice, Selection, candidate_errors
from dtis_core.search.depth_order import moved_to, rest_of_scene_at_ends

Look = Callable[[int, Float[Tensor, "B C H W"]], tuple[Candidates, Float[Tensor, "B F"]]]
"""Of a layer and the rest of the scene: the candidates, and the features that they come from."""

Predict = Callable[[Float[Tensor, "B L F"]], Float[Tensor, "B L L"]]
"""Of the features of all layers: the occlusions among them."""


@dataclass(frozen=True)
class Rules:
    """What a choice is made by: lambda of Eq. (5), and whether the empty sprite is a candidate.

    With `keep_better` a later iteration's choices stay only in images whose loss they lower, and
    with `pairs`, too, every other one empties two layers at a time. With `seek_depths` the layers'
    depths are found, too: a layer is chosen for what it would be behind or in front of all others,
    and goes there; in later iterations, where it fits best.
    """

    penalty: float
    empty: bool
    keep_better: bool = False
    pairs: bool = True
    seek_depths: bool = False


class ResidualSearch(Choice):
    """A scene sought look by look.

    `look` (B, L) counts which look, from 0, each layer's content comes from. `predict`, if there is
    one, makes occlusions (B, L, L) among the object layers of the features of all looks (B, L, F).
    """

    def __init__(
        self,
        images: Float[Tensor, "B C H W"],
        occlusion: Float[Tensor, "B M M"],
        backgrounds: Float[Tensor, "B G C H W"],
        layers: int,
        rules: Rules,
        look_at: Look,
        predict: Predict | None = None,
    ):
        super().__init__(images, occlusion, backgrounds, layers)
        self.rules, self.look_at, self.predict = rules, look_at, predict
        self.look, self.looks = torch.zeros_like(self.sprites), 0
        self.seen = torch.zeros_like(self.sprites[0], dtype=torch.bool)  # (L,) layers looked for
        self.features: Tensor | None = None  # (B, L, F)

    @torch.no_grad()
    def run(self, steps: int) -> Selection:
        """Choose each layer's candidate in turn, `steps` times over; return the choice.

        Two layers are emptied at a time, where the rules say so, since an object that two layers
        share is a minimum that no single change leaves.
        """
        L = self.sprites.shape[1]
        for step in range(steps):
            self.choose_background()
            again = step > 0 and self.rules.keep_better
            for first in range(L):
                pair = again and self.rules.pairs and step % 2 == 0 and L > 1
                block = [first, (first + 1) % L] if pair else [first]
                if again:
                    former, loss = [part.clone() for part in self._parts()], self.loss()
                self.empty(block)
                for layer in block:
                    self.choose(layer, first_time=step == 0)
                if again:
                    self.take_back(former, self.loss() >= loss)
        return self.selection()

    def choose(self, layer: int, first_time: bool) -> None:
        """Look, and put the best candidate into a layer: where it lies, or at the best depth."""
        images, rules = self.images, self.rules
        rests = self.rests_at_ends(layer) if rules.seek_depths else [self.rest(layer)]
        candidates, features = self.look_at(layer, rests[0][0])
        if self.predict:
            self.predict_occlusion(layer, features, self.predict)
            rests = [self.rest(layer)]
        errors = torch.stack([candidate_errors(images, rest, candidates) for rest in rests])
        errors, end = errors.min(dim=0)  # (B, N), farthest or closest
        best, n = (errors + rules.penalty).min(dim=1)
        there = torch.ones_like(n)
        if rules.empty:
            there = (best < squared_errors(images, rests[0][0])).long()
        self.put(layer, candidates, (n + 1) * there)
        self.look[:, layer] = self.looks
        self.looks += 1
        if rules.seek_depths:  # all depths between are for a second look
            end = end[self.image, n] * self.sprites.shape[1]
            self.move(layer, end if first_time else self.best_depth(layer))

    def empty(self, layers: list[int]) -> None:
        """Take the sprites out of some layers."""
        self.alphas[:, [self.below + layer for layer in layers]] = 0
        self.sprites[:, layers] = 0

    # A choice taken back

    def loss(self) -> Float[Tensor, "B"]:
        """Return the objective of Eq. (5) for each image."""
        composite = compose(self.alphas, self.colours, self.occlusion)
        used = (self.sprites > 0).sum(dim=1)
        return squared_errors(self.images, composite) + self.rules.penalty * used

    def _parts(self) -> list[Tensor]:
        parts = [self.alphas, self.colours, self.occlusion, self.sprites, self.look]
        return parts if self.features is None else [*parts, self.features]

    def take_back(self, former: list[Tensor], where: Bool[Tensor, "B"]) -> None:
        """Return to a former choice in some images."""
        for part, old in zip(self._parts(), former, strict=True):
            part[where] = old[where]

    # Depth

    def predict_occlusion(
        self, layer: int, features: Float[Tensor, "B F"], predict: Predict
    ) -> None:
        """Predict the occlusions among all layers looked for so far; others are in order."""
        B, L = self.sprites.shape
        if self.features is None:
            self.features = features.new_zeros(B, L, features.shape[1])
        self.features[:, layer], self.seen[layer] = features.detach(), True
        both = self.seen & self.seen[:, None]  # (L, L)
        ordered = ordered_occlusion(B, L, features)
        occlusion = torch.where(both, predict(self.features), ordered)
        self.occlusion[:, self.below :, self.below :] = occlusion

    @property
    def object_occlusion(self) -> Float[Tensor, "B L L"]:
        """The occlusions among the object layers."""
        return self.occlusion[:, self.below :, self.below :]

    def rests_at_ends(self, layer: int) -> list[Rest]:
        """Return `rest_of_scene` for both ends of the depth order."""
        parts = (self.alphas, self.colours, self.occlusion, self.below + layer)
        return rest_of_scene_at_ends(*parts, self.below)

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
