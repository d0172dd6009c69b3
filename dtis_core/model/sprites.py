"""Sprites and backgrounds: learnable images, the soft clip, what makes masks binary (C.2, C.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

BACKGROUND_START = 0.5  # a background's, where it is neither set nor the mean image
CLIP_SLOPE = 0.01
LOGITS = 8.0  # of a Concrete mask, between those of 0 and 1: chances of 2 % and 98 %


def soft_clip(values: Tensor, excess: float = 0.0) -> Tensor:
    """Pass values in [0, 1] unchanged and bend the rest to slope 0.01, any shape (C.2).

    Keeps values close to [0, 1] without blocking gradients as a hard clip would. With an `excess`
    values pass that are so far outside as well.
    """
    return torch.lerp(values.clamp(-excess, 1 + excess), values, CLIP_SLOPE)


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
        self,
        count: int,
        channels: int,
        size: tuple[int, int],
        sigma: float,
        opaque: bool = False,
        colour: float = 0.9,
        excess: float | None = None,
    ):
        super().__init__()
        self.excess = excess  # of masks when they are placed; see `ModelConfig.mask_excess`
        start = torch.full((count, channels, *size), colour)
        self.appearances = nn.Parameter(start)
        masks = torch.ones(1, *size) if opaque else gaussian_mask(*size, sigma)
        self.masks = nn.Parameter(masks.repeat(count, 1, 1, 1), requires_grad=not opaque)

    def canvases(self) -> Float[Tensor, "K D h w"]:
        """Return clipped appearance and raw mask as one image of D = C + 1 channels.

        The mask is not clipped to [0, 1] because its noise is added, and the sum clipped, after
        transformation. But where it may grow freely, a pixel far above 1 shines through beside it
        when it is placed between pixels, and so a dark line in a sprite can become a hole.
        """
        masks = self.masks if self.excess is None else soft_clip(self.masks, self.excess)
        return torch.cat([soft_clip(self.appearances), masks], dim=1)


class Backgrounds(nn.Module):
    """K' learnable images without transparency: `appearances` is (K', C, H, W), unclipped."""

    def __init__(
        self, count: int, channels: int, size: tuple[int, int], colour: float = BACKGROUND_START
    ):
        super().__init__()
        self.appearances = nn.Parameter(torch.full((count, channels, *size), colour))

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


def beta_penalty(masks: Tensor) -> Float[Tensor, ""]:
    """Return the mean of x^2 (1 - x)^2 over mask values x, any shape: the Beta alternative (C.3).

    It is 0 where all are 0 or 1, 1/16 where all are 0.5, and grows beyond both ends.
    """
    return (masks * (1 - masks)).square().mean()


def logistic_noise(
    count: int, size: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "K H W"]:
    """Draw log(u) - log(1 - u), u uniform, as `mask_noise` draws: the noise of `concrete_mask`."""
    draw = torch.rand(count, *size, generator=generator, device=generator.device)
    return torch.logit(draw, eps=1e-6)


def concrete_mask(masks: Tensor, temperature: float, noise: Tensor | None = None) -> Tensor:
    """Return sigmoid((logit + noise) / temperature), any shape: the Concrete alternative (C.3).

    A mask value's logit is 8 (x - 0.5). With `logistic_noise` and a temperature near 0 the result
    is 1 with the probability sigmoid(logit), else 0; without noise it is a step at 0.5.
    """
    logits = (masks - 0.5) * LOGITS
    if noise is not None:
        logits = logits + noise
    return torch.sigmoid(logits / temperature)
