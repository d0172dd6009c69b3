"""The facade: load a trained model, decompose images, read the scene and edit it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.composition import compose, visibilities
from dtis_core.model.dti_sprites import Decomposition, DTISprites
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Selection
from dtis_core.scenes.change import Change, apply_change
from dtis_core.search.depth_order import moved_to


@dataclass(frozen=True)
class Scene:
    """A decomposed batch. Layers are numbered 1..L, sprites 1..K; 0 is background and empty."""

    model: DTISprites
    decomposition: Decomposition

    @property
    def reconstruction(self) -> Float[Tensor, "B C H W"]:
        """The composed image, in [0, 1]."""
        return self.decomposition.reconstruction.clamp(0, 1)

    @property
    def _below(self) -> int:
        return min(self.model.config.backgrounds, 1)

    @property
    def layers(self) -> Float[Tensor, "B L C H W"]:
        """The appearance of each object layer."""
        return self.decomposition.colours[:, self._below :]

    @property
    def alphas(self) -> Float[Tensor, "B L 1 H W"]:
        """The transparency channel of each object layer, in [0, 1]."""
        return self.decomposition.alphas[:, self._below :]

    @property
    def background(self) -> Float[Tensor, "B C H W"]:
        """The background's appearance; black for a model without one."""
        colours = self.decomposition.colours
        return colours[:, 0] if self._below else torch.zeros_like(colours[:, 0])

    @property
    def occlusion(self) -> Float[Tensor, "B L L"]:
        """The occlusion matrix among object layers: 1 at [b, j, l] where layer j hides layer l."""
        return self.decomposition.occlusion

    @property
    def sprite_index(self) -> Int[Tensor, "B L"]:
        """The sprite of each layer, 1..K, or 0 where the layer is empty."""
        return self.decomposition.selection.sprites

    @property
    def parameters(self) -> Prediction:
        """The transformation parameters of all layers, sprites and backgrounds."""
        return self.decomposition.prediction

    @property
    def instance_map(self) -> Int[Tensor, "B H W"]:
        """The layer seen most at each pixel, 1..L, or 0 where that is the background."""
        occlusion = self.model.below(self.occlusion)
        visible = visibilities(self.decomposition.alphas, occlusion)[:, self._below :, 0]
        background = 1 - visible.sum(dim=1, keepdim=True)  # (B, 1, H, W)
        return torch.cat([background, visible], dim=1).argmax(dim=1)

    @property
    def semantic_map(self) -> Int[Tensor, "B H W"]:
        """The sprite seen most at each pixel, 1..K, or 0 for the background."""
        index = torch.nn.functional.pad(self.sprite_index, (1, 0))  # (B, L + 1), background first
        return index.gather(1, self.instance_map.flatten(1)).view(self.instance_map.shape)

    def edit(
        self,
        layer: int,
        sprite: int | None = None,
        colour: tuple[float, ...] | None = None,
        shift: tuple[float, ...] = (0.0, 0.0),
        scale: float = 1.0,
        angle: float = 0.0,
        bend: tuple[tuple[float, ...], ...] = (),
        depth: int | None = None,
        to_front: bool = False,
        to_back: bool = False,
    ) -> "Scene":
        """Return the scene with one object changed in every image (Fig. 4); nothing is re-encoded.

        `layer` 1..L; `sprite` 0..K replaces it, 0 removes it; `colour` (C values) sets the gains of
        the colour transformation; `shift` (x, y) in image widths and heights, to the right and
        down; `scale` multiplies the size, `angle` turns by degrees clockwise, and `bend` moves
        control points of a spline, each (point 1..16, x, y); `depth` 0..L-1 counts the layers
        behind it, of which `to_back` leaves none and `to_front` all. Raises DtisError for a value
        out of range or a transformation that the model lacks.
        """
        at, L = self._row(layer), self.sprite_index.shape[1]
        prediction = self.parameters
        changed = apply_change(
            self.model,
            Change(sprite, colour, tuple(shift), scale, angle, bend),
            prediction.layer[:, at],
            prediction.sprite[:, at],
        )
        parameters = [prediction.layer.clone(), prediction.sprite.clone()]
        for values, new in zip(parameters, changed, strict=True):
            values[:, at] = new
        index, order = self.sprite_index.clone(), self.occlusion
        if sprite is not None:
            index[:, at] = sprite
        if depth is not None and not 0 <= depth < L:
            raise DtisError(f"depth: must be in 0..{L - 1}, found {depth}")
        depth = L - 1 if to_front else 0 if to_back else depth
        if depth is not None:
            order = moved_to(order, at, depth, below=0)
        prediction = replace(prediction, layer=parameters[0], sprite=parameters[1])
        return self._rendered(
            prediction, replace(self.decomposition.selection, sprites=index), order
        )

    def duplicate(self, layer: int) -> "Scene":
        """Return the scene with a copy of one object as layer L + 1, just in front of the first.

        Raises DtisError for a layer out of range.
        """
        at = self._row(layer)
        old = self.decomposition

        def longer(part: Tensor) -> Tensor:
            return torch.cat([part, part[:, at : at + 1]], dim=1)  # (B, L + 1, ...)

        prediction = replace(
            old.prediction,
            **{n: longer(getattr(old.prediction, n)) for n in ("layer", "sprite", "features")},
        )
        order = copied_in_front(old.occlusion, at)
        selection = replace(old.selection, sprites=longer(old.selection.sprites))
        return self._rendered(prediction, selection, order)

    def arrange(self, order: tuple[int, ...]) -> "Scene":
        """Return the scene with its layers, 1..L, in a depth order, farthest first.

        Raises DtisError unless `order` names each layer once.
        """
        L = self.sprite_index.shape[1]
        check_order(order, L)
        occlusion = occlusion_of(order, self.occlusion).expand(len(self.occlusion), L, L)
        return self._rendered(self.parameters, self.decomposition.selection, occlusion)

    def _row(self, layer: int) -> int:
        """Return a layer's index in tensors (B, L, ...)."""
        L = self.sprite_index.shape[1]
        if not 1 <= layer <= L:
            raise DtisError(f"layer: must be in 1..{L}, found {layer}")
        return layer - 1

    @torch.no_grad()
    def _rendered(self, prediction: Prediction, selection: Selection, order: Tensor) -> "Scene":
        """Render the scene from other parameters, sprites and occlusions."""
        old = self.decomposition
        alphas, colours = self.model.chosen_layers(
            selection.sprites, prediction.layer, prediction.sprite
        )
        alphas = torch.cat([old.alphas[:, : self._below], alphas], dim=1)
        colours = torch.cat([old.colours[:, : self._below], colours], dim=1)
        image = compose(alphas, colours, self.model.below(order))
        new = Decomposition(prediction, order, selection, alphas, colours, image)
        return replace(self, decomposition=new)


def copied_in_front(occlusion: Float[Tensor, "B L L"], at: int) -> Float[Tensor, "B N N"]:
    """Return the occlusion matrix with a copy of one layer as the last, in front of the first."""
    longer = torch.nn.functional.pad(occlusion, (0, 1, 0, 1))  # (B, L + 1, L + 1)
    longer[:, -1] = longer[:, at]
    longer[:, :, -1] = longer[:, :, at]
    longer[:, -1, at] = 1
    return longer


def check_order(order: object, layers: int) -> None:
    """Raise DtisError unless `order` names each of the layers 1..L once."""
    numbers = isinstance(order, tuple | list) and all(type(layer) is int for layer in order)
    if not numbers or sorted(order) != list(range(1, layers + 1)):
        raise DtisError(f"order: must name each of the layers 1..{layers} once, found {order!r}")


def occlusion_of(order: tuple[int, ...], like: Tensor) -> Float[Tensor, "1 L L"]:
    """Return the occlusion matrix of layers 1..L in a depth order, farthest first."""
    rank = torch.tensor(order, device=like.device).argsort()  # (L,)
    return (rank[:, None] > rank).to(like.dtype)[None]
