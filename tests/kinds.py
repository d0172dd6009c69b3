"""Models of every kind that can be edited, untrained, and what can be changed of their scenes."""

import numpy as np
import pytest
import torch

from dtis_core.config import load_preset
from dtis_core.pictures import to_pixels
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.change import abilities
from dtis_core.scenes.run import Run
from dtis_core.search.seeking import build_model

L, K, SIDE = 3, 4, 24
IMAGES = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
BACKED = ["model.backgrounds=1", "model.background_transformations=[colour]"]
ALONE = [*BACKED, "model.layers=1", f"model.sprite_size=[{SIDE}, {SIDE}]"]
KINDS = {  # settings, and what such a model can change
    "tetrominoes": (["tint", "translation"], [], [], "colour shift"),
    "multi-dsprites": (
        ["tint", "wide_placement"], ["rotation"], BACKED, "colour shift scale angle",
    ),
    "multi-dsprites, quick": (
        ["tint", "placement"], ["similarity"], BACKED, "colour shift scale angle",
    ),
    "clevr": (["tint", "placement"], ["projective"], BACKED, "colour shift scale angle"),
    "signs": (["colour", "projective", "tps"], [], ALONE, "colour shift scale angle bend"),
    "horses": ([], ["colour", "affine", "tps"], ALONE, "colour shift scale angle bend"),
    "sized by sprite": (["translation"], ["similarity"], [], "shift scale angle"),
    "placed by sprite": (["colour"], ["position"], [], "colour shift scale"),
}  # fmt: skip


def a_run(kind):
    layer, sprite, settings, _ = KINDS[kind]
    config = load_preset("tetrominoes/fast").override(
        [
            f"model.image_size=[{SIDE}, {SIDE}]", "model.sprite_size=[16, 16]",
            f"model.sprites={K}", "search.looks=image", "search.inference_steps=1",
            f"model.layer_transformations=[{', '.join(layer)}]",
            f"model.sprite_transformations=[{', '.join(sprite)}]", *settings,
        ]
    )  # fmt: skip
    torch.manual_seed(0)
    model = build_model(config.model, config.search).eval()
    with torch.no_grad():
        model.sprites.appearances.uniform_(0, 1)
        model.sprites.masks.add_(torch.rand_like(model.sprites.masks) * 0.3)
        for head in ("layer_head", "sprite_head"):
            getattr(model.predictor, head).weights[-1].normal_(std=0.02)
    return Run(RunFolder("nowhere"), config, model)


def only(*kinds):
    """Run a test with some kinds of models."""
    return pytest.mark.parametrize("kind", kinds, indirect=True)


EVERY = {
    "sprite": 2, "colour": (1.0, 0.4, 0.7), "shift": (0.1, -0.05), "scale": 1.2, "angle": 40.0,
    "bend": ((6, 0.1, 0.0), (11, 0.0, -0.1)),
}  # fmt: skip


def everything(scene):
    """Change all that the model can of the first object, then add and arrange some."""
    able = abilities(scene.model) | {"sprite"}
    scene = scene.edit(1, **{name: value for name, value in EVERY.items() if name in able})
    copied = scene.duplicate(1).edit(len(scene.objects) + 1, shift=(-0.3, 0.15))
    return copied.edit(1, to_front=True)


def picture(scene):
    """The first image's composition, uint8 (H, W, C)."""
    return to_pixels(scene.reconstruction[0])
