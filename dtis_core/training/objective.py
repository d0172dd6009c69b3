"""What a training step lowers, as one module, which ranks can share."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.training.dreams import Dreams


class Objective(nn.Module):
    """Eq. (5) and, if any, the lesson of dreams; `seen` is called with each batch's scene."""

    def __init__(self, model: DTISprites, seen: Callable[[Decomposition], None]):
        super().__init__()
        self.model, self.seen = model, seen

    def forward(
        self, images: Float[Tensor, "B C H W"], noise: Tensor | None, steps: int,
        dreams: Dreams | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return the loss of Eq. (5), without a gradient, and what is to be lowered."""
        loss, scene = self.model.loss(images, noise, steps)
        self.seen(scene)
        lesson = dreams.lesson(scene) if dreams and loss.isfinite() else 0.0
        return loss.detach(), loss + lesson
