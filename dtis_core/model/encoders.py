"""Image encoders: the paper's mini ResNet-32 and ResNet-18, and our small one for a CPU."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet18

from dtis_core.errors import DtisError, suggest

Features = Float[Tensor, "B F y x"]
Smaller = Float[Tensor, "B G v u"]  # as many or more features, at the same or a lower resolution
CELLS = 20  # a side that our encoder's maps have at most; more cost time and find no more objects
START_GAIN = 0.3  # of a plain block's residual branch; with zero the deep features wake up late


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
    """ResNet-32 for small images: three stages of five blocks, 16-32-64 channels, stride 4."""
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
    return nn.Sequential(*layers)


def resnet18_features(channels: int, image_size: tuple[int, int]) -> nn.Sequential:
    """ResNet-18 without pooling and classifier: 512 features, stride 32, random weights."""
    network = resnet18(weights=None)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return nn.Sequential(*list(network.children())[:-2])


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without normalisation; a small gain makes the block start near identity.

    Normalisation costs as much as the convolutions at these sizes on a CPU, and its batch
    statistics would differ between the first and the last object looked for.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.gain = nn.Parameter(torch.tensor(START_GAIN))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Features) -> Smaller:
        """Return features with `outputs` channels, `stride` times smaller."""
        y = self.convolution2(torch.relu(self.convolution1(torch.relu(x))))
        return self.shortcut(x) + self.gain * y


class Small(nn.Module):
    """Our encoder: a strided stem and four unnormalised blocks, 64 features.

    The stem's stride, 2 or 4, leaves at most 20 cells a side; images too large for that are halved
    first. The deep features (twice that stride), which see most of the image, are laid over the
    early ones, which know where the edges are. Images of another size are brought to the size that
    the encoder was made for: so the same weights can go on from half-size images.
    """

    def __init__(self, channels: int, image_size: tuple[int, int], width: int = 64):
        super().__init__()
        stride = 2 if max(image_size) <= CELLS * 2 else 4
        halvings = max(0, math.ceil(math.log2(max(image_size) / (CELLS * stride))))
        self.reads = tuple(math.ceil(side / 2**halvings) for side in image_size)
        self.stem = nn.Conv2d(channels, 32, 2 * stride + 1, stride, stride)
        self.early = PlainBlock(32, 32, 1)
        self.deep = nn.Sequential(
            PlainBlock(32, width, 2), PlainBlock(width, width, 1), PlainBlock(width, width, 1)
        )
        self.from_early = nn.Conv2d(32, width, 1)
        self.from_deep = nn.Conv2d(width, width, 1)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Features:
        """Return features at the stem's resolution."""
        while images.shape[-1] > self.reads[1]:
            images = F.avg_pool2d(images, 2, ceil_mode=True)
        if images.shape[-1] < self.reads[1]:
            images = F.interpolate(images, size=self.reads, mode="bilinear")
        early = self.early(self.stem(images))
        deep = self.from_deep(torch.relu(self.deep(early)))
        deep = F.interpolate(deep, size=early.shape[-2:], mode="nearest")
        return torch.relu(deep + self.from_early(torch.relu(early)))


ENCODERS = {"resnet32": (resnet32, 64), "resnet18": (resnet18_features, 512), "small": (Small, 64)}


def build_encoder(name: str, channels: int, image_size: tuple[int, int]) -> tuple[nn.Module, int]:
    """Return the encoder of images (H, W) and its number of features.

    Raises DtisError for an unknown name.
    """
    if name not in ENCODERS:
        raise DtisError(f"unknown encoder '{name}'{suggest(name, ENCODERS)}")
    build, features = ENCODERS[name]
    return build(channels, image_size), features
