"""The looks of one search: what each of them predicted, and what the layers took from which."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.model.predictor import Prediction
from dtis_core.search.seeking_predictor import SeekingPrediction


@dataclass
class Looks:
    """Predictions of one layer each, in the order of the looks; the first may be a whole scene's.

    Where colours are solved for, `gains` (B, 1, N, C) are those of each look's candidates.
    """

    predictions: list[Prediction] = field(default_factory=list)
    gains: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.predictions)

    def begin(self, scene: Prediction, turns: int, channels: int) -> None:
        """Take the L layers of a found scene for the first looks, with T turns of each sprite."""
        if isinstance(scene, SeekingPrediction):  # its sprites are turned already
            scene = replace(scene, angles=torch.zeros_like(scene.angles))
        self.predictions.append(scene)
        B, L, K = scene.sprite.shape[:3]
        self.gains.append(scene.layer.new_ones(B, L, K * turns, channels))

    def add(self, prediction: Prediction, gains: Float[Tensor, "B N C"] | None = None) -> None:
        """Add what one look predicted."""
        self.predictions.append(prediction)
        if gains is not None:
            self.gains.append(gains.unsqueeze(1))

    def part(self, name: str, look: Int[Tensor, "B L"]) -> Float[Tensor, "B L *rest"]:
        """Return that part of the predictions that each layer has from its look."""
        return of_looks([getattr(each, name) for each in self.predictions], look)

    def prediction(
        self, look: Int[Tensor, "B L"], background: Float[Tensor, "B G S"]
    ) -> Prediction:
        """Return the prediction of all layers, each from its look."""
        layer, sprite, features = (self.part(n, look) for n in ("layer", "sprite", "features"))
        if not isinstance(self.predictions[-1], SeekingPrediction):
            return Prediction(layer, sprite, background, features)
        return SeekingPrediction(layer, sprite, background, features, self.part("angles", look))

    def chosen_gains(
        self, look: Int[Tensor, "B L"], chosen: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L C"]:
        """Return the gains of the chosen candidates, which count from 1."""
        gains = of_looks(self.gains, look)  # (B, L, N, C)
        index = (chosen - 1).clamp(min=0)[..., None, None].expand(-1, -1, 1, gains.shape[-1])
        return gains.gather(2, index).squeeze(2)


def of_looks(
    each: list[Float[Tensor, "B _ *rest"]], look: Int[Tensor, "B L"]
) -> Float[Tensor, "B L *rest"]:
    """Gather, of what the looks have, that of one look for each layer."""
    image = torch.arange(len(look), device=look.device)[:, None]  # (B, 1)
    return torch.cat(each, dim=1)[image, look]
