"""Algorithm 1 with a look before each choice: candidates that depend on what is already explained.

A look sees the composite of all other layers beside the image. So a layer asks what is missing, its
candidates differ from iteration to iteration, and an iteration need not make the scene better.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtis_core.model.composition import (
    Rest,
    compose,
    ordered_occlusion,
    rest_of_scene,
    squared_errors,
)
from dtis_core.model.dti_sprites import Decomposition
from dtis_core.model.selection import Choice, Selection
from dtis_core.search.depth_order import moved_to, rest_of_scene_at_ends
from dtis_core.search.windows import Window, Windowed

Look = Callable[
    [int, Float[Tensor, "B C H W"], list[int], Bool[Tensor, "B"] | None],
    tuple[Windowed, Float[Tensor, "B F"]],
]
"""Of a layer, the rest of the scene, layers where not to look again, and images, if any, in which
to look where the layer lay: the candidates, and the features that they come from."""

Predict = Callable[[Float[Tensor, "B L F"]], Float[Tensor, "B L L"]]
"""Of the features of all layers: the occlusions among them."""


@dataclass(frozen=True)
class Rules:
    """What a choice is made by: lambda of Eq. (5), and whether the empty sprite is a candidate.

    With `keep_better` a later iteration's choices stay only in images whose loss they lower, and
    with `pairs`, too, every other one empties two layers at a time. With `reread`, too, the others
    look where a layer's sprite lay. With `seek_depths` the layers' depths are found, too: a
    layer is chosen for what it would be behind or in front of all others, and goes there; in later
    iterations, where it fits best.
    """

    penalty: float
    empty: bool
    keep_better: bool = False
    pairs: bool = True
    reread: bool = False
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
        self.composite = torch.zeros_like(images)  # of the scene as it is
        self.filled: set[int] = set()  # layers that hold something in any image
        self.begun = 0  # iterations that the start stands for

    def begin(self, scene: Decomposition, turns: int, done: int) -> None:
        """Start from a scene instead of from nothing: its layers count as the first L looks.

        Its sprites are the first of their `turns` candidates each. The iterations that have been
        `done` decide how the next ones seek.
        """
        L, chosen = self.sprites.shape[1], scene.selection.sprites
        self.alphas[:, self.below :] = scene.alphas[:, self.below :]
        self.colours[:, self.below :] = scene.colours[:, self.below :]
        self.occlusion[:, self.below :, self.below :] = scene.occlusion
        self.sprites = torch.where(chosen > 0, (chosen - 1) * turns + 1, 0)
        self.look[:] = torch.arange(L, device=self.look.device)
        self.looks, self.begun, self.filled = L, done, set(range(L))
        if self.predict:
            self.features = scene.prediction.features.clone()
            self.seen[:] = True

    @torch.no_grad()
    def run(self, steps: int) -> Selection:
        """Choose each layer's candidate in turn, `steps` times over; return the choice.

        Two layers are emptied at a time, where the rules say so, since an object that two layers
        share is a minimum that no single change leaves. Every other time, the first look for them
        goes elsewhere than theirs went: what lies between two objects of one colour would draw it
        again.
        """
        L = self.sprites.shape[1]
        for step in range(self.begun, self.begun + steps):
            self.choose_background()
            self.compose()
            again = step > 0 and self.rules.keep_better
            for first in range(L):
                pair = again and self.rules.pairs and step % 2 == 0 and L > 1
                block = [first, (first + 1) % L] if pair else [first]
                if again:
                    former, loss = self.present(), self.loss()
                reread = again and self.rules.reread and step % 2 == 1
                held = self.sprites[:, first] > 0 if reread else None
                self.empty(block)
                for place, layer in enumerate(block):
                    avoided = block if pair and place == 0 and step % 4 == 2 else []
                    self.choose(layer, avoided, held, first_time=step == 0)
                if again:
                    self.take_back(former, self.loss() >= loss)
        return self.selection()

    def choose(
        self, layer: int, avoided: list[int], held: Bool[Tensor, "B"] | None, first_time: bool
    ) -> None:
        """Look, and put the best candidate into an empty layer: at its depth, or at the best."""
        candidates, features = self.look_at(layer, self.composite, avoided, held)
        if self.predict:
            self.predict_occlusion(layer, features, self.predict)
            self.compose()
        rest, rules, window = self.composite, self.rules, candidates.window
        inside = Inside.of(self, window, layer)
        nothing = squared_errors(self.images, rest)
        outside = nothing - window.share * squared_errors(inside.images, window.cut(rest))
        errors = torch.stack(
            [candidates.errors(inside.images, rest) for rest in inside.rests(rules.seek_depths)]
        )
        errors, end = errors.min(dim=0)  # (B, N), farthest or closest
        best, n = errors.min(dim=1)
        best = outside + window.share * best + rules.penalty
        k = n + 1
        if rules.empty:
            k = k * (best < nothing)
        self.put(layer, inside, candidates, k, self.looks)
        self.looks += 1
        if rules.seek_depths:  # all depths between are for a second look
            end = end[self.image, n] * self.sprites.shape[1]
            self.move(layer, end if first_time else inside.best_depth(self.occlusion))
        window.write(self.composite, inside.composite(self.occlusion))

    def put(
        self, layer: int, inside: "Inside", candidates: Windowed, k: Int[Tensor, "B"], look: int
    ) -> None:
        """Put candidate k of a look, or nothing for 0, into an empty layer and its window."""
        alphas, colours = candidates.chosen((k - 1).clamp(min=0))
        alphas = alphas * (k > 0).view(-1, 1, 1, 1)  # (B, 1, h, w)
        inside.put(alphas, colours)
        inside.window.write(self.alphas[:, self.below + layer], alphas)
        inside.window.write(self.colours[:, self.below + layer], colours)
        self.sprites[:, layer], self.look[:, layer] = k, look
        self.filled.add(layer)

    def empty(self, layers: list[int]) -> None:
        """Take the sprites out of some layers."""
        if self.filled.isdisjoint(layers):
            return
        self.alphas[:, [self.below + layer for layer in layers]] = 0
        self.sprites[:, layers] = 0
        self.filled.difference_update(layers)
        self.compose()

    def compose(self) -> None:
        """Compose the scene as it is, of the layers that hold something."""
        some = [*range(self.below), *(self.below + layer for layer in sorted(self.filled))]
        occlusion = self.occlusion[:, some][:, :, some]
        self.composite = compose(self.alphas[:, some], self.colours[:, some], occlusion)

    # A choice taken back

    def loss(self) -> Float[Tensor, "B"]:
        """Return the objective of Eq. (5) for each image."""
        used = (self.sprites > 0).sum(dim=1)
        return squared_errors(self.images, self.composite) + self.rules.penalty * used

    def present(self) -> list[Tensor]:
        """Return the present choice, to be taken back."""
        return [part.clone() for part in self._parts()]

    def _parts(self) -> list[Tensor]:
        parts = [self.alphas, self.colours, self.occlusion, self.sprites, self.look, self.composite]
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

    def move(self, layer: int, depth: Int[Tensor, "B"]) -> None:
        """Move a layer to a depth."""
        self.occlusion = moved_to(self.occlusion, self.below + layer, depth, self.below)


@dataclass(frozen=True)
class Inside:
    """A layer's window of a scene: what the layers that hold anything show there."""

    window: Window
    images: Float[Tensor, "B C h w"]
    alphas: Float[Tensor, "B m 1 h w"]
    colours: Float[Tensor, "B m C h w"]
    occlusion: Float[Tensor, "B m m"]
    some: list[int]  # which of the M layers they are
    layer: int  # which of the M layers the window is that of
    below: int

    @classmethod
    def of(cls, scene: ResidualSearch, window: Window, layer: int) -> "Inside":
        """Cut a window out of a scene."""
        below = scene.below
        some = [*range(below), *(below + each for each in sorted(scene.filled | {layer}))]
        alphas, colours = (
            window.cut(part[:, some].flatten(1, 2)).unflatten(1, (len(some), -1))
            for part in (scene.alphas, scene.colours)
        )
        occlusion = scene.occlusion[:, some][:, :, some]
        images = window.cut(scene.images)
        return cls(window, images, alphas, colours, occlusion, some, below + layer, below)

    @property
    def content(self) -> tuple[Float[Tensor, "B 1 h w"], Float[Tensor, "B C h w"]]:
        """Alphas and colours of the layer."""
        index = self.some.index(self.layer)
        return self.alphas[:, index], self.colours[:, index]

    def put(self, alphas: Float[Tensor, "B 1 h w"], colours: Float[Tensor, "B C h w"]) -> None:
        """Put something else into the layer."""
        for part, new in zip(self.content, (alphas, colours), strict=True):
            part.copy_(new)

    def rests(self, at_ends: bool) -> list[Rest]:
        """Return `rest_of_scene`, or that for both ends of the depth order."""
        parts = self.alphas, self.colours, self.occlusion, self.some.index(self.layer)
        return rest_of_scene_at_ends(*parts, self.below) if at_ends else [rest_of_scene(*parts)]

    def composite(self, occlusion: Float[Tensor, "B M M"]) -> Float[Tensor, "B C h w"]:
        """Compose the window under the scene's occlusion matrix."""
        occlusion = occlusion[:, self.some][:, :, self.some]
        return compose(self.alphas, self.colours, occlusion)

    def best_depth(self, occlusion: Float[Tensor, "B M M"]) -> Int[Tensor, "B"]:
        """Return the depth of the layer that makes the error smallest, the others' order kept."""
        errors = []
        for depth in range(occlusion.shape[1] - self.below):
            moved = moved_to(occlusion, self.layer, depth, self.below)
            errors.append(squared_errors(self.images, self.composite(moved)))
        return torch.stack(errors, dim=1).argmin(dim=1)
