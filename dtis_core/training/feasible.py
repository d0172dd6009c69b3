"""What a schedule and an encoder ask of the images, checked before a run begins."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn

from dtis_core.config import TrainingConfig
from dtis_core.errors import DtisError


def check_steps(training: TrainingConfig, in_steps: Callable[[float], int]) -> None:
    """Raise DtisError where the length is no step of this many images."""
    if in_steps(training.length) < 1:
        raise DtisError(
            f"training.length: {training.length:g} of unit {training.unit} rounds to no step at "
            "all; give more"
        )


def check_batch(encoder: nn.Module, images: int, size: tuple[int, int]) -> None:
    """Raise DtisError where an encoder would normalise over one value, and so fail.

    That is where a batch holds one image, and its feature map is one cell.
    """
    shadow = deepcopy(encoder).to("meta").train()  # it computes shapes alone
    channels = next(shadow.parameters()).shape[1]
    try:
        shadow(torch.empty(images, channels, *size, device="meta"))
    except ValueError as error:
        raise DtisError(
            f"model.encoder: normalises over the batch, for which {images} image of {size[0]} x "
            f"{size[1]} pixels is too little; raise training.batch_size, give more or larger "
            "images, or take model.encoder=small"
        ) from error
