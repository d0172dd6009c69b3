"""Sprites and backgrounds: the learnable images, the soft clip, the mask noise (Sec. 3.1, C.2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

APPEARANCE_START = 0.9  # a sprite's constant colour before training
BACKGROUND_START = 0.5  # a background's, where no mean image is given
CLIP_SLOPE = 0.01


def soft_clip(values: Tensor) -> Tensor:
    """Pass values in [0, 1] unchanged and bend the rest to slope 0.01, any shape (C.2).

    Keeps values close to [0, 1] without blocking gradients as a hard clip would.
    """
    return torch.lerp(values.clamp(0, 1), values, CLIP_SLOPE)


def gaussian_mask(height: int, width: int, sigma: float) -> Float[Tensor, "1 h w"]:
    """Return a centred Gaussian of peak 1 and deviation `sigma` pixels, the masks' start."""
    y = torch.arange(height) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    squared = y[:, None].square() + x[None, :].square()
    return torch.exp(-squared / (2 * sigma**2))[None]  # (1, h, w)


class Sprites(nn.Module):
    """K learnable images with a transparency channel.

    `appearances` is (K, C, h, w) and `masks` is (K, 1, h, w), both unclipped; where `opaque`, as
    for DTI-Clustering's prototypes, the masks are fixed to one.
    """

    def __init__(
        self, count: int, channels: int, size: tuple[int, int], sigma: float, opaque: bool = False
    ):
        super().__init__()
        start = torch.full((count, channels, *size), APPEARANCE_START)
        self.appearances = nn.Parameter(start)
        masks = torch.ones(1, *size) if opaque else gaussian_mask(*size, sigma)
        self.masks = nn.Parameter(masks.repeat(count, 1, 1, 1), requires_grad=not opaque)

    def canvases(self) -> Float[Tensor, "K D h w"]:
        """Return clipped appearance and raw mask as one image of D = C + 1 channels.

        The mask stays raw because its noise is added, and the sum clipped, after transformation.
        """
        return torch.cat([soft_clip(self.appearances), self.masks], dim=1)


class Backgrounds(nn.Module):
    """K' learnable images without transparency: `appearances` is (K', C, H, W), unclipped."""

    def __init__(self, count: int, channels: int, size: tuple[int, int]):
        super().__init__()
        self.appearances = nn.Parameter(torch.full((count, channels, *size), BACKGROUND_START))

    @torch.no_grad()
    def start_from(self, mean_image: Float[Tensor, "C H W"]) -> None:
        """Set all backgrounds to the data set's mean image (C.2)."""
        self.appearances.copy_(mean_image.expand_as(self.appearances))

    def canvases(self) -> Float[Tensor, "K D H W"]:
        """Return clipped appearance over a mask of ones, D = C + 1 channels."""
        ones = torch.ones_like(self.appearances[:, :1])
        return torch.cat([soft_clip(self.appearances), ones], dim=1)


def mask_noise(
    count: int, size: tuple[int, int], amplitude: float, generator: torch.Generator
) -> Float[Tensor, "K H W"]:
    """Draw uniform noise in [-amplitude, amplitude], one value per sprite and image pixel (C.3).

    It is added after the transformation, where a transformed canvas of ones allows it: drawn on the
    sprite instead, resampling would smooth it and leave a grid in the masks.
    """
    draw = torch.rand(count, *size, generator=generator, device=generator.device)
    return (2 * draw - 1) * amplitude
