"""From coarse to fine: a model learned on smaller images goes on at twice their size.

Positions, scales and warps are in units of the image, so the networks stay as they are; only what
is made of pixels, sprites and backgrounds, is enlarged.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dtis_core.config import ModelConfig
from dtis_core.model.dti_sprites import DTISprites


def halved(model: ModelConfig, times: int = 1) -> ModelConfig:
    """Return the settings of the same model for images halved so many times."""
    (H, W), (h, w), part = model.image_size, model.sprite_size, 2**times
    return replace(
        model,
        image_size=(H // part, W // part),
        sprite_size=(h // part, w // part),
        mask_sigma=model.mask_sigma / part,
    )


def fitted(values: Tensor, like: Tensor) -> Tensor:
    """Return values enlarged to the size of an image parameter, or unchanged where it is equal."""
    if values.shape == like.shape:
        return values.to(like.device)
    size = like.shape[-2:]
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False).to(like.device)


@torch.no_grad()
def refined(coarse: DTISprites, fine: DTISprites) -> DTISprites:
    """Give a model the weights of one for smaller images, sprites and backgrounds enlarged."""
    weights = coarse.state_dict()
    like = fine.state_dict()
    fine.load_state_dict({name: fitted(weights[name], like[name]) for name in like})
    return fine
