"""What the fuzzer damages, made once, and the folder in which a case may do as it likes."""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import nbformat
import numpy as np
import yaml
from image_writer import save
from scipy.io import savemat
from tfrecord_writer import encode, write

from dtis_core.config import Config, load_preset
from dtis_core.errors import DtisError

SIDE = 16
TINY = [
    "data.name=folder", "data.train_split=all", "data.score_split=all", "data.count=null",
    f"model.image_size=[{SIDE}, {SIDE}]", "model.sprite_size=[8, 8]", "model.sprites=3",
    "model.layers=2", "model.layer_transformations=[tint, placement]", "search.looks=image",
    "search.head=pooled", "model.pool=1", "training.batch_size=2", "training.length=3",
    "training.warm_up=0", "training.frozen=0", "training.cosine_from=null",
    "training.appearance_late=0", "training.reassign_every=3",
]  # fmt: skip
"""The fast preset for Tetrominoes, so small that a step takes some milliseconds."""
IMAGE = np.zeros((SIDE, SIDE, 3), np.uint8)
LONGEST = 1500  # characters of a message that can still be called one line


class Failed(Exception):
    """The property did not hold; says how."""


@cache
def tiny(data: Path) -> Config:
    """Return the configuration of the fuzzer's run, on images in the folder `data`."""
    return load_preset("tetrominoes/fast").override([*TINY, f"data.path={json.dumps(str(data))}"])


def make(base: Path) -> None:
    """Write what is damaged later: images, a run of two steps, official files, a notebook."""
    from dtis_core.scenes.scene_json import save_scene
    from dtis_core.training.session import train

    rng = np.random.default_rng(0)
    photos, scenes = base / "photos", []
    for index, kind in enumerate(["png", "jpg", "bmp", "webp", "tif"]):
        save(photos / "images" / f"{index}.{kind}", rng.integers(0, 256, (20, 18, 3), np.uint8))
        save(photos / "masks" / f"{index}.png", rng.integers(0, 3, (20, 18), np.uint8))
        objects = [{"category": 1 + index % 2}, {"category": 3}]
        names = {"image": f"images/{index}.{kind}", "mask": f"masks/{index}.png"}
        scenes.append(names | {"objects": objects})
    (photos / "scenes.json").write_text(json.dumps({"background": 0, "scenes": scenes}))
    train(tiny(photos), base / "run", quiet=True, max_steps=2, checkpoint_seconds=0.0)
    edited = found(base).edit(1, sprite=2, colour=(1.0, 0.5, 0.2), shift=(0.1, 0.0)).duplicate(2)
    save_scene(base / "scene.json", edited, IMAGE)
    (base / "multi_object").mkdir()
    write(base / "multi_object" / "tetrominoes_train.tfrecords", encode(tetrominoes()))
    (base / "SVHN").mkdir()
    digits = {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((2, 1), np.uint8)}
    savemat(base / "SVHN" / "train_32x32.mat", digits, do_compression=True)
    nbformat.write(notebook(), base / "01_first.ipynb")
    record = {"status": "ok", "title": "T", "paper": "P", "seconds": 1.0, "profile": "quick",
              "inputs": "0", "outputs": {"a.png": "0", "notebooks/01_first.html": "0"},
              "tables": [{"title": "t", "rows": [["a"], ["1"]]}]}  # fmt: skip
    (base / "manifest.json").write_text(json.dumps({"notebooks": {"01_first": record}}))


def found(base: Path):
    """Return the scene that the run in base/run finds in one image."""
    from dtis_core.scenes.run import load

    return load(base / "run").decompose(IMAGE[None])


def tetrominoes() -> dict:
    """Return a record of Tetrominoes, whose pieces nobody sees."""
    mask = bytes([255] * 1225 + [0] * 3 * 1225)
    places = {"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0, 3.0]}
    shapes = {"shape": [0.0, 19.0, 1.0, 3.0], "color": [0.0] * 3 + [1.0] * 9}
    return {"image": [bytes(3675)], "mask": [mask]} | shapes | places


def notebook() -> nbformat.NotebookNode:
    """Return a notebook with a title, a place in the paper and parameters."""
    v4 = nbformat.v4
    tags = {"tags": ["parameters"]}
    book = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Title\n\n**Paper:** Fig. 1."),
            v4.new_code_cell('profile = "quick"\nsteps: int = 3', metadata=tags),
            v4.new_code_cell("print(steps)"),
        ]
    )
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
    return book


class Place:
    """A case's own folder, with a file that no case may touch, and what it copies there."""

    def __init__(self, folder: Path, base: Path, rng: Random):
        self.folder, self.base, self.rng = folder, base, rng
        (folder / "precious").write_text("kept")

    def copy(self, name: str) -> Path:
        """Copy a file or folder of the base."""
        source, target = self.base / name, self.folder / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        return target

    def files(self) -> dict[str, bytes]:
        """Return the contents of all regular files, but for the cache, by their place."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not path.is_symlink() and "cache" not in path.parts
        }

    @contextlib.contextmanager
    def nothing_lost(self, *may_change: str):
        """Check that files are as they were and none is new, but for those that begin like these.

        Where the block raises DtisError, that goes for all files.
        """
        before = self.files()
        try:
            yield
        except DtisError:
            self._compare(before, ())
            raise
        self._compare(before, may_change)

    def _compare(self, before: dict[str, bytes], may_change: tuple[str, ...]) -> None:
        after = self.files()
        for name in sorted(before.keys() | after.keys()):
            if name == "precious" or not name.startswith(may_change):
                if before.get(name) != after.get(name):
                    what = "changed" if name in before and name in after else "lost"
                    raise Failed(f"{name}: was {what if name in before else 'left behind'}")


class Screen:
    """What a case writes to standard error, whoever writes it; standard output goes nowhere."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()
        self.nowhere = os.open(os.devnull, os.O_WRONLY)

    @contextlib.contextmanager
    def watched(self):
        """Take the two outputs away from the terminal."""
        sys.stdout.flush()
        former = [os.dup(number) for number in (1, 2)]
        os.dup2(self.nowhere, 1)
        os.dup2(self.file.fileno(), 2)
        try:
            yield
        finally:
            for number, copy in enumerate(former, 1):
                (sys.stdout, sys.stderr)[number - 1].flush()
                os.dup2(copy, number)
                os.close(copy)

    def take(self) -> list[str]:
        """Return the lines written since the last call, but for progress bars."""
        sys.stderr.flush()
        self.file.seek(0)
        text = self.file.read().decode(errors="replace")
        self.file.seek(0)
        self.file.truncate()
        lines = text.replace("\r", "\n").splitlines()
        return [line for line in lines if line.strip() and not re.search(r"\d+%\|", line)]


SCREEN = Screen()


def command(*arguments: str) -> None:
    """Run `dtis` in this process. Raises DtisError where it refuses, as it must, in one line."""
    from dtis_core.cli import main

    try:
        status = main(list(arguments))
    except SystemExit as ended:  # of argparse, which shows the usage, too
        status = ended.code
        usage = SCREEN.take()
        if status != 2 or not usage[-1].startswith("dtis"):
            raise Failed(f"exit status {status} with {usage}") from None
        raise DtisError(usage[-1][:LONGEST]) from None
    lines = SCREEN.take()
    if status == 2:
        if len(lines) != 1 or not lines[0].startswith("dtis: "):
            raise Failed(f"exit status 2 with {len(lines)} lines: {lines}")
        raise DtisError(lines[0])
    if status:
        raise Failed(f"exit status {status} with {lines}")


def readable(path: Path) -> None:
    """Check that a manifest or configuration can still be read, whatever else changed."""
    text = path.read_text()
    try:
        yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise Failed(f"{path.name}: was replaced by something unreadable ({error})") from error
