"""Edited scenes as JSON: which model and image they belong to, each object's changes, the order."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from dtis_core.errors import DtisError, suggest
from dtis_core.scenes.change import Change, check_values
from dtis_core.scenes.edited_scene import MOST, EditedObject, EditedScene
from dtis_core.scenes.scene import Scene, check_order

FORMAT = "dtis scene 1"


def model_fingerprint(scene: Scene) -> str:
    """Return what tells a model's sprites from another's."""
    canvases = scene.model.sprites.canvases().detach().cpu().contiguous()
    return hashlib.sha256(canvases.numpy().tobytes()).hexdigest()[:16]


def image_fingerprint(image: np.ndarray) -> str:
    """Return what tells one uint8 image from another."""
    shape = str(image.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def to_json(scene: EditedScene) -> str:
    """Return the edits as JSON, as few fields as tell them."""
    whole = {
        "format": FORMAT,
        "model": model_fingerprint(scene.renderer.scene),
        "image": scene.source,
        "objects": [{"layer": edited.layer, **edited.change.used} for edited in scene.objects],
        "order": scene.order,
    }
    return json.dumps(whole, indent=1) + "\n"


def from_json(text: str, unedited: Sequence[EditedScene]) -> EditedScene:
    """Return the edited scene that `to_json` wrote, of one of some unedited scenes.

    Raises DtisError that names the first field that is not as it must be.
    """
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise DtisError(f"not JSON ({error}); save the scene again") from error
    _check_fields("scene", whole, {"format", "model", "image", "objects", "order"})
    if whole["format"] != FORMAT:
        raise DtisError(f"format: expected '{FORMAT}', found {whole['format']!r}")
    model = model_fingerprint(unedited[0].renderer.scene)
    if whole["model"] != model:
        raise DtisError(f"model: the scene was saved with another model than {model}")
    start = next((scene for scene in unedited if scene.source == whole["image"]), None)
    if start is None:
        raise DtisError(f"image: none of these images is the scene's, {whole['image']!r}")
    objects, layers = whole["objects"], start.renderer.layers
    if not isinstance(objects, list) or not layers <= len(objects) <= MOST:
        raise DtisError(f"objects: expected a list of {layers} to {MOST}, found {objects!r:.80}")
    edited = tuple(_object_from(start, n, values) for n, values in enumerate(objects, 1))
    order = whole["order"]
    if order is not None:
        check_order(order, len(edited))
        order = tuple(order)
    return replace(start, objects=edited, order=order)


def _object_from(start: EditedScene, number: int, values: object) -> EditedObject:
    """Read and check one object; its errors begin with its place."""
    where = f"objects[{number - 1}]"
    layers = start.renderer.layers
    _check_fields(where, values, {"layer"}, {field.name for field in fields(Change)})
    layer = values["layer"]
    if type(layer) is not int or not 1 <= layer <= layers or (number <= layers and layer != number):
        allowed = str(number) if number <= layers else f"in 1..{layers}"
        raise DtisError(f"{where}.layer: must be {allowed}, found {layer!r}")
    change = {name: _hashable(value) for name, value in values.items() if name != "layer"}
    try:
        check_values(start.renderer.model, change)
    except DtisError as error:
        raise DtisError(f"{where}.{error}") from error
    return EditedObject(layer, Change(**change))


def _hashable(value: object) -> object:
    """Return JSON's lists, at any depth, as tuples."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _check_fields(
    where: str, values: object, needed: set[str], allowed: set[str] = frozenset()
) -> None:
    """Raise DtisError unless `values` is an object with all needed and no unknown fields."""
    if not isinstance(values, dict):
        raise DtisError(f"{where}: expected an object of fields, found {values!r:.80}")
    for name in sorted(needed - values.keys()):
        raise DtisError(f"{where}: lacks the field '{name}'")
    for name in sorted(values.keys() - needed - allowed):
        raise DtisError(f"{where}: unknown field '{name}'{suggest(name, needed | allowed)}")
