"""Our encoder, for a CPU: a twelfth of ResNet-32's operations."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.model.encoders import Features, Smaller

CELLS = 22  # a side that our maps have at most: images of up to 88 pixels need no halving
START_GAIN = 0.3  # of a plain block's residual branch; with zero the deep features wake up late


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

    The stem's stride, 2 or 4, leaves at most 22 cells a side; images too large for that are halved
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


def start_heads(weights: Float[Tensor, "L i o"], biases: Float[Tensor, "L 1 o"]) -> None:
    """Draw the weights of heads on this encoder's features, biases being zero.

    They are 2.45 times as large as on the paper's encoders: our schedules are short.
    """
    nn.init.normal_(weights, std=(2 / weights.shape[1]) ** 0.5)
