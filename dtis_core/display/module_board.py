"""One transformation module under the hand: a sprite with handles, and its parameters, live."""

from collections.abc import Mapping

import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from dtis_core.display.alive import Alive
from dtis_core.display.figures import enlarge, over_checkerboard
from dtis_core.display.scripts import MODULE, module_of, style
from dtis_core.display.stage_data import described_sequence, packed
from dtis_core.display.widgets import Picture
from dtis_core.errors import DtisError
from dtis_core.model.canvas import Canvas
from dtis_core.model.transformations import Sequence, ThinPlateSpline, spline_weights
from dtis_core.pictures import to_bytes

SIDE = 288  # pixels, of the picture that shows where there are no widgets
Control = tuple[int | slice | list[int], float]
"""Which entries of the parameters a slider sets, all to one value, and its largest magnitude."""


class ModuleBoard(Alive):
    """A sprite, RGBA (4, h, w) in [0, 1], under one module, onto an image of `size` (H, W).

    `values` are the module's parameters, zeros at first. Raises DtisError for an unknown module and
    for a slider of entries that it does not have.
    """

    _esm = module_of(*MODULE, "module_widget.js")
    _css = style("picture.css", "boards.css")
    module = traitlets.Dict().tag(sync=True)
    values = traitlets.List().tag(sync=True, echo_update=False)

    def __init__(
        self,
        sprite: Float[Tensor, "4 h w"],
        name: str,
        controls: Mapping[str, Control],
        size: tuple[int, int] | None = None,
    ):
        channels, h, w = len(sprite) - 1, *sprite.shape[1:]
        self.sprite, self.sequence = sprite, Sequence([name], channels, size or (h, w))
        module = {
            "name": name,
            "size": list(size or (h, w)),
            "spriteSize": [h, w],
            "channels": channels,
            "sequence": described_sequence(self.sequence),
            "splineWeights": spline_weights(ThinPlateSpline.per_side).flatten().tolist(),
            "sprite": packed(sprite),
            "controls": [
                {"name": title.replace("_", " "), "entries": self._entries(at), "most": most}
                for title, (at, most) in controls.items()
            ],
        }
        super().__init__(module=module, values=[0.0] * self.sequence.size)

    def _entries(self, at: int | slice | list[int]) -> list[int]:
        every = range(self.sequence.size)
        asked = list(every[at]) if isinstance(at, slice) else [at] if isinstance(at, int) else at
        if not asked or not set(asked) <= set(every):
            raise DtisError(
                f"module board: '{self.sequence.names[0]}' has parameters 0 to {every[-1]}, "
                f"found a slider of {asked}"
            )
        return asked

    @property
    def image(self) -> Float[Tensor, "4 H W"]:
        """What the board shows, by `dtis_core.model.transformations`: RGBA (4, H, W) in [0, 1]."""
        h, w = self.sprite.shape[1:]
        canvas = Canvas(self.sprite[None, None, None], torch.ones(1, 1, 1, 1, h, w))
        canvas = self.sequence(canvas, torch.tensor(self.values).view(1, 1, 1, -1), None)
        return torch.cat([canvas.colour, canvas.mask], dim=3)[0, 0, 0].clamp(0, 1)

    def still(self) -> tuple[str, Picture]:
        """Return the module's name and the sprite under it."""
        text = f"{self.sequence.names[0]}: {len(self.values)} parameters"
        return text, to_bytes(enlarge(over_checkerboard(self.image), SIDE))
