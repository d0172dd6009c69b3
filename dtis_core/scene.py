"""The facade: load a trained model, decompose images, read the scene and edit it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtis_core.composition import compose, visibilities
from dtis_core.config import Config
from dtis_core.errors import DtisError, suggest
from dtis_core.model import Decomposition, DTISprites
from dtis_core.predictor import Prediction
from dtis_core.runs import RunFolder

SHIPPED = Path(__file__).parent / "shipped"
BATCH = 64  # images decomposed at once, to bound memory


def shipped_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/model.safetensors"))


def load(name: str | Path, device: str = "cpu") -> "Run":
    """Load a shipped model by name, or a run folder by path.

    Raises DtisError for an unknown name or a damaged folder.
    """
    path = Path(name)
    if str(name) in shipped_names():
        path = SHIPPED / str(name)
    elif not path.exists():
        known = shipped_names()
        raise DtisError(
            f"'{name}' is neither a shipped model nor a run folder{suggest(str(name), known)}"
        )
    folder = RunFolder(path)
    model = folder.model(device)
    return Run(folder, replace(folder.config(), model=model.config), model)


def as_batch(images: object, config: Config, device: torch.device) -> Float[Tensor, "B C H W"]:
    """Turn uint8 (B, H, W, C) or float (B, C, H, W) in [0, 1] into a model's input.

    Arrays of NumPy or torch. Raises DtisError that says what was found and what is wanted.
    """
    H, W = config.model.image_size
    C = config.model.channels
    wanted = f"uint8 (B, {H}, {W}, {C}) or float (B, {C}, {H}, {W}) in [0, 1]"
    if not isinstance(images, np.ndarray | Tensor):
        raise DtisError(f"images: expected {wanted}, found {type(images).__name__}")
    try:
        tensor = torch.as_tensor(images)
    except TypeError as error:  # torch has no such type
        raise DtisError(f"images: expected {wanted}, found {images.dtype}") from error
    found = f"found {tensor.dtype} {tuple(tensor.shape)}".replace("torch.", "")
    if tensor.dtype == torch.uint8 and tensor.shape[1:] == (H, W, C):
        batch = tensor.permute(0, 3, 1, 2).float() / 255
    elif tensor.is_floating_point() and tensor.shape[1:] == (C, H, W):
        batch = tensor.float()
        if len(batch) and not (batch.min() >= 0 and batch.max() <= 1):
            raise DtisError(
                f"images: expected {wanted}, {found} with values from "
                f"{batch.min():.3g} to {batch.max():.3g}"
            )
    else:
        raise DtisError(f"images: expected {wanted}, {found}; resize or convert them first")
    return batch.to(device)


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
        to_front: bool = False,
        to_back: bool = False,
    ) -> "Scene":
        """Return the scene with one object changed in every image (Fig. 4); nothing is re-encoded.

        `layer` 1..L; `sprite` 0..K replaces it, 0 removes it; `colour` (C values) sets the gains of
        the colour transformation; `shift` (x, y) in image widths and heights, to the right and
        down; `scale` multiplies the size; `to_front`, `to_back` change the depth. Raises DtisError
        for a value out of range or a transformation that the model lacks.
        """
        config = self.model.config
        if not 1 <= layer <= config.layers:
            raise DtisError(f"layer: must be in 1..{config.layers}, found {layer}")
        index = self.sprite_index.clone()
        if sprite is not None:
            if not 0 <= sprite <= config.sprites:
                raise DtisError(f"sprite: must be in 0..{config.sprites}, found {sprite}")
            index[:, layer - 1] = sprite
        parameters = self.parameters.layer.clone()
        if colour is not None:
            if len(colour) != config.channels:
                raise DtisError(f"colour: expected {config.channels} values, found {len(colour)}")
            self._change(parameters, layer, "recoloured", colour)
        if tuple(shift) != (0.0, 0.0) or scale != 1.0:
            if len(shift) != 2:
                raise DtisError(f"shift: expected (x, y), found {len(shift)} values")
            if not scale > 0:
                raise DtisError(f"scale: must be above 0, found {scale}")
            self._change(parameters, layer, "moved", shift, scale)
        order = self.occlusion.clone()
        if to_front or to_back:
            order[:, layer - 1] = float(to_front)
            order[:, :, layer - 1] = 1 - float(to_front)
            order[:, layer - 1, layer - 1] = 0
        return self._rendered(parameters, index, order)

    def _change(self, parameters: Tensor, layer: int, method: str, *values: object) -> None:
        """Let the layer's transformation that has `method` change its parameters, in place."""
        sequence = self.model.sequences[0]
        for name, module in zip(sequence.names, sequence.modules, strict=True):
            if hasattr(module, method):
                where = (slice(None), layer - 1, sequence.slices[name])
                parameters[where] = getattr(module, method)(parameters[where], *values)
                return
        raise DtisError(f"this model's layers cannot be {method}: they have only {sequence.names}")

    @torch.no_grad()
    def _rendered(self, parameters: Tensor, sprites: Tensor, order: Tensor) -> "Scene":
        """Render the scene again from changed parameters, sprites and occlusions."""
        old = self.decomposition
        prediction = replace(old.prediction, layer=parameters)
        selection = replace(old.selection, sprites=sprites)
        alphas, colours = self.model.chosen_layers(sprites, parameters, prediction.sprite)
        alphas = torch.cat([old.alphas[:, : self._below], alphas], dim=1)
        colours = torch.cat([old.colours[:, : self._below], colours], dim=1)
        image = compose(alphas, colours, self.model.below(order))
        new = Decomposition(prediction, selection, order, alphas, colours, image)
        return replace(self, decomposition=new)


@dataclass(frozen=True)
class Run:
    """A trained model with its records."""

    folder: RunFolder
    config: Config
    model: DTISprites

    @property
    def manifest(self) -> dict:
        """How the model was made: preset, data, seed, commit, device, wall time, scores."""
        return self.folder.manifest()

    @property
    def sprites(self) -> Float[Tensor, "K D h w"]:
        """The learned sprites, colours then mask, in [0, 1]."""
        return self.model.sprites.canvases().detach().clamp(0, 1)

    @torch.no_grad()
    def decompose(self, images: np.ndarray | Tensor, steps: int | None = None) -> Scene:
        """Decompose uint8 (B, H, W, C) or float (B, C, H, W) images in [0, 1].

        `steps` is T of Algorithm 1, by default the configuration's. Raises DtisError for images of
        a wrong shape, type or range.
        """
        batch = as_batch(images, self.config, next(self.model.parameters()).device)
        if not len(batch):
            raise DtisError("images: the batch is empty")
        steps = self.config.model.inference_steps if steps is None else steps
        if steps < 1:
            raise DtisError(f"steps: must be at least 1, found {steps}")
        parts = [self.model.eval()(part, steps=steps) for part in batch.split(BATCH)]
        return Scene(self.model, _joined(parts))


def _joined(parts: list) -> object:
    """Concatenate (nested) dataclasses of tensors along the batch axis."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    names = first.__dataclass_fields__
    return replace(first, **{n: _joined([getattr(part, n) for part in parts]) for n in names})
