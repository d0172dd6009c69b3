"""A snapshot: all of a model's sprites side by side in one picture, with transparency."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from dtis_core.model.dti_sprites import DTISprites
from dtis_core.pictures import to_pixels
from dtis_core.storage.files import read_picture

PARTS = 1, 2, 4  # of their size, that sprites have while a run is coarse


def sprite_sheet(model: DTISprites) -> np.ndarray:
    """Return all sprites side by side as one RGBA image, uint8 (h, K w, 4)."""
    canvases = model.sprite_images().cpu()  # (K, C+1, h, w)
    if canvases.shape[1] == 2:
        canvases = torch.cat([canvases[:, :1].repeat(1, 3, 1, 1), canvases[:, 1:]], dim=1)
    K, D, h, w = canvases.shape
    return to_pixels(canvases.permute(1, 2, 0, 3).reshape(D, h, K * w))  # (h, K w, D)


def read_sprite_sheet(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "K h w 4"]:
    """Cut what `sprite_sheet` returned into sprites of `size`, or of half or a quarter of it.

    Raises DtisError for a damaged file, or one that is no row of such sprites.
    """

    def cut(picture: Image.Image) -> np.ndarray:
        part = next((p for p in PARTS if picture.height * p == size[0] and size[1] % p == 0), None)
        if picture.mode != "RGBA" or part is None or picture.width * part % size[1]:
            found = f"{picture.mode} of {picture.height} x {picture.width} pixels"
            raise ValueError(f"{found} is no row of RGBA sprites of {size[0]} x {size[1]}")
        h, w = size[0] // part, size[1] // part
        return np.asarray(picture).reshape(h, -1, w, 4).transpose(1, 0, 2, 3)

    return read_picture(path, cut)
