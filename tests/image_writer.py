"""Small images with known contents, as files."""

import numpy as np
from PIL import Image


def save(path, pixels, **options):
    """Write pixels, or one value of them in 8x8 pixels, as an image."""
    pixels = np.full((8, 8, 3), pixels, np.uint8) if isinstance(pixels, int) else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def thirds(height, width):
    """Return rows of three values, 0, 100 and 200, each a third of the width."""
    row = np.repeat([0, 100, 200], width // 3)
    return np.broadcast_to(row, (height, width)).astype(np.uint8)


def grey(values):
    """Return an RGB image of one channel's values."""
    return np.repeat(values[..., None], 3, axis=-1)
