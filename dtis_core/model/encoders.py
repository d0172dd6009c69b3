"""Image encoders: mini ResNet-32 for images below 65x65, else ResNet-18 (Sec. 3.3)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.errors import DtisError, suggest

Features = Float[Tensor, "B F y x"]
Smaller = Float[Tensor, "B G v u"]  # as many or more features, at the same or a lower resolution


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut that subsamples and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.extra = (outputs - inputs) // 2

    def forward(self, x: Features) -> Smaller:
        """Return features with `outputs` channels, `stride` times smaller."""
        y = torch.relu(self.norm1(self.convolution1(x)))
        y = self.norm2(self.convolution2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.extra, self.extra))
        return torch.relu(y + shortcut)


def resnet32(channels: int, image_size: tuple[int, int]) -> nn.Sequential:
    """ResNet-32 for small images: three stages of five blocks, 16-32-64 channels, stride 4.

    Its convolutions start as He et al. propose, which the paper does not say; so do ResNet-18's.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    width = 16
    for stage in (16, 32, 64):
        for block in range(5):
            layers.append(CifarBlock(width, stage, 2 if stage > 16 and block == 0 else 1))
            width = stage
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return network


def resnet18_features(channels: int, image_size: tuple[int, int]) -> nn.Sequential:
    """ResNet-18 without pooling and classifier: 512 features, stride 32, random weights."""
    from torchvision.models import resnet18  # here, since its import takes as long as torch's

    network = resnet18(weights=None)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return nn.Sequential(*list(network.children())[:-2])


class Kind(NamedTuple):
    """A kind of encoder: how it is built of channels and image size, and its number of features.

    `start` gives the hidden layers of the heads that read it their first weights (L, i, o) and
    biases (L, 1, o).
    """

    build: Callable[[int, tuple[int, int]], nn.Module]
    features: int
    start: Callable[[Tensor, Tensor], None]


def uniform_start(weights: Float[Tensor, "L i o"], biases: Float[Tensor, "L 1 o"]) -> None:
    """Draw weights and biases as torch does for linear layers: uniform up to 1 / sqrt(inputs)."""
    for values in (weights, biases):
        bound = weights.shape[1] ** -0.5
        nn.init.uniform_(values, -bound, bound)


ENCODERS = {
    "resnet32": Kind(resnet32, 64, uniform_start),
    "resnet18": Kind(resnet18_features, 512, uniform_start),
}


def encoder_kind(name: str) -> Kind:
    """Return a kind of encoder by its name. Raises DtisError for an unknown one."""
    if name not in ENCODERS:
        raise DtisError(f"unknown encoder '{name}'{suggest(name, ENCODERS)}")
    return ENCODERS[name]
