"""Adam, with a group of parameters for each rate that the schedule knows."""

import torch

from dtis_core.config import TrainingConfig
from dtis_core.model.dti_sprites import DTISprites

NETWORKS = ("network", "encoder")  # the groups of the predictor


def build_optimizer(model: DTISprites, training: TrainingConfig) -> torch.optim.Adam:
    """Return Adam with four named groups: heads ("network"), "encoder", "appearance" and "mask"."""
    networks = dict(model.predictor.named_parameters())
    groups = {
        "network": [p for name, p in networks.items() if not name.startswith("encoder.")],
        "encoder": [p for name, p in networks.items() if name.startswith("encoder.")],
        "appearance": [model.sprites.appearances, model.backgrounds.appearances],
        "mask": [model.sprites.masks],
    }
    return torch.optim.Adam(
        [
            {
                "name": name,
                "params": [p for p in parameters if p.requires_grad and p.numel()],
                "weight_decay": training.weight_decay if name in NETWORKS else 0.0,
            }
            for name, parameters in groups.items()
        ],
        betas=(0.9, training.second_moment),
        fused=True,
    )
