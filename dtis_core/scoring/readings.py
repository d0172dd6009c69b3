"""How well a model reads places, sizes and angles: against the truth of scenes of its own making.

Scenes are composed of the model's own sprites, with parameters like those that it finds in images
but at other places and angles, so their truth is known, exactly and without a label. One look at
each then tells how far off the predictor is, with nothing after it that would mend its reading.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.search.seeking import SeekingSprites
from dtis_core.search.seeking_predictor import enlargement, placing
from dtis_core.search.transformations import Placement
from dtis_core.training.dreams import Composed, Dreams

NEAR = 4.0  # pixels between a true and a predicted centre, beyond which a layer is not found
ALIKE = 0.9  # overlap of a mask and the same mask turned, from which they count as equal


def readings(run: Run, images: np.ndarray | Tensor, seed: int = 0) -> dict[str, float]:
    """Return how far one look is off, as medians over the layers that it finds in composed scenes.

    `centre` in pixels, `scale` in percent, and `angle` in degrees, of sprites that can be turned,
    modulo what leaves the sprite as it is; `found` is the share of visible layers with a prediction
    of the same sprite within `NEAR` pixels, and where it is 0 there is nothing else. Scenes are
    composed of what is found in `images`, as for `Run.decompose`; `seed` decides on their places.
    Raises DtisError for a model without our placement of layers.
    """
    model = run.model
    if not is_readable(model):
        raise DtisError("readings: only of models whose layers are placed by our predictor")
    found = run.decompose(images, inference="one-look").decomposition
    dice = torch.Generator(found.reconstruction.device).manual_seed(seed)
    true = Dreams(model, dice).scenes(found)
    read = run.decompose(true.images.clamp(0, 1), inference="one-look")
    image, layer, guess = matched(model, true, read)
    prediction = read.decomposition.prediction
    k = true.sprites[image, layer] - 1
    pairs = (true.layer[image, layer], prediction.layer[image, guess])
    off = {"centre": distance(model, *pairs)}
    sizes = [enlargement(model.sequences[0], parameters) for parameters in pairs]
    off["scale"] = 100 * (sizes[1] / sizes[0] - 1).abs()
    if model.angle is not None:
        period = periods(run.sprites[:, -1]).to(k.device)[k]  # (n,)
        angle = true.sprite[image, layer, k] - prediction.sprite[image, guess, k]  # (n, R)
        angle = torch.rad2deg(angle[:, model.angle])
        off["angle"] = ((angle + period / 2) % period - period / 2).abs()
    medians = {name: float(values.median()) for name, values in off.items() if len(values)}
    return medians | {"found": len(image) / max(1, int(true.seen.sum()))}


def is_readable(model: DTISprites) -> bool:
    """Whether a model's layers have a place and a size that can be read."""
    if not isinstance(model, SeekingSprites) or model.predictor.at is None:
        return False
    placed = placing(model.sequences[0])
    return placed is not None and isinstance(placed[0], Placement)


def distance(
    model: SeekingSprites, one: Float[Tensor, "*#lead P"], other: Float[Tensor, "*#lead P"]
) -> Float[Tensor, "*lead"]:
    """Return how far apart layers are placed, in pixels."""
    at = model.predictor.at
    apart = torch.tanh(one[..., at]) - torch.tanh(other[..., at])  # (x, y) in half image sides
    H, W = model.config.image_size
    return (apart * apart.new_tensor([W / 2, H / 2])).norm(dim=-1)


def matched(model: SeekingSprites, true: Composed, read: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, true layers and the predicted layers of the same sprite that lie nearest.

    Only visible layers, each with a prediction of its own within `NEAR` pixels.
    """
    guessed = read.sprite_index  # (N, L)
    places = read.decomposition.prediction.layer
    apart = distance(model, true.layer[:, :, None], places[:, None])  # (N, L, L)
    apart[~true.seen] = torch.inf
    apart[true.sprites[:, :, None] != guessed[:, None]] = torch.inf
    # All that is not near costs the same, so that no near pair is given up for it.
    cost = torch.where(apart < NEAR, apart, 1e3 * NEAR).cpu().numpy()
    pairs = [
        (image, layer, guess)
        for image, own in enumerate(cost)
        for layer, guess in zip(*linear_sum_assignment(own), strict=True)
        if own[layer, guess] < NEAR
    ]
    index = torch.tensor(pairs, dtype=torch.long).view(-1, 3).to(apart.device)
    return tuple(index.unbind(dim=1))


def periods(masks: Float[Tensor, "K h w"]) -> Float[Tensor, "K"]:
    """Return by how many degrees each mask may be turned and stay as it is: 90, 180 or 360."""
    side = max(masks.shape[1:])
    spare = [side - length for length in reversed(masks.shape[1:])]  # of x, then y
    turned = F.pad(masks, [part for both in spare for part in (both // 2, both - both // 2)])
    overlaps = {}
    for quarter, period in ((1, 90.0), (2, 180.0)):
        other = torch.rot90(turned, quarter, dims=(1, 2))
        least, most = torch.minimum(turned, other), torch.maximum(turned, other)
        overlaps[period] = least.sum(dim=(1, 2)) / most.sum(dim=(1, 2))
    half = torch.where(overlaps[180.0] > ALIKE, 180.0, 360.0)
    return torch.where(overlaps[90.0] > ALIKE, 90.0, half)
