"""A folder of rendered scenes: made by several processes, gone on with after a kill.

Each image carries in its PNG text how it was made and what it shows, and is the last file of its
scene to be written: what has an image is done. `scenes.json` comes at the end.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from tqdm import tqdm

from dtis_core.errors import DtisError
from dtis_core.rendering.order import SPLITS, Order
from dtis_core.rendering.sampling import CATEGORIES, Scene, Solid, sample
from dtis_core.storage.files import leftovers, read_json, remove, replacing, write_json
from dtis_core.storage.locks import locked

FEWEST_PIXELS = 32 / 128**2  # the share of an image that each object shows, at least
TRIES = 1000  # for a scene that shows all its objects
TEXT = "dtis"  # the name of an image's text
LOG_SECONDS = 30.0  # between two ticks, where each is a line of a log


def render_folder(
    order: Order, out: Path, jobs: int | None = None, renderer: str = "dtis_core.rendering.blender"
) -> None:
    """Render what `out` still lacks of an order, by `jobs` processes, one for each core by default.

    `renderer` is the module that draws: `draw_image`, `draw_mask` and its `VERSION`.

    Raises:
        DtisError: without Blender; where the folder holds other scenes or is in use; where a
            process dies; where no scene shows all its objects.
    """
    if jobs is not None and jobs < 1:
        raise DtisError(f"--jobs: must be at least 1, found {jobs}")
    if renderer == "dtis_core.rendering.blender" and not importlib.util.find_spec("bpy"):
        raise DtisError(
            "dtis render needs Blender as a Python module, which there is for Python 3.11: "
            "pip install 'dtis[render]'"
        )
    with locked(out / ".lock", str(out)):
        _check_listed(out, order)
        for part in ("images", "masks"):
            for file in leftovers(out / part, r"\w+-\d+\.png"):
                remove(file)
        done = {name: _done(out, order, name) for name in order.names}
        missing = [name for name, record in done.items() if record is None]
        done |= _render(order, out, missing, jobs or os.cpu_count() or 1, renderer)
        _list(out, order, [done[name] for name in order.names])


def _check_listed(out: Path, order: Order) -> None:
    """Raise DtisError where the folder lists scenes that were made otherwise."""
    path = out / "scenes.json"
    if path.is_file() and read_json(path).get("made") != order.made:
        raise DtisError(f"{path}: lists scenes that were made otherwise; choose another folder")


def _files(out: Path, name: tuple[str, int]) -> tuple[Path, Path]:
    """Return the image and the mask of a scene."""
    file = f"{name[0]}-{name[1]:05d}.png"
    return out / "images" / file, out / "masks" / file


def _done(out: Path, order: Order, name: tuple[str, int]) -> dict | None:
    """Return the record of a scene that is rendered; None if it is not, or damaged."""
    image, mask = _files(out, name)
    if not (image.is_file() and mask.is_file()):
        return None
    try:
        with Image.open(image) as picture:
            picture.load()
            record = json.loads(picture.info[TEXT])
            made = record["made"]
    except (OSError, SyntaxError, LookupError, TypeError, ValueError):
        return None
    if made != order.made:
        raise DtisError(f"{image}: was made otherwise, {made}; choose another folder")
    return record


def _render(
    order: Order, out: Path, names: list[tuple[str, int]], jobs: int, renderer: str
) -> dict[tuple[str, int], dict]:
    """Render scenes, a process for each job, and return their records."""
    bar = tqdm(
        total=len(order.names),
        initial=len(order.names) - len(names),
        unit="scene",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else LOG_SECONDS,
    )
    pool = ProcessPoolExecutor(
        max(1, min(jobs, len(names))), multiprocessing.get_context("spawn"), _begin
    )
    records = {}
    with bar:
        try:
            waiting: dict[Future, tuple[str, int]] = {
                pool.submit(render_scene, order, out, name, renderer): name for name in names
            }
            for future in as_completed(waiting):
                records[waiting[future]] = future.result()
                bar.update()
        except BrokenProcessPool as error:
            raise DtisError(
                f"{out}: a process that rendered was ended, perhaps for want of memory; the same "
                "command goes on, with fewer --jobs if need be"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return records


def _begin() -> None:
    """Prepare a process: silent, deaf to Ctrl-C, which the first one answers, and gone with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender tells of every step

    def follow(parent: multiprocessing.process.BaseProcess) -> None:
        parent.join()
        os._exit(1)

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=follow, args=(parent,), daemon=True).start()


def render_scene(order: Order, out: Path, name: tuple[str, int], renderer: str) -> dict:
    """Draw and write the scene of this split and number, and return its record.

    It depends on nothing but the order's settings. Raises DtisError where none is found.
    """
    draw = importlib.import_module(renderer)
    split, number = name
    sequence = np.random.SeedSequence(order.seed, spawn_key=(SPLITS.index(split), number))
    scene, mask = visible_scene(np.random.default_rng(sequence), order, draw.draw_mask)
    files = _files(out, name)
    record = {
        "image": f"images/{files[0].name}",
        "mask": f"masks/{files[1].name}",
        "objects": [_described(solid) for solid in scene.solids],
    }
    made = {"made": order.made, "renderer": draw.VERSION}
    text = PngImagePlugin.PngInfo()
    text.add_text(TEXT, json.dumps(made | record))
    with replacing(files[1]) as path:
        Image.fromarray(mask).save(path, optimize=True)
    image = draw.draw_image(scene, order.size)
    with replacing(files[0]) as path:
        Image.fromarray(image).save(path, optimize=True, pnginfo=text)
    return made | record


def visible_scene(
    rng: np.random.Generator, order: Order, draw_mask: Callable[[Scene, int], np.ndarray]
) -> tuple[Scene, np.ndarray]:
    """Return the first scene drawn that shows enough of all its objects, and its mask."""
    count = int(rng.integers(*order.objects, endpoint=True))
    for _ in range(TRIES):
        scene = sample(rng, count)
        mask = draw_mask(scene, order.size)
        shown = np.bincount(mask.ravel(), minlength=count + 1)[1:]
        if shown.min() >= FEWEST_PIXELS * mask.size:
            return scene, mask
    raise DtisError(
        f"--objects: no scene of {count} shows all of them in {TRIES} tries; ask for fewer"
    )


def _described(solid: Solid) -> dict:
    """Return an object as CLEVR's files describe it."""
    names = {"shape": solid.shape, "size": solid.size, "material": solid.material}
    place = {"x": round(solid.x, 4), "y": round(solid.y, 4), "angle": round(solid.angle, 4)}
    category = {"category": CATEGORIES[solid.shape, solid.material]}
    return names | {"color": solid.colour} | place | category


def _list(out: Path, order: Order, records: list[dict]) -> None:
    """Write `scenes.json`, which makes the folder a data set."""
    scenes = [{key: record[key] for key in ("image", "mask", "objects")} for record in records]
    content = {
        "made": order.made,
        "renderers": sorted({record["renderer"] for record in records}),
        "size": [order.size, order.size],
        "background": 0,
        "categories": {str(index): "-".join(pair) for pair, index in CATEGORIES.items()},
        "splits": {split: order.counts.get(split, 0) for split in SPLITS},
        "scenes": scenes,
    }
    with suppress(DtisError):
        if read_json(out / "scenes.json") == content:
            return
    write_json(out / "scenes.json", content)
