"""The predictor: from an image to the parameters of its scene (Sec. 3.2 and 3.3).

One encoder, shared; and heads for the layers, the sprites, the backgrounds and the occlusions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.config import ModelConfig
from dtis_core.model.encoders import Kind, encoder_kind
from dtis_core.model.transformations import Sequence

HIDDEN = 128  # units in each of a head's two hidden layers


@dataclass(frozen=True)
class Prediction:
    """Parameters for a batch: what the transformations of layers, sprites and backgrounds take.

    layer (B, L, P), sprite (B, L, K, R), background (B, G, S), features (B, L, F): what the
    occlusions are predicted from.
    """

    layer: Float[Tensor, "B L P"]
    sprite: Float[Tensor, "B L K R"]
    background: Float[Tensor, "B G S"]
    features: Float[Tensor, "B L F"]


class LayerwiseMLP(nn.Module):
    """One MLP per layer, all evaluated at once: two hidden layers, outputs start at zero.

    `encoder` is the kind of encoder whose features it reads, which says how hidden layers start.
    """

    def __init__(self, layers: int, inputs: int, outputs: int, encoder: Kind):
        super().__init__()
        sizes = [inputs, HIDDEN, HIDDEN, outputs]
        shapes = list(zip(sizes, sizes[1:], strict=False))
        self.weights = nn.ParameterList(torch.empty(layers, i, o) for i, o in shapes)
        self.biases = nn.ParameterList(torch.zeros(layers, 1, o) for _, o in shapes)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            encoder.start(weight, bias)
        nn.init.zeros_(self.weights[-1])

    def forward(self, x: Float[Tensor, "B L F"]) -> Float[Tensor, "B L O"]:
        """Return each layer's outputs for its own features."""
        x = x.transpose(0, 1)  # (L, B, F)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, torch.relu(x) if index else x, weight)
        return x.transpose(0, 1)  # (B, L, O)


class Look(nn.Module):
    """What turns the encoder's maps into each layer's features, `size` numbers each."""

    size: int


class Pooling(Look):
    """What the heads read: the adaptively pooled feature map, the same for every layer."""

    def __init__(self, width: int, layers: int, side: int):
        super().__init__()
        self.layers, self.size = layers, width * side**2
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())

    def forward(self, maps: Float[Tensor, "B F y x"]) -> Float[Tensor, "B L G"]:
        """Return the features of each layer."""
        return self.pool(maps)[:, None].expand(-1, self.layers, -1)


class Predictor(nn.Module):
    """Shared encoder and heads for the layers, the sprites, the backgrounds and the occlusions."""

    look: Look

    def __init__(
        self,
        config: ModelConfig,
        sequences: tuple[Sequence, Sequence, Sequence],
        image_size: tuple[int, int],
    ):
        """Build it for images of a size; `sequences` are those of layers, sprites, backgrounds."""
        super().__init__()
        self.build(config, sequences, image_size, config.channels, config.layers)

    def build(
        self,
        config: ModelConfig,
        sequences: tuple[Sequence, Sequence, Sequence],
        image_size: tuple[int, int],
        channels: int,
        layers: int,
    ) -> None:
        """Add encoder and heads, for images of `channels` and so many layers at a time."""
        layer, sprite, background = self.sequences = sequences
        self.sprites, self.backgrounds, self.layers = config.sprites, config.backgrounds, layers
        kind = self.kind = encoder_kind(config.encoder)
        self.encoder, self.width = kind.build(channels, image_size), kind.features
        self.look = self.build_look(config)
        features = self.look.size
        self.layer_head = LayerwiseMLP(layers, features, layer.size, kind)
        outputs = config.sprites * sprite.size
        self.sprite_head = LayerwiseMLP(layers, features, outputs, kind)
        outputs = config.backgrounds * background.size
        self.background_head = LayerwiseMLP(1, features, outputs, kind)
        pairs = config.layers * (config.layers - 1) // 2 if config.occlusion == "predicted" else 0
        self.occlusion_head = self.build_occlusion_head(pairs)

    def keep_sprites(self, count: int) -> None:
        """Say that only so many sprites are left, whose parts of the heads were kept."""
        self.sprites = count

    def build_look(self, config: ModelConfig) -> Look:
        """Return what turns the encoder's maps into each layer's features."""
        return Pooling(self.width, self.layers, config.pool)

    def build_occlusion_head(self, pairs: int) -> LayerwiseMLP:
        """Return the head of the L(L - 1)/2 logits."""
        return LayerwiseMLP(1, self.look.size, pairs, self.kind)

    def encode(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F y x"]:
        """Return the encoder's maps."""
        return self.encoder(images.contiguous(memory_format=torch.channels_last))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Prediction:
        """Predict all parameters but the occlusions. Zero before training."""
        features = self.look(self.encode(images))
        return self.parameters_of(features, features[:, :1])

    def parameters_of(
        self, features: Float[Tensor, "B L F"], whole: Float[Tensor, "B 1 F"]
    ) -> Prediction:
        """Return what the heads say of each layer's features, and of the whole image's."""
        B, L, _ = features.shape
        sprite = self.sprite_head(features).view(B, L, self.sprites, self.sequences[1].size)
        background = self.background_head(whole)
        background = background.view(B, self.backgrounds, self.sequences[2].size)
        return Prediction(self.layer_head(features), sprite, background, features)

    def occlusion_logits(self, features: Float[Tensor, "B L F"]) -> Float[Tensor, "B pairs"]:
        """Return L(L - 1)/2 logits, row by row of the lower triangle."""
        return self.occlusion_head(features[:, :1])[:, 0]
