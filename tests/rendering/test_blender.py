"""One real scene, where Blender is at hand: `pip install 'dtis[render]'`."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from dtis_core.rendering.folder import render_folder
from dtis_core.rendering.order import Order
from dtis_core.rendering.sampling import COLOURS

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("bpy"), reason="needs Blender: pip install 'dtis[render]'"
)


def test_a_scene_shows_what_it_lists(tmp_path):
    render_folder(Order({"train": 1}, objects=(4, 4), size=64), tmp_path, jobs=1)
    listing = json.loads((tmp_path / "scenes.json").read_text())
    scene = listing["scenes"][0]
    image = np.asarray(Image.open(tmp_path / scene["image"]), float)
    mask = np.asarray(Image.open(tmp_path / scene["mask"]))
    assert listing["renderers"][0].startswith("Blender 4.2")
    assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
    assert set(np.unique(mask)) == {0, 1, 2, 3, 4}
    ground = image[mask == 0]
    assert 90 < ground.mean() < 160 and np.abs(ground - ground.mean(axis=1)[:, None]).max() < 25
    for m, thing in enumerate(scene["objects"], start=1):
        seen, colour = image[mask == m].mean(axis=0), np.array(COLOURS[thing["color"]], float)
        if thing["color"] != "gray":  # its order of red, green and blue is its colour's
            assert np.corrcoef(seen, colour)[0, 1] > 0.8
    # Who stands nearer to the camera, which looks from +x and -y, is lower in the image.
    nearness = [thing["x"] * 7.48 - thing["y"] * 6.55 for thing in scene["objects"]]
    feet = [np.nonzero(mask == m)[0].max() for m in (1, 2, 3, 4)]
    nearest, farthest = np.argmax(nearness), np.argmin(nearness)
    assert feet[nearest] > feet[farthest]
