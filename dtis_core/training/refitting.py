"""Refitting: sprites fitted to scenes that are as good as polishing makes them.

While training, sprites learn from what the predictor guesses, and its errors of half a pixel and
some degrees wear their corners off; worn sprites in turn make scenes hard to explain. Here Eq. (5)
is minimised over both in turn, for some training images: over scenes by polishing, over sprites by
gradient steps on the polished scenes. The networks stay as they are.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dtis_core.config import SearchConfig
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.search.polishing import polished
from dtis_core.search.quarter_turns import best_of_views

REFIT_IMAGES = 256
ROUNDS = 4
POLISH = 6  # steps on the scenes in the first round; in the others half as many
STEPS = 25  # steps on the sprites in each round
MASK_RATE, APPEARANCE_RATE = 2e-2, 2e-3
BATCH = 32


def refit(model: DTISprites, images: Float[Tensor, "B C H W"], search: SearchConfig) -> None:
    """Fit the model's sprites to images in [0, 1], and leave the model in evaluation mode.

    Scenes are sought as `search` says, but for the steps of polishing.
    """
    model.eval()
    batches = images.split(BATCH)
    adam = torch.optim.Adam(
        [
            {"params": [model.sprites.masks], "lr": MASK_RATE},
            {"params": [model.sprites.appearances], "lr": APPEARANCE_RATE},
        ]
    )
    steps = search.inference_steps or model.config.selection_steps
    scenes = [best_of_views(model, batch, steps, POLISH, search.views) for batch in batches]
    for turn in range(ROUNDS):
        if turn:
            pairs = zip(batches, scenes, strict=True)
            scenes = [polished(model, batch, scene, POLISH // 2) for batch, scene in pairs]
        for _ in range(STEPS):
            adam.zero_grad(set_to_none=True)
            for batch, scene in zip(batches, scenes, strict=True):
                errors = _rendered_anew(model, scene).errors(batch)
                (errors.sum() / len(images)).backward()
            adam.step()
        with torch.no_grad():
            scenes = [_rendered_anew(model, scene) for scene in scenes]


def _rendered_anew(model: DTISprites, scene: Decomposition) -> Decomposition:
    """Render the scene with the present sprites."""
    return model.render(scene.prediction, scene.occlusion, scene.selection)
