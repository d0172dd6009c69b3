"""Draws scenes in no time, as flat blocks beside each other; dies or hides objects when told to.

Found by its name in the processes that render, which are told by environment variables.
"""

import os
from pathlib import Path

import numpy as np

from dtis_core.rendering.sampling import COLOURS

VERSION = "blocks"


def draw_mask(scene, size):
    mask = np.zeros((size, size), np.uint8)
    for m, solid in enumerate(scene.solids, start=1):
        hidden = os.environ.get("FAKE_HIDES") == solid.colour
        mask[2:10, 8 * m : 8 * m + (1 if hidden else 8)] = m
    return mask


def draw_image(scene, size):
    dying = os.environ.get("FAKE_DIES_WITH")  # so many images in a folder
    if dying:
        count, folder = dying.split(" ", 1)
        if len(list(Path(folder).glob("*.png"))) >= int(count):
            os._exit(1)
    ground = np.round(100 + 10 * scene.camera).astype(np.uint8)
    tones = np.array([ground, *(COLOURS[solid.colour] for solid in scene.solids)], np.uint8)
    return tones[draw_mask(scene, size)]
