"""A scene in plain numbers, from which web/composition.js draws its reconstruction."""

import json
from base64 import b64encode

import numpy as np
from torch import Tensor

from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.model.sprites import LOGITS
from dtis_core.model.transformations import (
    Colour,
    Morphological,
    Position,
    Projective,
    Sequence,
    Similarity,
    ThinPlateSpline,
    spline_weights,
)
from dtis_core.scenes.change import carriers
from dtis_core.scenes.scene import MOST, Scene
from dtis_core.search.transformations import Placement

BITS = {8: "<u1", 16: "<u2"}


def described(scene: Scene) -> dict:
    """Return the scene of one image as it was found, all edits aside, as JSON can hold it.

    Arrays are flat, of 16 bits a number in sprites and of 8 in the background, so that what is
    drawn from them differs by less than one part in 255. Raises DtisError for a scene of several
    images, and for a transformation that is none of ours or the paper's.
    """
    found, model = scene.decomposition, scene.model
    if len(found.occlusion) != 1:
        raise DtisError(f"scene: expected one of one image, found {len(found.occlusion)}")
    config, prediction = model.config, found.prediction
    chosen = found.selection.sprites[0].tolist()
    layers, sprites = prediction.layer[0].tolist(), prediction.sprite[0].tolist()
    places = {kind: model.sequences[i].names.index(name) for kind, (i, name) in _carried(model)}
    return {
        "size": list(config.image_size),
        "spriteSize": list(config.sprite_size),
        "channels": config.channels,
        "most": MOST,
        "sequences": [described_sequence(sequence) for sequence in model.sequences[:2]],
        "carriers": {kind: [i, places[kind]] for kind, (i, _) in _carried(model)},
        "splineWeights": spline_weights(ThinPlateSpline.per_side).flatten().tolist(),
        "concrete": _steepness(model),
        "sprites": packed(model.sprites.canvases()),
        "background": packed(found.colours[0, 0], 8) if config.backgrounds else None,
        "occlusion": found.occlusion[0].tolist(),
        "found": [
            {"sprite": k, "layerParameters": own, "spriteParameters": each}
            for k, own, each in zip(chosen, layers, sprites, strict=True)
        ],
    }


def edits_of(scene: Scene) -> dict:
    """Return how the objects of one image's scene differ from what was found, and their order.

    As JSON reads it: lists for tuples, so that what comes back from a browser is equal.
    """
    objects = [{"layer": edited.layer, **edited.change.used} for edited in scene.objects]
    return json.loads(json.dumps({"objects": objects, "order": scene.order}))


def packed(values: Tensor, bits: int = 16) -> dict:
    """Return numbers as so many bits each, base64, with the range that these divide."""
    numbers = values.detach().cpu().double().numpy()
    low, high = float(numbers.min()), float(numbers.max())
    steps = (numbers - low) / max(high - low, 1e-12) * (2**bits - 1)
    data = b64encode(np.rint(steps).astype(BITS[bits]).tobytes()).decode()
    return {"data": data, "bits": bits, "range": [low, high]}


def _carried(model: DTISprites) -> list[tuple[str, tuple[int, str]]]:
    return sorted(carriers(model).items())


def _steepness(model: DTISprites) -> float:
    """Return the slope of Concrete masks' sigmoid at inference, 0 for other masks."""
    concrete = model.config.mask_binarity == "concrete"
    return LOGITS / model.config.mask_temperature[1] if concrete else 0.0


def described_sequence(sequence: Sequence) -> dict:
    """Return a sequence's modules, with the place of each one's parameters, as JSON can hold it.

    Raises DtisError for a module that is none of ours or the paper's.
    """
    spans = [sequence.slices[name] for name in sequence.names]
    modules = [
        {"name": name, "at": [span.start, span.stop], "size": span.stop - span.start, **_kind(own)}
        for name, span, own in zip(sequence.names, spans, sequence.modules, strict=True)
    ]
    size = None if sequence.resize_to is None else list(sequence.resize_to)
    return {"modules": modules, "resizeTo": size, "lastSpatial": sequence.last_spatial}


def _kind(module: object) -> dict:
    match module:
        case Colour():
            return {"kind": "colour"}
        case Placement():
            return {"kind": "placement", "octaves": module.octaves}
        case Position():
            return {"kind": "position"}
        case Similarity():
            return {"kind": "similarity"}
        case Projective():
            return {"kind": "matrix"}
        case ThinPlateSpline():
            return {"kind": "spline"}
        case Morphological():
            return {"kind": "morphological"}
    raise DtisError(f"{type(module).__name__}: a transformation that the browser cannot draw")
