"""A trained model ready for use: load it, decompose images, keep its sprites as files."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from dtis_core.config import Config
from dtis_core.errors import DtisError, suggest
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.paths import SHIPPED, user_path
from dtis_core.pictures import to_pixels, to_tensor
from dtis_core.runs.recorded import shipped_names
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.clips import Clip
from dtis_core.scenes.scene import Scene
from dtis_core.search.following import decomposed_clip
from dtis_core.search.inference import search_for
from dtis_core.search.nested import combined
from dtis_core.search.rounds import Effort, best_scenes
from dtis_core.search.seeking import SeekingSprites
from dtis_core.storage.files import replacing
from dtis_core.threads import chosen_threads

SEEKING = (
    "inference_steps", "inference_turns", "one_look_steps", "pairs", "polish_steps",
    "polish_every", "views",
)  # fmt: skip
"""What of `search` can be changed of a trained model."""
BATCH = 64  # images decomposed at once, to bound memory


def load(name: str | Path, device: str = "cpu") -> "Run":
    """Load a shipped model by name, a string, or a run folder by path, a string or a Path.

    Raises DtisError for an unknown name, one that could mean either, or a damaged folder.
    """
    path, known = user_path(name, "run"), shipped_names()
    if name in known:
        if RunFolder(path).exists:
            raise DtisError(f"'{name}' is a shipped model and a run folder; write ./{name} for it")
        path = SHIPPED / path
    elif not path.exists():
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
    if isinstance(images, np.ndarray):  # which may run backwards, as in images[::-1]
        images = np.ascontiguousarray(images)
    try:
        tensor = torch.as_tensor(images)
    except TypeError as error:  # torch has no such type
        raise DtisError(f"images: expected {wanted}, found {images.dtype}") from error
    found = f"found {tensor.dtype} {tuple(tensor.shape)}".replace("torch.", "")
    if tensor.dtype == torch.uint8 and tensor.shape[1:] == (H, W, C):
        batch = to_tensor(tensor)
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
class Run:
    """A trained model with its records; `settings` are what `seeking` changed of it."""

    folder: RunFolder
    config: Config
    model: DTISprites
    settings: tuple[str, ...] = ()

    @property
    def manifest(self) -> dict:
        """How the model was made: preset, data, seed, commit, device, wall time, scores."""
        return self.folder.manifest()

    @property
    def sprites(self) -> Float[Tensor, "K D h w"]:
        """The learned sprites, colours then mask, in [0, 1]."""
        return self.model.sprite_images()

    def seeking(self, settings: Sequence[str]) -> "Run":
        """Return the run with other settings for how scenes are sought, `section.field=value` each.

        Raises DtisError for other fields than model.selection and `SEEKING`, those of the section
        search, and for values out of range.
        """
        config = self.config.override(list(settings))
        search = replace(self.config.search, **{n: getattr(config.search, n) for n in SEEKING})
        model = replace(self.config.model, selection=config.model.selection)
        if config != replace(self.config, model=model, search=search):
            names = ", ".join(["model.selection", *(f"search.{name}" for name in SEEKING)])
            raise DtisError(
                f"--set {' '.join(settings):.80}: a trained model has only {names} to set"
            )
        return replace(self._sought_by(config), settings=(*self.settings, *settings))

    def inferring(self, inference: str) -> "Run":
        """Return the run as it infers by `one-look`, the paper's way, or `best`, as configured.

        What `seeking` set stays set. Raises DtisError for another name.
        """
        search = search_for(inference, self.config.search)
        if search == self.config.search:
            return self
        config = replace(self.config, search=search)
        return self._sought_by(config.override(list(self.settings)))

    def _sought_by(self, config: Config) -> "Run":
        model = copy(self.model)  # of the same weights
        model.config = replace(model.config, selection=config.model.selection)
        if isinstance(model, SeekingSprites):
            model.search = config.search
        return replace(self, config=config, model=model)

    def save_sprites(self, folder: str | Path) -> list[Path]:
        """Write each sprite as an RGBA PNG, sprite_01.png and on, and each background as RGB.

        Returns the files. Raises DtisError where they cannot be written.
        """
        folder = user_path(folder, "folder")
        backgrounds = self.model.backgrounds.canvases().detach().clamp(0, 1)[:, :-1]
        paths = []
        for name, canvases in {"sprite": self.sprites, "background": backgrounds}.items():
            for number, picture in enumerate(to_pixels(canvases), 1):  # (h, w, D)
                paths.append(folder / f"{name}_{number:02}.png")
                with replacing(paths[-1]) as temporary:
                    Image.fromarray(picture.squeeze()).save(temporary)
        return paths

    @chosen_threads()
    @torch.no_grad()
    def decompose(
        self,
        images: np.ndarray | Tensor,
        steps: int | None = None,
        polish: int | None = None,
        views: int | None = None,
        inference: str = "best",
    ) -> Scene:
        """Decompose uint8 (B, H, W, C) or float (B, C, H, W) images in [0, 1].

        `inference` is `best`, which searches as the configuration says, or `one-look`, the paper's
        way; see `INFERENCES`. Other arguments win over it: `steps` is T of Algorithm 1, `polish`
        the number of Gauss-Newton steps on what was found, and `views` the number of quarter turns
        in which a scene is sought. Raises DtisError for images of a wrong shape, type or range, for
        an unknown inference, and for more than one view of a model that `search.views` is not for.
        """
        sought = self._sought(images, steps, polish, views, inference)
        parts = [best_scenes(sought.model, x, sought.effort) for x in sought.batch.split(BATCH)]
        return Scene.of(sought.model, combined(torch.cat, parts))

    @chosen_threads()
    @torch.no_grad()
    def decompose_clip(self, frames: np.ndarray | Tensor, inference: str = "best") -> Clip:
        """Decompose successive frames of a clip, and follow each object through them.

        The scene of a frame is where the search in the next one begins; see `decomposed_clip`.
        Frames are as the images of `decompose`, and so are the errors raised.
        """
        sought = self._sought(frames, None, None, None, inference)
        found = decomposed_clip(sought.model, sought.batch, sought.effort)
        return Clip.of(Scene.of(sought.model, found))

    def _sought(
        self,
        images: np.ndarray | Tensor,
        steps: int | None,
        polish: int | None,
        views: int | None,
        inference: str,
    ) -> "_Sought":
        """Check what is to be decomposed, and how; see `decompose`."""
        batch = as_batch(images, self.config, next(self.model.parameters()).device)
        if not len(batch):
            raise DtisError("images: the batch is empty")
        run = self.inferring(inference)
        search = run.config.search
        if steps is None:
            steps = search.inference_steps or self.config.model.selection_steps
        if steps < 1:
            raise DtisError(f"steps: must be at least 1, found {steps}")
        polish = search.polish_steps if polish is None else polish
        if polish < 0:
            raise DtisError(f"polish: must be 0 or more, found {polish}")
        views = search.views if views is None else views
        if views != search.views:
            self.config.override([f"search.views={views}"])  # checks it
        return _Sought(run.model.eval(), batch, Effort(steps, polish, views, search.polish_every))


class _Sought(NamedTuple):
    """Images to decompose by a model, and how much to spend on each."""

    model: DTISprites
    batch: Float[Tensor, "B C H W"]
    effort: Effort
