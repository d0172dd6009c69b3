"""Parts of a model that no gradient reaches, told from Adam's moments.

Nothing is counted step by step. Without a gradient the first moment of a part dies away within some
200 steps, down to what weight decay alone keeps up; with none from the start it is 0.
"""

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from dtis_core.model.dti_sprites import DTISprites

FAINT = 1e-12  # a moment that had no gradient for some 200 steps; others are above 1e-8


def without_gradient(model: DTISprites, optimizer: torch.optim.Optimizer) -> dict[str, list[int]]:
    """Return which of the heads' "layer"s, from 1, the "sprite"s and other heads get no gradient.

    What has no moments yet, such as frozen sprites and heads that wait for the curriculum, is not
    judged. Layers are the heads', of which residual looks share one.
    """
    predictor = model.predictor
    heads = {
        "layer": [predictor.layer_head, predictor.sprite_head],
        "background's head": [predictor.background_head],
        "occlusions' head": [predictor.occlusion_head],
    }
    parts = {name: [head.biases[-1] for head in group] for name, group in heads.items()}
    parts["sprite"] = [model.sprites.appearances]
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {}
    for name, parameters in parts.items():
        reached = [
            reaches(p, optimizer.state[p]["exp_avg"], decay[p])
            for p in parameters
            if optimizer.state.get(p)
        ]
        if reached:
            silent = ~torch.stack(reached).any(dim=0)
            found[name] = (silent.nonzero().flatten() + 1).tolist()
    return {name: numbers for name, numbers in found.items() if numbers}


def reaches(parameter: nn.Parameter, moment: Tensor, decay: float) -> Bool[Tensor, "n"]:
    """Return for each part along the first axis whether its moment is other than decay makes it."""
    alone = decay * parameter.detach()
    other = (moment - alone).abs() > FAINT + 0.1 * alone.abs()
    return other.flatten(1).any(dim=1)
