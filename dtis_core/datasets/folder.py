"""Any folder of images, with masks and categories where it has them (Sec. 4.2.3, web images).

The images are in the folder itself or in its `images/`. `masks/` may hold a mask of the same name
for each, with one integer per pixel: 0 is background. `scenes.json` may list what they show:

    {"background": 0, "scenes": [
        {"image": "images/0.png", "mask": "masks/0.png", "objects": [{"category": 6}, ...]}, ...]}

Object m of a scene's list is m in its mask. A scene without "mask" takes the one of its name.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from dtis_core.datasets import Request, SceneDataset, part_with_images, register
from dtis_core.datasets.images import (
    Size,
    find_images,
    read_all,
    read_image,
    read_mask,
    read_size,
    stamps,
)
from dtis_core.errors import DtisError, shown
from dtis_core.storage.files import read_json

SIZE = (128, 128)
ADVICE = (
    "give the folder that holds your images, or their images/: --set data.path=FOLDER, or --path "
    "FOLDER beside --data"
)
MOST_OBJECTS = 255  # in an image: what a mask's 8 bits can number
MOST_CATEGORIES = 65_535  # scores count the pixels of each with each sprite
KINDS = {list: "a list", dict: "an object", str: "a text", int: "an integer"}  # as JSON has them


class Listing(NamedTuple):
    """What a folder holds: N images, and where they are known their masks and objects.

    Attributes:
        images: the image files.
        masks: the mask file of each.
        categories: category from 1 of the m-th object in column m - 1, 0 where there is none.
    """

    images: list[Path]
    masks: list[Path] | None
    categories: Integer[np.ndarray, "N M"] | None


@register("folder")
def load(request: Request) -> SceneDataset:
    """Read the images of `request.root`, centred crops at `request.size` (128x128 by default).

    Masks are cropped alike. With masks and no `scenes.json`, all objects are of category 1.
    Splits: "all"; "validation", every fifth image; "train", the others.
    Raises DtisError where the folder holds no image or fewer than the split needs, a file is
    damaged or missing, a mask and its image differ in proportions, or `scenes.json` is malformed.
    """
    folder = request.root.resolve()
    listing = list_folder(folder, ADVICE)
    chosen = part_with_images(len(listing.images), request.split, "folder", folder)
    chosen = chosen[: request.count]
    return read_listing(listing, chosen, request.size or SIZE, f"{folder.name} (own images)")


def list_folder(folder: Path, advice: str) -> Listing:
    """Return the files and objects of a folder.

    Raises DtisError, which ends in `advice`, where there is no image, and for a missing file or a
    malformed `scenes.json`.
    """
    if (folder / "scenes.json").exists():
        return _list_scenes(folder)
    inner = folder / "images"
    images = find_images(inner if inner.is_dir() else folder, advice)
    find_mask = _masks_by_name(folder)
    return Listing(images, find_mask and [find_mask(image) for image in images], None)


def _masks_by_name(folder: Path) -> Callable[[Path], Path] | None:
    """Return what finds an image's mask by its name, None if the folder has no `masks/`."""
    if not (folder / "masks").is_dir():
        return None
    advice = f"put a mask of each image there, or remove {folder / 'masks'}"
    masks = {file.stem: file for file in find_images(folder / "masks", advice)}

    def find_mask(image: Path) -> Path:
        if image.stem not in masks:
            raise DtisError(f"{image}: has no mask of its name in {folder / 'masks'}; {advice}")
        return masks[image.stem]

    return find_mask


def _list_scenes(folder: Path) -> Listing:
    """Return what `scenes.json` lists. Raises DtisError that names the field that is wrong."""
    path = folder / "scenes.json"
    content = read_json(path)
    scenes = _field(content, "scenes", list, f"{path}: ")
    background = content.get("background", 0)
    if background != 0:
        raise DtisError(f"{path}: background is {background!r}; number it 0 in the masks")
    if not scenes:
        raise DtisError(f"{path}: scenes is empty; list the images, or remove the file")
    find_mask = _masks_by_name(folder)
    images, masks, categories = [], [], []
    for index, scene in enumerate(scenes):
        where = f"{path}: scenes[{index}]"
        images.append(_file(scene, "image", folder, where))
        if "mask" in scene:
            masks.append(_file(scene, "mask", folder, where))
        elif find_mask:
            masks.append(find_mask(images[-1]))
        objects = _field(scene, "objects", list, f"{where}.")
        if len(objects) > MOST_OBJECTS:
            raise DtisError(
                f"{where}.objects lists {len(objects)}; an image has {MOST_OBJECTS} at most"
            )
        categories.append(
            [_category(thing, f"{where}.objects[{m}]") for m, thing in enumerate(objects)]
        )
    if masks and len(masks) != len(images):
        raise DtisError(
            f"{path}: {len(images) - len(masks)} of {len(images)} scenes have no mask; name one "
            "for each scene or for none"
        )
    most = max(1, *map(len, categories))
    padded = np.array([row + [0] * (most - len(row)) for row in categories])  # (N, M)
    return Listing(images, masks or None, padded)


def _field(holder: object, name: str, kind: type, where: str) -> list | dict | str | int:
    """Return a field of a JSON object. Raises DtisError unless it is there and of this kind."""
    if not isinstance(holder, dict):
        raise DtisError(
            f"{where.rstrip(':. ')}: found {shown(holder)} where an object was expected"
        )
    if name not in holder:
        raise DtisError(f"{where}{name} is missing; add it: it is {KINDS[kind]}")
    value = holder[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DtisError(f"{where}{name} is {shown(value)}; make it {KINDS[kind]}")
    return value


def _file(scene: object, name: str, folder: Path, where: str) -> Path:
    """Return the file that a scene's field names, relative to the folder and inside it."""
    text = _field(scene, name, str, f"{where}.")
    path = folder / text
    if not os.path.isfile(path):  # unlike Path's own, for any text
        problem = "is no file there; add it or mend the name"
    elif not path.resolve().is_relative_to(folder.resolve()):
        problem = f"is not in {folder}; copy it there"
    else:
        return path
    raise DtisError(f"{where}.{name} names {shown(text)}, which {problem}")


def _category(thing: object, where: str) -> int:
    """Return an object's category, 1..65,535."""
    category = _field(thing, "category", int, f"{where}.")
    if not 1 <= category <= MOST_CATEGORIES:
        raise DtisError(
            f"{where}.category is {shown(category)}; number the categories from 1, "
            f"to {MOST_CATEGORIES} at most"
        )
    return category


def read_listing(
    listing: Listing, chosen: Integer[np.ndarray, " n"], size: Size, name: str
) -> SceneDataset:
    """Return the images at `chosen`, with what is known of them, cropped and resized.

    Raises DtisError for a damaged file, and for a mask that is a JPEG, has other proportions than
    its image or shows more objects than `scenes.json` lists.
    """
    files = [listing.images[i] for i in chosen]
    images = read_all(files, lambda f: read_image(f, size, crop=True), size, "cropped")
    categories = None if listing.categories is None else listing.categories[chosen]
    if listing.masks is None:
        return SceneDataset(name, images, None, categories)

    mask_files = [listing.masks[i] for i in chosen]
    image_of = dict(zip(mask_files, files, strict=True))

    def read(mask: Path) -> UInt8[np.ndarray, "H W"]:
        _check_mask(image_of[mask], mask)
        return read_mask(mask, size, crop=True)

    masks = read_all(mask_files, read, size, "cropped", stamps(files))
    if categories is None:
        masks, counts = _number(masks)
        categories = (np.arange(max(1, counts.max())) < counts[:, None]).astype(int)  # (n, M)
    else:
        _check_listed(masks, categories, mask_files)
    return SceneDataset(name, images, masks, categories)


def _check_mask(image: Path, mask: Path) -> None:
    """Raise a DtisError unless a mask is its image's size times a factor, but for rounding."""
    if mask.suffix.lower() in (".jpg", ".jpeg"):
        raise DtisError(f"{mask}: JPEG changes the integers of a mask; save it as PNG")
    (height, width), (mask_height, mask_width) = read_size(image), read_size(mask)
    error = abs(width * mask_height - height * mask_width)
    if error > max(height, width, mask_height, mask_width):
        raise DtisError(
            f"{mask}: is {mask_width}x{mask_height} pixels, in other proportions than {image.name} "
            f"of {width}x{height}; make the mask from the whole image"
        )


def _number(
    masks: UInt8[np.ndarray, "n H W"],
) -> tuple[UInt8[np.ndarray, "n H W"], Integer[np.ndarray, " n"]]:
    """Return masks whose objects are numbered 1, 2, ... in each image, and how many they are."""
    numbered = np.zeros_like(masks)
    counts = np.zeros(len(masks), int)
    for index, mask in enumerate(masks):
        present = np.bincount(mask.ravel(), minlength=256) > 0  # (256,)
        present[0] = False
        counts[index] = present.sum()
        numbered[index] = (np.cumsum(present) * present).astype(np.uint8)[mask]  # (H, W)
    return numbered, counts


def _check_listed(
    masks: UInt8[np.ndarray, "n H W"], categories: Integer[np.ndarray, "n M"], files: list[Path]
) -> None:
    """Raise a DtisError for the first mask that shows an object its scene does not list."""
    listed, shown = (categories > 0).sum(axis=1), masks.max(axis=(1, 2))  # (n,) each
    for index in np.flatnonzero(shown > listed)[:1]:
        raise DtisError(
            f"{files[index]}: holds the integer {shown[index]}, but scenes.json lists "
            f"{listed[index]} objects; 0 is background, m the m-th object of the list"
        )
