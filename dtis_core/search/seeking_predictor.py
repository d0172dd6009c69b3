"""Our predictor: heads that attend to places, and looks at the image beside the rest."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtis_core.config import ModelConfig, SearchConfig
from dtis_core.model.canvas import pixel_centres
from dtis_core.model.predictor import LayerwiseMLP, Look, Pooling, Prediction, Predictor
from dtis_core.model.transformations import Position, Sequence
from dtis_core.search.fovea import DIFFERENCE_GAIN, REACH, Fovea, Glance, angles_of
from dtis_core.search.transformations import Placement

FARTHEST = 0.99  # place, in half image sides
INHIBITED = 2.0  # cells around a place that attention is not to return to
NEVER = -1e4  # the score of a cell that is not to be attended
LEAST_ERROR = 1e-6  # of a cell, squared, that counts as missing
NO_ERROR = 1e-9  # less than this, and a cell has no place of its own where something is missing
PULL = 5.0  # the score, at first, of the cell where most is missing


class Attention(Look):
    """Softmax maps over the features: the mean of each is a position, what it attends the rest.

    One map per layer; or, where positions belong to single sprites, one per layer and sprite.
    Only cells within `reach` of a map's peak count: two objects of equal appeal would otherwise
    average to a place between them, where there is nothing. A map that is `drawn` starts where the
    most is missing; features are then learned on top. Its cells are where in them it is missing.
    """

    def __init__(self, features: int, layers: int, maps: int, reach: int, drawn: bool = False):
        super().__init__()
        self.size, self.layers, self.reach = features, layers, reach
        self.per_sprite = maps > 1
        self.scores = nn.Conv2d(features, layers * maps, 1)
        self.pull = nn.Parameter(torch.tensor(PULL)) if drawn else None

    def forward(
        self,
        features: Float[Tensor, "B F y x"],
        avoided: Float[Tensor, "B n 2"] | None = None,
        difference: Float[Tensor, "B C H W"] | None = None,
    ) -> tuple[Float[Tensor, "B L F"], Float[Tensor, "B L m 2"]]:
        """Return the attended features, averaged over maps, and positions (x, y) in [-1, 1].

        Attention does not return to `avoided` places, if there are any; if it is drawn, then by the
        `difference` between the images and what is explained of them.
        """
        height, width = features.shape[-2:]
        scores = self.scores(features).flatten(2).unflatten(1, (self.layers, -1))  # (B, L, m, y x)
        y = pixel_centres(height, scores)[:, None].expand(height, width)
        x = pixel_centres(width, scores).expand(height, width)
        cells = torch.stack([x, y])[None]  # (1, 2, y, x), the place of each
        if self.pull is not None and difference is not None:
            shares, cells = what_is_missing(difference, cells)
            scores = scores + self.pull * shares.flatten(1)[:, None, None]
        if avoided is not None:
            around = near(avoided, height, width).any(dim=1).flatten(1)  # (B, y x)
            scores = scores.masked_fill(around[:, None, None], NEVER)
        cell = torch.arange(height * width, device=scores.device)
        peak = scores.argmax(dim=-1, keepdim=True)  # (B, L, m, 1)
        near_y = (cell // width - peak // width).abs() <= self.reach  # (B, L, m, y x)
        near_x = (cell % width - peak % width).abs() <= self.reach
        weights = scores.masked_fill(~(near_y & near_x), -torch.inf).softmax(dim=-1)
        attended = weights.mean(dim=2) @ features.flatten(2).mT  # (B, L, F)
        return attended, weights @ cells.flatten(2).mT[:, None]  # (B, L, m, 2)


def near(places: Float[Tensor, "B n 2"], height: int, width: int) -> Bool[Tensor, "B n y x"]:
    """Tell which cells of a map lie within `INHIBITED` of places (x, y) in [-1, 1]."""
    x, y = places.unsqueeze(-1).unbind(dim=2)  # (B, n, 1)
    x = (pixel_centres(width, places) - x) * width / 2  # (B, n, x), in cells
    y = (pixel_centres(height, places) - y) * height / 2
    return x[:, :, None].square() + y[..., None].square() < INHIBITED**2


def what_is_missing(
    difference: Float[Tensor, "B C H W"], cells: Float[Tensor, "1 2 y x"]
) -> tuple[Float[Tensor, "B y x"], Float[Tensor, "B 2 y x"]]:
    """Return how much is missing in each cell of a map, and where in it.

    How much: the squared error, as a share of that in the worst cell. Where: the mean place (x, y)
    of its pixels, each as often as it is wrong; in a cell without error its own place.
    """
    error = difference.square().mean(dim=1, keepdim=True)  # (B, 1, H, W)
    y = pixel_centres(error.shape[2], error)[:, None]  # (H, 1)
    x = pixel_centres(error.shape[3], error)
    moments = torch.cat([error, error * x, error * y], dim=1)
    size = cells.shape[2], cells.shape[3]
    error, moments = nn.functional.adaptive_avg_pool2d(moments, size).split([1, 2], dim=1)
    places = (moments + NO_ERROR * cells) / (error + NO_ERROR)
    worst = error.amax(dim=(1, 2, 3), keepdim=True).clamp(min=LEAST_ERROR)
    return (error / worst).squeeze(1), places


def placing(sequence: Sequence) -> tuple[Position, slice] | None:
    """Return the module that places a sprite, and where its parameters are, if there is one."""
    for name, module in zip(sequence.names, sequence.modules, strict=True):
        if isinstance(module, Position):
            return module, sequence.slices[name]
    return None


def translation_slice(sequence: Sequence) -> slice | None:
    """Return where a sequence's parameters hold a translation (x, y), if it has one."""
    found = placing(sequence)
    if found is None:
        return None
    module, where = found
    at = module.translation
    return slice(where.start + at.start, where.start + at.stop)


def enlargement(sequence: Sequence, parameters: Float[Tensor, "*lead P"]) -> Float[Tensor, "*lead"]:
    """Return how many times its own size a sprite is shown at, by our module that places it."""
    module, where = placing(sequence) or (None, slice(0))
    assert isinstance(module, Placement)  # the rules of the configuration see to it
    return module.enlargement(parameters[..., where])


def start_at(
    parameters: Float[Tensor, "*lead P"],
    where: slice | None,
    position: Float[Tensor, "*lead 2"],
) -> Float[Tensor, "*lead P"]:
    """Add a position in [-1, 1] to the translation, which passes through tanh later."""
    if where is None:
        return parameters
    shift = torch.atanh(position.clamp(-FARTHEST, FARTHEST))
    padding = (where.start, parameters.shape[-1] - where.stop)
    return parameters + nn.functional.pad(shift, padding)


@dataclass(frozen=True)
class SeekingPrediction(Prediction):
    """A prediction with the angles that are open for each sprite, T of them, as candidates."""

    angles: Float[Tensor, "B L K T"]


class SeekingPredictor(Predictor):
    """The paper's heads on attended features, where `search.head` says so.

    With residual looks it sees 2C channels, the image and what is explained of it, or the C
    channels of their difference, and predicts one layer at a time.
    """

    def __init__(
        self,
        config: ModelConfig,
        sequences: tuple[Sequence, Sequence, Sequence],
        image_size: tuple[int, int],
        search: SearchConfig,
    ):
        nn.Module.__init__(self)
        self.search = search
        C, L = config.channels, config.layers
        one = search.looks == "residual"
        both = one and search.sees == "both"
        self.build(config, sequences, image_size, 2 * C if both else C, 1 if one else L)
        self.at = translation_slice(sequences[0])
        if search.fovea:
            height, width = (
                REACH * part / whole
                for part, whole in zip(config.sprite_size, config.image_size, strict=True)
            )
            sizes = sequences[0].size, sequences[1].size, len(search.harmonics)
            first, second = (Glance(C, config.sprites, sizes, (width, height)) for _ in range(2))
            assert self.at is not None  # the rules of the configuration see to it
            self.fovea = Fovea((first, second), self.at, partial(enlargement, sequences[0]))

    def keep_sprites(self, count: int) -> None:
        """Say that only so many sprites are left; see `Predictor`."""
        super().keep_sprites(count)
        if self.search.fovea:
            self.fovea.keep_sprites(count)

    def build_look(self, config: ModelConfig) -> Look:
        """Return what turns the encoder's maps into each layer's features."""
        if self.search.head == "pooled":
            return super().build_look(config)
        own = translation_slice(self.sequences[0]) is None
        maps = config.sprites if own else 1
        drawn = self.search.drawn_by == "error"
        return Attention(self.width, self.layers, maps, self.search.reach, drawn)

    def build_occlusion_head(self, pairs: int) -> LayerwiseMLP:
        """Return the head of the L(L - 1)/2 logits, or, of attended features, of each pair's."""
        if self.search.head == "pooled":
            return super().build_occlusion_head(pairs)
        return LayerwiseMLP(1, 2 * self.look.size, min(pairs, 1), self.kind)

    def encode(self, images: Float[Tensor, "B D H W"]) -> Float[Tensor, "B F y x"]:
        """Return the encoder's maps.

        In a difference all that is explained is zero, as the padding of convolutions is: so the
        border of an image does not stand out more than small objects do.
        """
        if self.search.sees == "difference":
            image, rest = images.chunk(2, dim=1)
            images = DIFFERENCE_GAIN * (image - rest)
        return super().encode(images)

    def forward(
        self,
        images: Float[Tensor, "B C H W"],
        avoided: Float[Tensor, "B n 2"] | None = None,
        own: Float[Tensor, "B 2"] | None = None,
    ) -> Prediction:
        """Predict all parameters but the occlusions. Zero, but for positions, before training.

        Attention, if there is any, does not return to `avoided` places (x, y) in [-1, 1]. The fovea
        reads each layer's `own` place instead of the attended one, where that is not NaN.
        """
        if isinstance(self.look, Pooling):
            return super().forward(images)
        maps = self.encode(images)
        drawn = self.search.drawn_by == "error"
        difference = torch.sub(*images.chunk(2, dim=1)) if drawn else None
        features, position = self.look(maps, avoided, difference)
        prediction = self.parameters_of(features, maps.mean(dim=(2, 3))[:, None])
        at = self.at
        if at is None:
            at = translation_slice(self.sequences[1])
            return replace(prediction, sprite=start_at(prediction.sprite, at, position))
        layer = start_at(prediction.layer, at, position[:, :, 0])
        prediction = replace(prediction, layer=layer)
        reads = self.search.fovea and self.fovea.in_use
        return self.seen_closely(images, prediction, at, own) if reads else prediction

    def seen_closely(
        self,
        images: Float[Tensor, "B D H W"],
        prediction: Prediction,
        at: slice,
        own: Float[Tensor, "B 2"] | None,
    ) -> SeekingPrediction:
        """Return what the fovea reads where the prediction has a layer, in place of its own.

        The place is the predicted one, with its gradient, and the offsets read: so the attention
        goes on learning from Eq. (5) where to look.
        """
        image, rest = images.chunk(2, dim=1)
        place = torch.tanh(prediction.layer[:, 0, at])
        place = place if own is None else torch.where(own.isnan(), place, own)
        read = self.fovea(image, rest, place)[-1]
        angles = angles_of(read.vectors, self.search.harmonics).detach()[:, None]
        return SeekingPrediction(
            start_at(read.layer, at, read.place)[:, None],  # (B, 1, P)
            read.sprite[:, None],
            prediction.background,
            prediction.features,
            angles,
        )

    def occlusion_logits(self, features: Float[Tensor, "B L F"]) -> Float[Tensor, "B pairs"]:
        """Return L(L - 1)/2 logits: from the pooled features, or from each pair's attended ones."""
        if self.search.head == "pooled":
            return super().occlusion_logits(features)
        L = features.shape[1]
        rows, columns = torch.tril_indices(L, L, -1, device=features.device)
        pairs = torch.cat([features[:, rows], features[:, columns]], dim=-1)  # (B, pairs, 2F)
        return self.occlusion_head(pairs.flatten(0, 1)[:, None]).view(len(features), -1)
