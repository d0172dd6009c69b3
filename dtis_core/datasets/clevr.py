"""CLEVR6: three to six shaded solids (Sec. 4.1), from the official file or rendered anew."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from dtis_core.datasets import (
    SCENE_COUNTS,
    Request,
    SceneDataset,
    check_split,
    fingerprint,
    register,
)
from dtis_core.datasets.cache import Arrays, cached
from dtis_core.datasets.folder import list_folder, read_listing
from dtis_core.datasets.images import Size, resize, stamps
from dtis_core.datasets.records import stacked
from dtis_core.datasets.tfrecord import Feature, read_examples
from dtis_core.errors import DtisError
from dtis_core.storage.files import as_object, read_json

SIZE = (128, 128)
SPLITS = ("train", "validation", "final", "all")
HELD_OUT = 320  # for each of validation and final
OBJECTS = 6  # at most, by which CLEVR becomes CLEVR6
MATERIALS = 2
RECORDS = 70_000  # of the official 100,000: those of which 34,963 are CLEVR6
ENTITIES, HEIGHT, WIDTH = 11, 240, 320  # of an official record, background first
CROP = slice(29, 221), slice(64, 256)  # rows and columns
OFFICIAL = "clevr_with_masks_train.tfrecords"

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]  # image, mask and categories


@register("clevr6-rendered")
def load_rendered(request: Request) -> SceneDataset:
    """Read scenes rendered as CLEVR's, a folder as `dtis_core.datasets.folder` describes.

    The folder is the root itself or its `clevr6_rendered/`. Splits: those that `scenes.json` counts
    in "splits", as `dtis render clevr` writes it, and "all". Without: "validation", the last 320
    scenes; "final", the 320 before them; "train", what precedes those; and a folder of 640 scenes
    or fewer is every split at once. Raises DtisError where files are missing or damaged, or a split
    is empty.
    """
    check_split(request.split, SPLITS, "clevr6-rendered")
    folder = request.root
    if not (folder / "scenes.json").is_file():
        folder /= "clevr6_rendered"
    advice = (
        "dtis render clevr makes them; or put images/, masks/ and scenes.json with each object's "
        "category there, below the clone's data/ or the folder that DTIS_DATA names; 'clevr6' "
        "reads the official file"
    )
    if not (folder / "scenes.json").is_file():
        raise DtisError(f"{folder}: holds no scenes.json; {advice}")
    listing = list_folder(folder, advice)
    index = np.arange(len(listing.images))
    part = _counted_part(folder / "scenes.json", len(index), request.split)
    chosen = index[part or _part(len(index), request.split)][: request.count]
    name = "CLEVR6 (rendered, not the official images)"
    return read_listing(listing, chosen, request.size or SIZE, name)


@register("clevr6")
def load_official(request: Request) -> SceneDataset:
    """Read the official TFRecord file under `request.root / "multi_object"`.

    Of its first 70,000 scenes those with at most 6 objects are kept, cropped to the central 192x192
    pixels and resized (to 128x128 by default). Splits: "validation", the last 320 of them; "final",
    the 320 before them; "train", what precedes those; "all", of which the paper scores the first
    320. A file of which 640 or fewer are kept is every split at once. Categories are 1..6, shape by
    shape with its two materials.

    Raises:
        DtisError: there is no such file, or it is damaged or holds something else.
    """
    split, count = request.split, request.count
    check_split(split, SPLITS, "clevr6")
    path, size = request.root / "multi_object" / OFFICIAL, request.size or SIZE
    if not path.is_file():
        raise DtisError(
            f"{path}: there is no such file; download {OFFICIAL} from the bucket of DeepMind's "
            "multi_object_datasets into that folder, or set DTIS_DATA to the folder that holds "
            "multi_object"
        )
    # The first images of the training split are known once 640 more have been read.
    limit = {"train": count and count + 2 * HELD_OUT, "all": count}.get(split)
    version = 1  # count up whenever the arrays made of a file change
    key = fingerprint("clevr6", version, stamps([path]), size, limit)
    arrays = cached(f"clevr6-{key}", lambda: _decode(path, size, limit))
    part = _part(len(arrays[0]), split)
    arrays = tuple(array[part][:count] for array in arrays)
    if split in ("validation", "final"):
        arrays = tuple(array.copy() for array in arrays)  # which frees the others
    return SceneDataset("CLEVR6 (official)", *arrays)


def _counted_part(path: Path, total: int, split: str) -> slice | None:
    """Return where a split lies in `total` scenes by a listing's "splits"; None if it has none.

    Raises DtisError where they do not add up, or the split is empty.
    """
    splits = read_json(path).get("splits")
    if splits is None or split == "all":
        return None if splits is None else slice(None)
    counts = as_object(splits, f"{path}: splits", dict.fromkeys(SCENE_COUNTS, int))
    numbers = [counts[name] for name in SCENE_COUNTS]  # in this order
    if min(numbers) < 0 or sum(numbers) != total:
        raise DtisError(f"{path}: splits count {numbers}, which are not its {total} scenes")
    start = sum(numbers[: list(SCENE_COUNTS).index(split)])
    if not counts[split]:
        raise DtisError(
            f"{path}: has no scene of the split '{split}'; render some, or ask for 'all'"
        )
    return slice(start, start + counts[split])


def _part(total: int, split: str) -> slice:
    """Return where a split lies in `total` scenes."""
    if total <= 2 * HELD_OUT:
        return slice(None)
    parts = {
        "train": slice(-2 * HELD_OUT),
        "final": slice(-2 * HELD_OUT, -HELD_OUT),
        "validation": slice(-HELD_OUT, None),
        "all": slice(None),
    }
    return parts[split]


def _decode(path: Path, size: Size, limit: int | None) -> Arrays:
    """Return images, masks and categories of the first `limit` scenes that are CLEVR6."""
    arrays = stacked(_scenes(path, size), limit, path.name)
    if not arrays:
        raise DtisError(f"{path}: found no scene of at most 6 objects; download the file again")
    return arrays


def _scenes(path: Path, size: Size) -> Iterator[Scene]:
    """Yield the scenes of an official file that are CLEVR6."""
    for index, example in enumerate(islice(read_examples(path), RECORDS)):
        try:
            visible = np.array(example["visibility"]).reshape(ENTITIES) > 0
            present = 1 + np.flatnonzero(visible[1:])
            if len(present) <= OBJECTS:
                yield _scene(example, present, size)
        except (LookupError, ValueError, TypeError) as error:
            raise DtisError(f"{path}: record {index} is not a CLEVR scene ({error!r})") from None


def _scene(
    example: dict[str, Feature], present: Integer[np.ndarray, " objects"], size: Size
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"], Integer[np.ndarray, " 6"]]:
    """Return image, mask and categories of an official record that has objects at `present`."""
    shape, material = (_bytes(example, name).astype(int)[present] for name in ("shape", "material"))
    if not (np.isin(shape, (1, 2, 3)).all() and np.isin(material, (1, MATERIALS)).all()):
        raise ValueError(f"objects of shape {shape.tolist()} and material {material.tolist()}")
    categories = np.zeros(OBJECTS, int)
    categories[: len(present)] = MATERIALS * (shape - 1) + material
    image = _bytes(example, "image").reshape(HEIGHT, WIDTH, 3)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for m, entity in enumerate(present, start=1):
        pixels = slice(entity * labels.size, (entity + 1) * labels.size)
        labels[_bytes(example, "mask", pixels).reshape(HEIGHT, WIDTH) > 0] = m
    return resize(image[CROP], size), resize(labels[CROP], size, nearest=True), categories


def _bytes(
    example: dict[str, Feature], name: str, part: slice = slice(None)
) -> UInt8[np.ndarray, " n"]:
    """Return (part of) a feature of single bytes as an array."""
    return np.frombuffer(b"".join(example[name][part]), np.uint8)
