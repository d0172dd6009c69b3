"""Edited scenes as JSON: which model and image they belong to, each object's changes, the order."""

import hashlib
import json
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dtis_core.errors import DtisError, suggest
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.scenes.change import Change, check_number
from dtis_core.scenes.scene import MOST, Scene
from dtis_core.storage.files import read_text, write_text

FORMAT = "dtis scene 1"

Image = UInt8[np.ndarray, "height width channels"]
Images = UInt8[np.ndarray, "images height width channels"]


def model_fingerprint(model: DTISprites) -> str:
    """Return what tells a model's sprites from another's."""
    canvases = model.sprites.canvases().detach().cpu().contiguous()
    return hashlib.sha256(canvases.numpy().tobytes()).hexdigest()[:16]


def image_fingerprint(image: Image) -> str:
    """Return what tells one image from another."""
    shape = str(image.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def save_scene(path: Path, scene: Scene, image: Image) -> None:
    """Write the scene of one image as JSON. Raises DtisError where it cannot be written."""
    write_text(path, to_json(scene, image))


def load_scene(path: Path, found: Sequence[Scene], images: Images) -> tuple[int, Scene]:
    """Read what `save_scene` wrote, as `from_json`. Raises DtisError that names the file."""
    try:
        return from_json(read_text(path), found, images)
    except (OSError, UnicodeDecodeError) as error:
        raise DtisError(f"{path}: cannot be read ({error})") from error
    except DtisError as error:
        raise DtisError(f"{path}: {error}") from error


def to_json(scene: Scene, image: Image) -> str:
    """Return the edits of the scene of one image as JSON, as few fields as tell them."""
    whole = {
        "format": FORMAT,
        "model": model_fingerprint(scene.model),
        "image": image_fingerprint(image),
        "objects": [{"layer": edited.layer, **edited.change.used} for edited in scene.objects],
        "order": scene.order,
    }
    return json.dumps(whole, indent=1) + "\n"


def from_json(text: str, found: Sequence[Scene], images: Images) -> tuple[int, Scene]:
    """Return which of some images `to_json` wrote of, from 0, and its scene.

    `found` are the images' scenes without edits. Raises DtisError that names the first field that
    is not as it must be.
    """
    try:
        return _read(text, found, images)
    except RecursionError as error:
        raise DtisError(f"scene: nested too deeply ({error}); save it again") from error


def _read(text: str, found: Sequence[Scene], images: Images) -> tuple[int, Scene]:
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise DtisError(f"not JSON ({error}); save the scene again") from error
    _check_fields("scene", whole, {"format", "model", "image", "objects", "order"})
    if whole["format"] != FORMAT:
        raise DtisError(f"format: expected '{FORMAT}', found {whole['format']!r:.80}")
    model = model_fingerprint(found[0].model)
    if whole["model"] != model:
        raise DtisError(f"model: the scene was saved with another model than {model}")
    sources = [image_fingerprint(image) for image in images]
    if whole["image"] not in sources:
        raise DtisError(f"image: none of these images is the scene's, {whole['image']!r:.80}")
    index = sources.index(whole["image"])
    return index, _edited(found[index], whole["objects"], whole["order"])


def edited_as(present: Scene, found: Scene, edits: dict) -> Scene:
    """Return the scene of edits {objects, order}, as in JSON, from the present one where it can.

    `found` is the scene without edits. Objects that stay as they are in `present` are not drawn
    again. Raises DtisError that names the first field that is not as it must be.
    """
    _check_fields("edits", edits, {"objects", "order"})
    objects, order = edits["objects"], edits["order"]
    asked = objects if isinstance(objects, list) else []
    layers = [one.get("layer") for one in asked if isinstance(one, dict)]
    goes_on = layers == [one.layer for one in present.objects]
    goes_on &= order is not None or present.arranged is None
    return _edited(present if goes_on else found, objects, order)


def _edited(scene: Scene, objects: object, order: object) -> Scene:
    """Return a scene with all its objects as they are told, further copies and an order."""
    there = len(scene.objects)
    if not isinstance(objects, list) or not there <= len(objects) <= MOST:
        raise DtisError(f"objects: expected a list of {there} to {MOST}, found {objects!r:.80}")
    for number, values in enumerate(objects, 1):
        where = f"objects[{number - 1}]"
        _check_fields(where, values, {"layer"}, others=True)
        layer, change = values["layer"], {k: v for k, v in values.items() if k != "layer"}
        if number <= there:
            own = scene.objects[number - 1].layer
            check_number(f"{where}.layer", layer, own, own, Integral)
        else:
            check_number(f"{where}.layer", layer, 1, there, Integral)
            scene = scene.duplicate(layer)
        try:
            scene = scene.changed(number, Change.of(scene.model, change))
        except DtisError as error:
            raise DtisError(f"{where}.{error}") from error
    return scene if order is None else scene.arrange(order)


def _check_fields(where: str, values: object, needed: set[str], others: bool = False) -> None:
    """Raise DtisError unless `values` is an object with all needed fields, and perhaps others."""
    if not isinstance(values, dict):
        raise DtisError(f"{where}: expected an object of fields, found {values!r:.80}")
    for name in sorted(needed - values.keys()):
        raise DtisError(f"{where}: lacks the field '{name}'")
    for name in () if others else sorted(values.keys() - needed):
        raise DtisError(f"{where}: unknown field {name!r:.80}{suggest(name, needed)}")
