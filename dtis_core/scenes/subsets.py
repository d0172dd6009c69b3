"""All subsets of one image's layers: what each of them explains."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtis_core.model.composition import compose, squared_errors
from dtis_core.pictures import to_tensor
from dtis_core.scenes.scene import Scene


@dataclass(frozen=True)
class Subsets:
    """The S = 2^L subsets of one image's L layers, the background below each.

    `used` is how many sprites a subset shows, without the empty one; `errors` are its squared
    errors of Eq. (5), averaged over pixels and channels; `images` are its compositions.
    """

    kept: Bool[Tensor, "S L"]
    used: Int[Tensor, "S"]
    errors: Float[Tensor, "S"]
    images: Float[Tensor, "S C H W"]

    def best(self) -> list[int]:
        """Return, for each number of sprites 0..L, the best subset with at most so many."""
        most = range(self.kept.shape[1] + 1)
        return [int(self.errors.where(self.used <= k, torch.inf).argmin()) for k in most]


@torch.no_grad()
def subsets_of(scene: Scene, image: np.ndarray, number: int = 0) -> Subsets:
    """Compose every subset of the layers found in one image of a batch, before all edits.

    `image` is that image, uint8 (H, W, C), and `number` its place in the batch, from 0. There are
    2^L subsets, so that this is for a few layers.
    """
    found = scene.decomposition
    alphas, colours = found.alphas[number], found.colours[number]
    M, L = len(alphas), found.occlusion.shape[1]
    choices = list(product([False, True], repeat=L))
    kept = torch.tensor(choices, device=alphas.device)  # (S, L)
    shown = torch.nn.functional.pad(kept, (M - L, 0), value=True)  # (S, M), with the background
    occlusion = scene.model.below(found.occlusion[number : number + 1])
    images = compose(
        alphas * shown[:, :, None, None, None],
        colours.expand(len(kept), *colours.shape),
        occlusion.expand(len(kept), M, M),
    )
    used = (kept & (found.selection.sprites[number] > 0)).sum(dim=1)
    errors = squared_errors(to_tensor(image).to(images).expand_as(images), images)
    return Subsets(kept, used, errors, images)
