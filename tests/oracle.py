"""Eqs. (1), (2), (5) and Algorithm 1 of the paper, transcribed with loops.

Slow on purpose, and independent of how dtis composes, renders and selects: from a model it takes
the settings, the sprites and the predictor. Every candidate is composed anew from all layers; how a
layer is transformed, Eq. (3), stands in `oracle_transformations.py`, and our own search in
`search_oracle.py`.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from oracle_transformations import COLOURS, transformed
from torch import Tensor

SLOPE = 0.01  # of the soft clip, outside [0, 1]


# Eqs. (1) and (2)


class Layer(NamedTuple):
    """One layer: transparency (1, H, W) and appearance (C, H, W)."""

    alpha: Tensor
    colour: Tensor


def composed_recursively(layers: list[Layer]) -> Tensor:
    """Eq. (1)."""
    c = torch.zeros_like(layers[0].colour)
    for layer in layers:
        c = layer.alpha * layer.colour + (1 - layer.alpha) * c
    return c


def composed(layers: list[Layer], delta: list[list]) -> Tensor:
    """Eq. (2); delta[j][i] says how much layer j hides layer i."""
    c = torch.zeros_like(layers[0].colour)
    for i, layer in enumerate(layers):
        visible = torch.ones_like(layer.alpha)
        for j, other in enumerate(layers):
            visible = visible * (1 - delta[j][i] * other.alpha)
        c = c + visible * layer.alpha * layer.colour
    return c


# C.2: how raw values become layers


def soft_clip(x: Tensor) -> Tensor:
    """Identity on [0, 1], slope 0.01 outside."""
    return torch.where(x < 0, SLOPE * x, torch.where(x > 1, 1 + SLOPE * (x - 1), x))


def sprite_layer(model, k: int, layer: Tensor, sprite: Tensor, noise: Tensor | None) -> Layer:
    """Sprite k of 0..K, 0 the empty one, under its layer's and its own parameters: Eq. (3)."""
    config, active, size = model.config, model.active, tuple(model.config.image_size)
    if k == 0:
        nothing = model.sprites.masks.new_zeros(config.channels, *size)
        return Layer(nothing[:1], nothing)
    mask = model.sprites.masks[k - 1]
    image = [soft_clip(model.sprites.appearances[k - 1]), mask, torch.ones_like(mask)]
    in_layer = set(config.layer_transformations) - set(COLOURS)
    names, to = config.sprite_transformations, None if in_layer else size
    image = transformed(torch.cat(image), names, sprite, active, to)
    image = transformed(image, config.layer_transformations, layer, active, size)
    colour, mask, frame = image[:-2], image[-2:-1], image[-1:]
    if noise is not None:
        mask = mask + noise[k - 1] * frame
    return Layer(soft_clip(mask) if model.training else mask.clamp(0, 1), colour)


def background_layer(model, n: int, parameters: Tensor) -> Layer:
    """Background n, from 0, under its parameters: without transparency."""
    appearance = soft_clip(model.backgrounds.appearances[n])
    ones = torch.ones_like(appearance[:1])
    names, size = model.config.background_transformations, tuple(model.config.image_size)
    image = torch.cat([appearance, ones, ones])
    image = transformed(image, names, parameters, model.active, size, border=True)
    return Layer(ones, image[:-2])


# Eq. (5) and Algorithm 1


class Choice(NamedTuple):
    """What a layer holds: sprite 0..K, the layer it gives, and the parameters it was made with."""

    k: int
    layer: Layer
    found: tuple | None  # parameters (P), (K, R) and features (F)


class Scene(NamedTuple):
    """One image's choices; the backdrop is one layer, or none for a model without backgrounds."""

    background: int
    backdrop: tuple[Layer, ...]
    objects: tuple[Choice, ...]

    def layers(self) -> list[Layer]:
        return [*self.backdrop, *(choice.layer for choice in self.objects)]

    def put(self, i: int, choice: Choice) -> "Scene":
        return self._replace(objects=(*self.objects[:i], choice, *self.objects[i + 1 :]))


class Oracle:
    """Minimises Eq. (5) for a batch; the networks see the batch, all else one image at a time."""

    def __init__(self, model, images: Tensor, noise: Tensor | None):
        self.model, self.config, self.images, self.noise = model, model.config, images, noise
        self.nothing = Choice(0, sprite_layer(model, 0, None, None, None), None)
        self.scenes = [Scene(0, (), (self.nothing,) * self.config.layers) for _ in images]
        self.logits = None  # of the occlusions, (B, pairs)
        # In training the empty sprite and lambda may have to wait.
        self.counts = model.may_be_empty or not model.training
        self.penalty = self.config.penalty if self.counts else 0.0
        self.predict()

    def predict(self) -> None:
        """Predict all parameters, and the occlusions, from the images."""
        p = self.prediction = self.model.predictor(self.images)
        for b, found in enumerate(zip(p.layer, p.sprite, p.features, strict=True)):
            objects = (self.nothing._replace(found=part) for part in zip(*found, strict=True))
            self.scenes[b] = self.scenes[b]._replace(objects=tuple(objects))
        if self.config.occlusion == "predicted":
            self.logits = self.model.predictor.occlusion_logits(p.features)

    def delta(self, b: int) -> list[list]:
        """Image b's occlusion matrix: predicted, or in the layers' order; the background below."""
        L = self.config.layers
        delta = [[float(j > i) for i in range(L)] for j in range(L)]
        if self.logits is not None:
            delta = self.delta_of(self.logits[b])
        return self.below(delta)

    def delta_of(self, logits: Tensor) -> list[list]:
        """The matrix of predicted logits: a sigmoid in the lower triangle, the rest by symmetry."""
        L, training = self.config.layers, self.model.training
        delta = [[0.0] * L for _ in range(L)]
        pairs = [(j, i) for j in range(L) for i in range(j)]
        for (j, i), logit in zip(pairs, logits, strict=True):
            hides = 1 / (1 + torch.exp(-logit))
            delta[j][i] = hides if training else float(hides > 0.5)
            delta[i][j] = 1 - hides if training else float(1 - hides > 0.5)
        return delta

    def below(self, delta: list[list]) -> list[list]:
        """Put the background, if there is one, below all layers."""
        if not self.config.backgrounds:
            return delta
        return [[0.0] * (len(delta) + 1)] + [[1.0, *row] for row in delta]

    def loss(self, b: int) -> Tensor:
        """What Eq. (5) minimises for image b, with the error averaged over pixels and channels."""
        scene = self.scenes[b]
        used = sum(choice.k > 0 for choice in scene.objects)
        c = composed(scene.layers(), self.delta(b))
        return (self.images[b] - c).square().mean() + self.penalty * used

    def keep_best(self, b: int, scenes: Iterable[Scene]) -> None:
        """Give image b the first scene with the least loss."""
        best = float("inf")
        for scene in scenes:
            self.scenes[b] = scene
            loss = self.loss(b)
            if loss < best:
                best, kept = loss, scene
        self.scenes[b] = kept

    def choice(self, k: int, found: tuple) -> Choice:
        """Sprite k of 0..K, rendered from what was found for a layer."""
        layer, sprite, _ = found
        return Choice(k, sprite_layer(self.model, k, layer, sprite[k - 1], self.noise), found)

    def choices(self, found: tuple) -> list[Choice]:
        """All sprites that a layer may choose from."""
        first = 0 if self.config.empty_sprite and self.counts else 1
        return [self.choice(k, found) for k in range(first, self.config.sprites + 1)]

    def backdrop(self, b: int, n: int) -> tuple[Layer, ...]:
        """Background n for image b, where there are backgrounds."""
        if not self.config.backgrounds:
            return ()
        return (background_layer(self.model, n, self.prediction.background[b, n]),)

    def backdrops(self, b: int) -> list[Scene]:
        """Image b's scene over all backgrounds."""
        backgrounds = range(max(1, self.config.backgrounds))
        return [self.scenes[b]._replace(background=n, backdrop=self.backdrop(b, n))
                for n in backgrounds]  # fmt: skip

    def choose_sprite(self, b: int, i: int) -> None:
        """Line 5 of Algorithm 1: the best sprite for layer i of image b, all others fixed."""
        scene = self.scenes[b]
        self.keep_best(b, [scene.put(i, choice) for choice in self.choices(scene.objects[i].found)])

    @torch.no_grad()
    def select_greedily(self, steps: int) -> None:
        """Algorithm 1, with the best background first."""
        for _, b in itertools.product(range(steps), range(len(self.scenes))):
            self.keep_best(b, self.backdrops(b))
            for i in range(self.config.layers):
                self.choose_sprite(b, i)

    @torch.no_grad()
    def select_exhaustively(self) -> None:
        """The minimum of Eq. (5) over all combinations."""
        for b, scene in enumerate(self.scenes):
            each = [self.choices(choice.found) for choice in scene.objects]
            self.keep_best(b, [
                below._replace(objects=objects)
                for below in self.backdrops(b) for objects in itertools.product(*each)
            ])  # fmt: skip

    def render(self) -> None:
        """Render what was chosen again, with gradient."""
        for b, (n, _, objects) in enumerate(self.scenes):
            objects = tuple(self.choice(choice.k, choice.found) for choice in objects)
            self.scenes[b] = Scene(n, self.backdrop(b, n), objects)


def oracle(
    model, images: Tensor, noise: Tensor | None = None, steps: int | None = None, search=Oracle
):
    """Decompose images (B, C, H, W): return the loss, the choices and the reconstructions.

    The choices are sprites (B, L), 0 the empty one, and backgrounds (B,). The loss has gradients
    for the sprites, the backgrounds and the predictor; the selection needs none.
    """
    search = search(model, images, noise)
    if model.config.selection == "exhaustive":
        search.select_exhaustively()
    else:
        search.select_greedily(steps or model.config.selection_steps)
    search.render()
    loss = torch.stack([search.loss(b) for b in range(len(images))]).mean()
    chosen = torch.tensor([[choice.k for choice in scene.objects] for scene in search.scenes])
    background = torch.tensor([scene.background for scene in search.scenes])
    c = [composed(scene.layers(), search.delta(b)) for b, scene in enumerate(search.scenes)]
    return loss, chosen, background, torch.stack(c)


def oracle_loss(model, images: Tensor, noise: Tensor | None = None, steps: int | None = None):
    """Return the loss of Eq. (5), the chosen sprites (B, L) and the chosen backgrounds (B,)."""
    return oracle(model, images, noise, steps)[:3]
