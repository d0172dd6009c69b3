"""The predictor: from an image to the parameters of its scene (Sec. 3.2 and 3.3).

Two heads over a shared encoder: `pooled`, the paper's, and `attention`, ours. And two ways to look:
at the image once for all layers, the paper's; or once per layer, each time beside what the layers
found so far explain (`looks: residual`), so that all layers share one question: what is missing?
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.model.canvas import pixel_centres
from dtis_core.model.encoders import build_encoder
from dtis_core.model.transformations import Sequence

HIDDEN = 128  # units in each of a head's two hidden layers


@dataclass(frozen=True)
class Prediction:
    """Parameters for a batch. L layers, or one where the predictor looks layer by layer.

    layer (B, L, P), sprite (B, L, K, P'), background (B, K', P''), features (B, L, F).
    """

    layer: Float[Tensor, "B L P"]
    sprite: Float[Tensor, "B L K R"]
    background: Float[Tensor, "B M S"]
    features: Float[Tensor, "B L F"]


class LayerwiseMLP(nn.Module):
    """One MLP per layer, all evaluated at once: two hidden layers, outputs start at zero."""

    def __init__(self, layers: int, inputs: int, outputs: int):
        super().__init__()
        sizes = [inputs, HIDDEN, HIDDEN, outputs]
        shapes = list(zip(sizes, sizes[1:], strict=False))
        self.weights = nn.ParameterList(torch.empty(layers, i, o) for i, o in shapes)
        self.biases = nn.ParameterList(torch.zeros(layers, 1, o) for _, o in shapes)
        for weight in self.weights[:-1]:
            nn.init.normal_(weight, std=(2 / weight.shape[1]) ** 0.5)
        nn.init.zeros_(self.weights[-1])

    def forward(self, x: Float[Tensor, "B L F"]) -> Float[Tensor, "B L O"]:
        """Return each layer's outputs for its own features."""
        x = x.transpose(0, 1)  # (L, B, F)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, torch.relu(x) if index else x, weight)
        return x.transpose(0, 1)


class Pooling(nn.Module):
    """The paper's head input: the adaptively pooled feature map, the same for every layer."""

    def __init__(self, features: int, layers: int, side: int):
        super().__init__()
        self.layers = layers
        self.size = features * side**2
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())

    def forward(self, maps: Float[Tensor, "B F y x"]) -> tuple[Float[Tensor, "B L G"], None]:
        """Return the features of each layer, and no position."""
        return self.pool(maps)[:, None].expand(-1, self.layers, -1), None


class Attention(nn.Module):
    """Softmax maps over the features: the mean of each is a position, what it attends the rest.

    One map per layer; or, where positions belong to single sprites, one per layer and sprite.
    Only cells within `reach` of a map's peak count: two objects of equal appeal would otherwise
    average to a place between them, where there is nothing.
    """

    def __init__(self, features: int, layers: int, maps: int, reach: int):
        super().__init__()
        self.size, self.layers, self.reach = features, layers, reach
        self.per_sprite = maps > 1
        self.scores = nn.Conv2d(features, layers * maps, 1)

    def forward(
        self, features: Float[Tensor, "B F y x"]
    ) -> tuple[Float[Tensor, "B L F"], Float[Tensor, "B L m 2"]]:
        """Return the attended features, averaged over maps, and positions (x, y) in [-1, 1]."""
        height, width = features.shape[-2:]
        scores = self.scores(features).flatten(2).unflatten(1, (self.layers, -1))  # (B, L, m, y x)
        cell = torch.arange(height * width, device=scores.device)
        peak = scores.argmax(dim=-1, keepdim=True)  # (B, L, m, 1)
        near_y = (cell // width - peak // width).abs() <= self.reach  # (B, L, m, y x)
        near_x = (cell % width - peak % width).abs() <= self.reach
        weights = scores.masked_fill(~(near_y & near_x), -torch.inf).softmax(dim=-1)
        attended = weights.mean(dim=2) @ features.flatten(2).mT  # (B, L, F)
        weights = weights.unflatten(-1, (height, width))  # (B, L, m, y, x)
        y = weights.sum(4) @ pixel_centres(height, weights)  # (B, L, m)
        x = weights.sum(3) @ pixel_centres(width, weights)
        return attended, torch.stack([x, y], dim=-1)


def translation_slice(sequence: Sequence) -> slice | None:
    """Return where a sequence's parameters hold a translation (x, y), if it has one."""
    for name, module in zip(sequence.names, sequence.modules, strict=True):
        if hasattr(module, "translation"):
            start = sequence.slices[name].start
            return slice(start + module.translation.start, start + module.translation.stop)
    return None


def start_at(
    parameters: Float[Tensor, "*lead P"],
    where: slice | None,
    position: Float[Tensor, "*lead 2"],
) -> Float[Tensor, "*lead P"]:
    """Add a position in [-1, 1] to the translation, which passes through tanh later."""
    if where is None:
        return parameters
    shift = torch.atanh(position.clamp(-0.99, 0.99))
    padding = (where.start, parameters.shape[-1] - where.stop)
    return parameters + nn.functional.pad(shift, padding)


class Predictor(nn.Module):
    """Shared encoder and heads for the layers, the sprites, the background and the occlusions."""

    def __init__(
        self,
        encoder: str,
        head: str,
        pool: int,
        channels: int,
        image_size: tuple[int, int],
        layers: int,
        sprites: int,
        backgrounds: int,
        sequences: tuple[Sequence, Sequence, Sequence],
        occlusion_layers: int,
        reach: int = 3,
    ):
        super().__init__()
        self.layer_sequence, self.sprite_sequence, self.background_sequence = sequences
        self.sprites, self.backgrounds, self.layers = sprites, backgrounds, layers
        self.encoder, width = build_encoder(encoder, channels, image_size)
        if head == "attention":
            own = translation_slice(self.layer_sequence) is None
            self.look = Attention(width, layers, maps=sprites if own else 1, reach=reach)
        else:
            self.look = Pooling(width, layers, pool)
        features = self.look.size
        self.layer_head = LayerwiseMLP(layers, features, self.layer_sequence.size)
        self.sprite_head = LayerwiseMLP(layers, features, sprites * self.sprite_sequence.size)
        shared = features if head == "pooled" else width
        self.background_head = LayerwiseMLP(1, shared, backgrounds * self.background_sequence.size)
        self.head = head
        pairs = occlusion_layers * (occlusion_layers - 1) // 2
        if head == "pooled":
            self.occlusion_head = LayerwiseMLP(1, features, pairs)
        else:
            self.occlusion_head = LayerwiseMLP(1, 2 * features, min(pairs, 1))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Prediction:
        """Predict all parameters but the occlusions. Zero before training."""
        maps = self.encoder(images.contiguous(memory_format=torch.channels_last))
        features, position = self.look(maps)
        B, L, _ = features.shape
        layer = self.layer_head(features)
        sprite = self.sprite_head(features).view(B, L, self.sprites, self.sprite_sequence.size)
        if position is not None:
            at = translation_slice(self.layer_sequence)
            if at is not None:
                layer = start_at(layer, at, position[:, :, 0])
            else:
                sprite = start_at(sprite, translation_slice(self.sprite_sequence), position)
        shared = features[:, :1] if self.head == "pooled" else maps.mean(dim=(2, 3))[:, None]
        background = self.background_head(shared)
        background = background.view(B, self.backgrounds, self.background_sequence.size)
        return Prediction(layer, sprite, background, features)

    def occlusion_logits(self, features: Float[Tensor, "B L F"]) -> Float[Tensor, "B pairs"]:
        """Return L(L-1)/2 logits: from the pooled features, or from each pair's attended ones."""
        if self.head == "pooled":
            return self.occlusion_head(features[:, :1])[:, 0]
        L = features.shape[1]
        rows, columns = torch.tril_indices(L, L, -1, device=features.device)
        pairs = torch.cat([features[:, rows], features[:, columns]], dim=-1)  # (B, pairs, 2F)
        return self.occlusion_head(pairs.flatten(0, 1)[:, None]).view(len(features), -1)
