"""From pixels to tensors and back: the one place that knows how images are held.

Pixels are uint8 with channels last, as files and screens have them; tensors are float in [0, 1]
with channels first, as networks have them; pictures, for drawing, are float with channels last.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Pixels = UInt8[np.ndarray, "*lead h w C"] | UInt8[Tensor, "*lead h w C"]


def to_tensor(pixels: Pixels) -> Float[Tensor, "*lead C h w"]:
    """Return pixels 0..255 as a tensor in [0, 1], on their device."""
    return torch.as_tensor(pixels).movedim(-1, -3).float() / 255


def to_pixels(images: Float[Tensor, "*lead C h w"]) -> UInt8[np.ndarray, "*lead h w C"]:
    """Return a tensor's values, clipped to [0, 1], as pixels 0..255."""
    return to_bytes(images.detach().movedim(-3, -1).cpu().numpy())


def to_pictures(
    images: Pixels | Float[np.ndarray, "*lead C h w"] | Float[Tensor, "*lead C h w"],
) -> Float[np.ndarray, "*lead h w C"]:
    """Return pixels, or values in [0, 1] with channels first, as pictures."""
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array / 255
    return np.clip(np.moveaxis(array.astype(float), -3, -1), 0, 1)


def to_bytes(values: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """Return values, clipped to [0, 1], as 0..255; axes stay."""
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
