"""Any layers under the hand, and the occlusion matrix beside them: Eq. (2), live in the browser."""

import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from dtis_core.display.alive import Alive
from dtis_core.display.figures import enlarge
from dtis_core.display.scripts import LAYERS, module_of, style
from dtis_core.display.stage_data import packed
from dtis_core.display.widgets import Picture
from dtis_core.errors import DtisError
from dtis_core.model.composition import compose, put_background_below
from dtis_core.pictures import to_bytes, to_pictures

SIDE = 288  # pixels, of the picture that shows where there are no widgets


class LayerBoard(Alive):
    """Layers that can be dragged, reordered, and set to hide one another pair by pair.

    Alphas (1, L, 1, H, W), colours (1, L, C, H, W) and the occlusion matrix (1, L, L) are those of
    one image, as are a background (1, C, H, W) below all layers and a target (1, C, H, W), from
    which the error is told. Raises DtisError where the shapes do not fit one another.
    """

    _esm = module_of(*LAYERS, "layers_widget.js")
    _css = style("picture.css", "boards.css")
    layers = traitlets.Dict().tag(sync=True)
    occlusion = traitlets.List().tag(sync=True, echo_update=False)
    shifts = traitlets.List().tag(sync=True, echo_update=False)
    opacity = traitlets.Float(1.0).tag(sync=True, echo_update=False)

    def __init__(
        self,
        alphas: Tensor,
        colours: Tensor,
        occlusion: Tensor,
        background: Tensor | None = None,
        target: Tensor | None = None,
    ):
        L, C, *size = (*colours.shape, 0, 0, 0, 0)[1:5]
        shapes = (1, L, C, *size), (1, L, 1, *size), (1, L, L), (1, C, *size), (1, C, *size)
        names = ("colours", "alphas", "occlusion", "background", "target")
        given = (colours, alphas, occlusion, background, target)
        for name, values, shape in zip(names, given, shapes, strict=True):
            if values is not None and values.shape != shape:
                found = tuple(values.shape)
                raise DtisError(f"layer board: expected {name} of shape {shape}, found {found}")
        self.alphas, self.colours, self.background = alphas, colours, background
        layers = {"size": size, "channels": C, "alphas": packed(alphas), "colours": packed(colours)}
        layers |= {
            name: None if image is None else packed(image)
            for name, image in (("background", background), ("target", target))
        }
        super().__init__(
            layers=layers, occlusion=occlusion[0].tolist(), shifts=[[0, 0] for _ in range(L)]
        )

    @property
    def image(self) -> Float[Tensor, "1 C H W"]:
        """What the board shows, by `dtis_core.model.composition`, (1, C, H, W)."""
        pairs = zip((self.alphas * self.opacity)[0], self.colours[0], self.shifts, strict=True)
        layers = [[moved(part, *by) for part in (alpha, colour)] for alpha, colour, by in pairs]
        alphas, colours = (torch.stack(parts)[None] for parts in zip(*layers, strict=True))
        matrix = torch.tensor([self.occlusion], dtype=alphas.dtype)
        if self.background is not None:
            alphas = torch.cat([torch.ones_like(alphas[:, :1]), alphas], dim=1)
            colours = torch.cat([self.background[:, None], colours], dim=1)
            matrix = put_background_below(matrix)
        return compose(alphas, colours, matrix)

    def still(self) -> tuple[str, Picture]:
        """Return how many layers there are and their image."""
        text = f"{len(self.occlusion)} layers and who hides whom"
        picture = to_pictures(self.image[0].expand(3, -1, -1))
        return text, to_bytes(enlarge(picture, SIDE))


def moved(part: Float[Tensor, "c H W"], right: int, down: int) -> Float[Tensor, "c H W"]:
    """Return an image moved by whole pixels; what leaves it is lost, and zeros come in."""
    H, W = part.shape[-2:]
    out = torch.zeros_like(part)
    y, x = (slice(max(0, by), max(0, side + min(0, by))) for by, side in ((down, H), (right, W)))
    v, u = (slice(max(0, -by), max(0, side - max(0, by))) for by, side in ((down, H), (right, W)))
    out[:, y, x] = part[:, v, u]
    return out
