"""Dreams: scenes composed of the model's own sprites, whose truth is known without a label.

Parameters are those found in the present images, shuffled among them, with other places and angles.
On dreams the fovea learns to read what Eq. (5) alone does not teach it: an angle's error has a
gradient that leads back from a few degrees off, and not from any further. And attention learns
where something is missing: a look that finds nothing leaves its layer empty, and without gradient.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtis_core.model.canvas import pixel_centres
from dtis_core.model.composition import compose, ordered_occlusion, visibilities
from dtis_core.model.dti_sprites import Decomposition
from dtis_core.search.fovea import Estimate, vectors_of
from dtis_core.search.seeking import SeekingSprites
from dtis_core.search.seeking_predictor import Attention

SCENES = 3  # dreams for each image
SHIFT = 0.3  # of places, in half image sides
FARTHEST = 0.8  # place, likewise
CHANGE = 0.1  # of all other parameters but colours
UNSURE = (0.01, 0.1)  # where to look, in half image sides: least and most
MISTAKEN = 0.04  # what is known of the other layers
VISIBLE = 0.25  # share of a layer that must be seen to be missed
NEAR = 1.1  # cells from a missing layer that attention may peak at
WEIGHTS = {"place": 1.6, "angle": 0.3, "layer": 0.5, "sprite": 0.5, "look": 0.3}
WEIGHT = 0.01  # of all of them, beside Eq. (5)


@dataclass(frozen=True)
class Dream:
    """N scenes, in each of which one layer is asked for: its parameters; its sprite, from 0.

    Of all layers, `missing` tells which can be seen and are not known, `places` where they are.
    """

    images: Float[Tensor, "N C H W"]
    rest: Float[Tensor, "N C H W"]
    layer: Float[Tensor, "N P"]
    sprite: Float[Tensor, "N R"]
    k: Int[Tensor, "N"]
    missing: Bool[Tensor, "N L"]
    places: Float[Tensor, "N L 2"]


@dataclass(frozen=True)
class Composed:
    """N scenes composed of sprites 0..K, where `seen` tells which of their layers can be seen."""

    images: Float[Tensor, "N C H W"]
    sprites: Int[Tensor, "N L"]
    layer: Float[Tensor, "N L P"]
    sprite: Float[Tensor, "N L K R"]
    seen: Bool[Tensor, "N L"]


class Dreams:
    """Composes dreams for a model, from what it found in a batch; `dice` decides on all."""

    def __init__(self, model: SeekingSprites, dice: torch.Generator):
        self.model, self.dice = model, dice
        place = model.predictor.at
        assert place is not None  # the rules of the configuration see to it
        self.place = place

    def normal(self, *shape: int) -> Tensor:
        """Draw normal numbers."""
        return torch.randn(*shape, generator=self.dice, device=self.dice.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers from 0 to 1."""
        return torch.rand(*shape, generator=self.dice, device=self.dice.device)

    def among(self, count: int, *shape: int) -> Tensor:
        """Draw integers from 0 to below `count`."""
        return torch.randint(count, shape, generator=self.dice, device=self.dice.device)

    @torch.no_grad()
    def scenes(self, scene: Decomposition) -> Composed:
        """Compose scenes of what was found, shuffled and moved."""
        found = scene.prediction
        B, L = scene.selection.sprites.shape
        N = SCENES * B
        image, column = self.among(B, N, L), self.among(L, N, L)
        chosen = scene.selection.sprites[image, column]  # (N, L)
        layer, sprite = self.moved(found.layer[image, column], found.sprite[image, column])
        alphas, colours = self.model.chosen_layers(chosen, layer, sprite)
        order = ordered_occlusion(N, L, alphas)
        visible = visibilities(alphas.clamp(0, 1), order).sum(dim=(2, 3, 4))  # (N, L)
        seen = visible > VISIBLE * alphas.clamp(0, 1).sum(dim=(2, 3, 4))
        images = self.composed(scene, alphas, colours)
        return Composed(images, chosen, layer, sprite, (chosen > 0) & seen)

    @torch.no_grad()
    def of(self, scene: Decomposition) -> Dream:
        """Compose dreams; those are left out whose layer would be empty."""
        whole = self.scenes(scene)
        chosen, layer, sprite = whole.sprites, whole.layer, whole.sprite
        N, L = chosen.shape
        # One layer that is there is asked for, of the others some are known.
        asked = (self.uniform(N, L) + (chosen > 0)).argmax(dim=1)
        known = self.uniform(N, L) < self.uniform(N, 1)
        every = torch.arange(N, device=chosen.device)
        known[every, asked] = False
        near = layer + MISTAKEN * self.normal(*layer.shape)
        turned = sprite + 2 * MISTAKEN * self.normal(*sprite.shape)
        rest = self.composed(scene, *self.model.chosen_layers(chosen * known, near, turned))
        there = chosen[every, asked] > 0
        k = chosen[every, asked] - 1
        parts = whole.images, rest, layer[every, asked], sprite[every, asked, k], k
        parts += whole.seen & ~known, torch.tanh(layer[..., self.place])
        return Dream(*(part[there] for part in parts))

    def moved(
        self, layer: Float[Tensor, "N L P"], sprite: Float[Tensor, "N L K R"]
    ) -> tuple[Tensor, Tensor]:
        """Return parameters for other places, at any angle, and otherwise much like those found."""
        at = self.place
        place = torch.tanh(layer[..., at]) + SHIFT * self.normal(*layer.shape[:2], 2)
        spatial = self.spatial
        layer = layer + CHANGE * spatial * self.normal(*layer.shape)
        layer[..., at] = torch.atanh(place.clamp(-FARTHEST, FARTHEST))
        sprite = sprite.clone()
        if self.model.angle is not None:
            sprite[..., self.model.angle] = 2 * torch.pi * self.uniform(*sprite.shape[:3])
        return layer, sprite

    @property
    def spatial(self) -> Float[Tensor, "P"]:
        """Tell which of a layer's parameters are not a colour's: 1 there, else 0."""
        sequence = self.model.sequences[0]
        sizes = [
            float(module.spatial) * torch.ones(module.size, device=self.dice.device)
            for module in sequence.modules
        ]
        return torch.cat(sizes)

    def composed(
        self,
        scene: Decomposition,
        alphas: Float[Tensor, "N L 1 H W"],
        colours: Float[Tensor, "N L C H W"],
    ) -> Float[Tensor, "N C H W"]:
        """Compose layers, in their order, over the backgrounds that were found."""
        N, L = alphas.shape[:2]
        alphas = alphas.clamp(0, 1)
        if self.model.config.backgrounds:
            behind = scene.colours[:, :1].detach().repeat(SCENES, 1, 1, 1, 1)  # (N, 1, C, H, W)
            alphas = torch.cat([torch.ones_like(alphas[:, :1]), alphas], dim=1)
            colours = torch.cat([behind, colours], dim=1)
        return compose(alphas, colours, self.model.below(ordered_occlusion(N, L, alphas)))

    def lesson(self, scene: Decomposition) -> Tensor:
        """Return how far off the fovea reads dreams, to be added to the loss of Eq. (5)."""
        dream = self.of(scene)
        if not len(dream.k):
            return dream.layer.new_zeros(())
        place = torch.tanh(dream.layer[:, self.place])
        least, most = UNSURE
        spread = least + (most - least) * self.uniform(len(place), 1).square()
        centre = place + spread * self.normal(*place.shape)
        estimates = self.model.predictor.fovea(dream.images, dream.rest, centre)
        misread = torch.stack([self.misread(dream, estimate) for estimate in estimates])  # (g, N)
        some = Dream(*(part[::SCENES] for part in vars(dream).values()))  # enough for attention
        missed = self.misses(some).sum() / len(some.k)
        return WEIGHT * (misread.sum(dim=0).mean() + WEIGHTS["look"] * missed)

    def misread(self, dream: Dream, estimate: Estimate) -> Float[Tensor, "N"]:
        """Return how far an estimate is from what was asked for."""
        own = torch.arange(len(dream.k), device=dream.k.device), dream.k
        place = torch.tanh(dream.layer[:, self.place])
        layer, sprite, angle = dream.layer.clone(), dream.sprite.clone(), self.model.angle
        layer[:, self.place] = 0  # told by the place
        off = {"place": (estimate.place - place) / estimate.unit[:, None]}
        if angle is not None:
            sprite[:, angle] = 0  # told by its vectors
            aim = vectors_of(dream.sprite[:, angle], self.model.search.harmonics)
            off["angle"] = (estimate.vectors[own] - aim).flatten(1)
        off |= {"layer": estimate.layer - layer, "sprite": estimate.sprite[own] - sprite}
        parts = [WEIGHTS[name] * part.square().sum(dim=1) for name, part in off.items()]
        return torch.stack(parts).sum(dim=0)

    def misses(self, dream: Dream) -> Float[Tensor, "n"]:
        """Return minus the logarithm of the attention near any layer that is missing, if one is."""
        predictor = self.model.predictor
        assert isinstance(predictor.look, Attention)  # as for the place
        maps = predictor.encode(torch.cat([dream.images, dream.rest], dim=1))
        scores = predictor.look.scores(maps)[:, 0]  # (N, y, x)
        cells = [pixel_centres(side, scores) for side in scores.shape[1:]]
        y, x = ((cells[i] - dream.places[..., 1 - i, None]).abs() for i in (0, 1))  # (N, L, y or x)
        y, x = y < 2 * NEAR / len(cells[0]), x < 2 * NEAR / len(cells[1])
        near = y[..., None] & x[:, :, None]  # (N, L, y, x)
        near = (near & dream.missing[..., None, None]).any(dim=1).flatten(1)  # (N, y x)
        weights = scores.flatten(1).log_softmax(dim=1).masked_fill(~near, -torch.inf)
        return -weights[near.any(dim=1)].logsumexp(dim=1)
