"""The predictor: from an image to the parameters of its scene (Sec. 3.2 and 3.3).

Two heads over a shared encoder: `pooled`, the paper's, and `attention`, ours. And two ways to look:
at the image once for all layers, the paper's; or once per layer, each time beside what the layers
found so far explain (`looks: residual`), so that all layers share one question: what is missing?
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.encoders import build_encoder
from dtis_core.transformations import Sequence, pixel_centres

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
    """One softmax map per layer: its mean is a position, its attended feature all the rest."""

    def __init__(self, features: int, layers: int, channels_in: int = 0):
        super().__init__()
        self.size = features
        self.scores = nn.Conv2d(features, layers, 1)

    def forward(
        self, maps: Float[Tensor, "B F y x"]
    ) -> tuple[Float[Tensor, "B L F"], Float[Tensor, "B L 2"]]:
        """Return the attended features and the mean position (x, y) in [-1, 1]."""
        weights = self.scores(maps).flatten(2).softmax(dim=-1)  # (B, L, y x)
        features = weights @ maps.flatten(2).mT  # (B, L, F)
        weights = weights.unflatten(-1, maps.shape[-2:])  # (B, L, y, x)
        y = weights.sum(3) @ pixel_centres(maps.shape[2], weights)  # (B, L)
        x = weights.sum(2) @ pixel_centres(maps.shape[3], weights)
        return features, torch.stack([x, y], dim=-1)


class Predictor(nn.Module):
    """Shared encoder and heads for the layers, the sprites, the background and the occlusions."""

    def __init__(
        self,
        encoder: str,
        head: str,
        pool: int,
        channels: int,
        layers: int,
        sprites: int,
        backgrounds: int,
        sequences: tuple[Sequence, Sequence, Sequence],
        occlusion_layers: int,
    ):
        super().__init__()
        self.layer_sequence, self.sprite_sequence, self.background_sequence = sequences
        self.sprites, self.backgrounds, self.layers = sprites, backgrounds, layers
        self.encoder, width = build_encoder(encoder, channels)
        if head == "attention":
            self.look = Attention(width, layers)
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
        """Predict all parameters but the occlusions. Zero, that is identity, before training."""
        maps = self.encoder(images.contiguous(memory_format=torch.channels_last))
        features, position = self.look(maps)
        layer = self.layer_head(features)
        if position is not None:
            layer = self._place(layer, position)
        B, L, _ = features.shape
        sprite = self.sprite_head(features).view(B, L, self.sprites, self.sprite_sequence.size)
        shared = features[:, :1] if self.head == "pooled" else maps.mean(dim=(2, 3))[:, None]
        background = self.background_head(shared)
        background = background.view(B, self.backgrounds, self.background_sequence.size)
        return Prediction(layer, sprite, background, features)

    def _place(self, layer: Float[Tensor, "B L P"], position: Float[Tensor, "B L 2"]):
        """Add the attended position to the layer's translation, which passes through tanh later."""
        for name, module in zip(
            self.layer_sequence.names, self.layer_sequence.modules, strict=True
        ):
            if hasattr(module, "translation"):
                start = self.layer_sequence.slices[name].start + module.translation.start
                shift = torch.atanh(position.clamp(-0.99, 0.99))
                after = layer.shape[-1] - start - 2
                layer = layer + nn.functional.pad(shift, (start, after))
        return layer

    def occlusion_logits(self, features: Float[Tensor, "B L F"]) -> Float[Tensor, "B pairs"]:
        """Return L(L-1)/2 logits: from the pooled features, or from each pair's attended ones."""
        if self.head == "pooled":
            return self.occlusion_head(features[:, :1])[:, 0]
        L = features.shape[1]
        rows, columns = torch.tril_indices(L, L, -1, device=features.device)
        pairs = torch.cat([features[:, rows], features[:, columns]], dim=-1)  # (B, pairs, 2F)
        return self.occlusion_head(pairs.flatten(0, 1)[:, None]).view(len(features), -1)
