"""Scenes that a run found, kept in its folder without the images, and drawn again by Eq. (4).

A found scene is its parameters: which sprites, how they are transformed, who hides whom. So scenes
of photographs that no clone may hold can be shown in every clone, but for the photographs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.predictor import Prediction
from dtis_core.model.selection import Selection
from dtis_core.scenes.run import Run
from dtis_core.scenes.scene import Scene
from dtis_core.scenes.scene_json import model_fingerprint
from dtis_core.storage.weights import check_tensors, read_tensors, write_tensors

FACT = "fact."  # before the names of what is known of all images, scene or not
CHOICES = {"sprites", "backdrop"}  # tensors of whole numbers


def found_file(run: Run, data: str, split: str) -> Path:
    """Return where a run's folder keeps what it found in a split of some data."""
    return run.folder.path / f"found-{data}-{split}.safetensors"


def save_found(path: Path, scene: Scene, facts: dict[str, np.ndarray]) -> None:
    """Write the parameters of found scenes, before all edits, and facts of any number of images.

    Raises DtisError where the file cannot be written.
    """
    found = scene.decomposition
    layer, sprite, background = (
        getattr(found.prediction, part) for part in ("layer", "sprite", "background")
    )
    sprites, chosen = found.selection.sprites, found.selection.background
    image = torch.arange(len(sprites), device=sprites.device)
    k = (sprites - 1).clamp(min=0)[:, :, None, None].expand(-1, -1, 1, sprite.shape[-1])
    kept = {
        "sprites": sprites.to(torch.int32),
        "layer": layer,
        "sprite": sprite.gather(2, k).squeeze(2),  # (B, L, R), of the chosen ones
        "occlusion": found.occlusion,
        "backdrop": chosen.to(torch.int32),
        "background": background[image, chosen] if background.shape[1] else background.sum(dim=1),
    }
    kept |= {FACT + name: torch.from_numpy(values) for name, values in facts.items()}
    write_tensors(path, kept, {"model": model_fingerprint(scene.model)})


def load_facts(run: Run, data: str, split: str) -> dict[str, np.ndarray]:
    """Return the facts that were kept beside scenes. Raises DtisError as `load_found`."""
    tensors = _kept(run, _existing(run, data, split))
    return {k.removeprefix(FACT): t.numpy() for k, t in tensors.items() if k.startswith(FACT)}


@torch.no_grad()
def load_found(run: Run, data: str, split: str, numbers: Sequence[int]) -> Scene:
    """Draw the kept scenes of some images of a split, by their numbers from 0.

    Raises DtisError where none were kept, not of these images, by other weights, or damaged.
    """
    path = _existing(run, data, split)
    tensors = _kept(run, path)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(FACT)}
    model = run.model
    count = len(kept["sprites"]) if "sprites" in kept else 0
    check_tensors(kept, _expected(model, count), path)
    for name, most in {"sprites": model.config.sprites, "backdrop": _last_backdrop(model)}.items():
        if count and int(kept[name].max()) > most:
            raise DtisError(f"{path}: tensor '{name}' holds more than {most}; run dtis keep again")
    if not numbers or min(numbers) < 0 or max(numbers) >= count:
        raise DtisError(f"{path}: has the images 0..{count - 1}, not {list(numbers)!s:.80}")
    kept = {k: t[list(numbers)].to(next(model.parameters()).device) for k, t in kept.items()}
    B, L, K, G = len(numbers), model.config.layers, model.config.sprites, model.config.backgrounds
    prediction = Prediction(
        layer=kept["layer"],
        sprite=kept["sprite"][:, :, None].expand(B, L, K, -1),
        background=kept["background"][:, None].expand(B, G, -1),
        features=kept["layer"].new_zeros(B, L, 0),
    )
    selection = Selection(kept["sprites"].long(), kept["backdrop"].long())
    return Scene.of(model, model.eval().render(prediction, kept["occlusion"], selection))


def _existing(run: Run, data: str, split: str) -> Path:
    path = found_file(run, data, split)
    if not path.is_file():
        raise DtisError(f"{path}: no scenes were kept; dtis keep {run.folder.path} makes it")
    return path


def _kept(run: Run, path: Path) -> dict[str, Tensor]:
    """Read what was kept. Raises DtisError where that was by other weights."""
    tensors, metadata = read_tensors(path)
    if metadata.get("model") != model_fingerprint(run.model):
        raise DtisError(f"{path}: was kept by other weights; run dtis keep again")
    return tensors


def _last_backdrop(model: DTISprites) -> int:
    return max(model.config.backgrounds - 1, 0)


def _expected(model: DTISprites, count: int) -> dict[str, Tensor]:
    """Return tensors like those that `count` scenes are kept as."""
    L, (layer, sprite, background) = model.config.layers, model.sequences
    S = background.size if model.config.backgrounds else 0
    shapes = {
        "sprites": (count, L),
        "layer": (count, L, layer.size),
        "sprite": (count, L, sprite.size),
        "occlusion": (count, L, L),
        "backdrop": (count,),
        "background": (count, S),
    }
    return {
        name: torch.empty(shape, dtype=torch.int32 if name in CHOICES else torch.float32)
        for name, shape in shapes.items()
    }
