"""A small untrained run whose weights are shaken, so that it finds something in noise."""

import torch

from dtis_core.config import load_preset
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run
from dtis_core.search.seeking import build_model

SMALL = [
    "model.image_size=[20, 20]", "model.sprite_size=[12, 12]", "model.mask_sigma=3",
    "model.layers=3", "search.turns=2",
]  # fmt: skip


def shaken_run(settings, dtype=torch.float32):
    """A run of the fast preset of Multi-dSprites, in small, with other settings."""
    config = load_preset("multi-dsprites/quick").override([*SMALL, *settings])
    torch.manual_seed(3)
    model = build_model(config.model, config.search).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.4 - 0.2)
        model.backgrounds.appearances.fill_(0.2)
    return Run(RunFolder("nowhere"), config, model)
