"""From coarse to fine: a model learned on images of half the size goes on at full size.

Positions, scales and warps are in units of the image, so the networks stay as they are; only what
is made of pixels, sprites and backgrounds, is enlarged.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dtis_core.config import ModelConfig
from dtis_core.model import DTISprites


def at_half_size(model: ModelConfig) -> ModelConfig:
    """Return the settings of the same model for images of half the size."""
    (H, W), (h, w) = model.image_size, model.sprite_size
    return replace(
        model,
        image_size=(H // 2, W // 2),
        sprite_size=(h // 2, w // 2),
        mask_sigma=model.mask_sigma / 2,
    )


def fitted(values: Tensor, like: Tensor) -> Tensor:
    """Return values enlarged to the size of an image parameter, or unchanged where it is equal."""
    if values.shape == like.shape:
        return values.to(like.device)
    size = like.shape[-2:]
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False).to(like.device)


@torch.no_grad()
def refined(coarse: DTISprites, fine: DTISprites) -> DTISprites:
    """Give a model of full size the weights of one of half the size, images enlarged."""
    weights = coarse.state_dict()
    for name, values in fine.state_dict().items():
        values.copy_(fitted(weights[name], values))
    return fine
