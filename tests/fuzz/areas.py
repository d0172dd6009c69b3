"""What is damaged, and what then has to give a result or a DtisError: one function for each area.

Each takes a `Place` and returns what the case was, for people; `AREAS` says how often it is drawn.
"""

import json
import os
from functools import cache

import numpy as np
import yaml
from mutations import (
    LITERALS,
    NASTY,
    WORDS,
    damaged_bytes,
    damaged_json,
    damaged_text,
    damaged_tree,
    value,
)  # fmt: skip
from tfrecord_writer import encode, write
from world import SIDE, TINY, Failed, Place, command, found, readable, tetrominoes, tiny

from dtis_core import datasets
from dtis_core.config import from_dict, read_config
from dtis_core.datasets.tetrominoes import read_factors
from dtis_core.display import figures
from dtis_core.display.tables import paper_vs_here
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.edited_scene import EditedScene
from dtis_core.scenes.run import load
from dtis_core.scenes.scene_json import from_json
from dtis_core.workbook.index import index_html
from dtis_core.workbook.manifest import read_manifest
from dtis_core.workbook.notebook import read_notebooks
from dtis_core.workbook.runner import parse_assignments


def literal(place: Place) -> str:
    """Return a value as it is given on a command line."""
    rng = place.rng
    match rng.randrange(4):
        case 0:
            return rng.choice(LITERALS)
        case 1:
            return rng.choice(WORDS)
    return json.dumps(value(rng))


def assignments(place: Place, known: list[str]) -> list[str]:
    """Return one or two `name=value`, mostly of known names."""
    chosen = place.rng.sample(known, place.rng.choice([1, 1, 2]))
    given = [f"{name}={literal(place)}" for name in chosen]
    return given if place.rng.random() < 0.9 else [*given, damaged_text(place.rng, given[0])]


def damage_file(place: Place, path, damage) -> str:
    """Damage the bytes of a file by `damage(rng, bytes)`, or put something else in its place."""
    kind = place.rng.randrange(40)
    if kind > 4 or not path.is_file():
        path.write_bytes(damage(place.rng, path.read_bytes()) if path.is_file() else b"")
        return "damaged"
    path.unlink()
    match kind:
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.symlink_to(place.folder / "precious")
    return ("a folder", "a pipe", "a device", "a link", "gone")[kind]


def as_text(damage):
    """Turn a damage of texts into one of bytes."""
    return lambda rng, data: damage(rng, data.decode()).encode(errors="surrogatepass")


def damaged_yaml(rng, text: str) -> str:
    """Damage YAML as a tree, or as a text."""
    if rng.random() < 0.7:
        return yaml.safe_dump(damaged_tree(rng, yaml.safe_load(text)), sort_keys=False)
    return damaged_text(rng, text)


def damaged_lines(rng, text: str) -> str:
    """Damage one of some lines of JSON."""
    lines = text.splitlines() or ["{}"]
    index = rng.randrange(len(lines))
    lines[index] = damaged_json(rng, lines[index])
    return "\n".join(lines) + "\n"


def damaged_tensors(rng, data: bytes) -> bytes:
    """Damage the header of a safetensors file as JSON, with or without its length, or its bytes."""
    if rng.random() < 0.4:
        return damaged_bytes(rng, data)
    length = int.from_bytes(data[:8], "little")
    header = damaged_json(rng, data[8 : 8 + length].decode()).encode(errors="surrogatepass")
    if rng.random() < 0.8:
        length = len(header)
    return length.to_bytes(8, "little") + header + data[8 + int.from_bytes(data[:8], "little") :]


# Settings


@cache
def fields(base) -> list[str]:
    """Return all settings, as `section.field`."""
    config = tiny(base / "photos").to_dict()
    return [f"{name}.{field}" for name in ("data", "model", "training") for field in config[name]]


def config_file(place: Place) -> str:
    """Read a damaged config.yaml."""
    path = place.folder / "config.yaml"
    path.write_bytes((place.base / "run" / "config.yaml").read_bytes())
    damage_file(place, path, as_text(damaged_yaml))
    config = read_config(path)
    if from_dict(config.to_dict(), "again") != config:
        raise Failed("the configuration is another one once it is written and read again")
    return "config.yaml"


def settings(place: Place) -> str:
    """Put strange values into the settings."""
    given = assignments(place, fields(place.base))
    tiny(place.base / "photos").override(given)
    return str(given)


def training(place: Place) -> str:
    """Train a step with strange settings."""
    given = [f"data.path={place.base / 'photos'}", *TINY, *assignments(place, fields(place.base))]
    words = [word for setting in given for word in ("--set", setting)]
    with place.nothing_lost("out/"):
        command("train", "tetrominoes", "--out", "out", "--max-steps", "1", *words)
    readable(place.folder / "out" / "manifest.json")
    return str(given)


# Runs

RUN_FILES = {
    "config.yaml": as_text(damaged_yaml),
    "manifest.json": as_text(damaged_json),
    "metrics.jsonl": as_text(damaged_lines),
    "model.safetensors": damaged_tensors,
    "trainer.safetensors": damaged_tensors,
    "sprites/000002.png": damaged_bytes,
}


def damaged_run(place: Place, *names: str) -> RunFolder:
    """Return a copy of the run of which one of these files is damaged."""
    path = place.copy("run")
    name = place.rng.choice(names)
    damage_file(place, path / name, RUN_FILES[name])
    return RunFolder(path)


def run_records(place: Place) -> str:
    """Draw and tell what a damaged run recorded."""
    run = damaged_run(place, "config.yaml", "manifest.json", "metrics.jsonl", "sprites/000002.png")
    with place.nothing_lost():
        paper_vs_here([{"score": "ARI"}], [run.manifest()])
        run.metrics()
        run.snapshots()
        if place.rng.random() < 0.1:
            figures.show_losses({"run": run})
            figures.evolution_strip(run)
    return "records"


def run_use(place: Place) -> str:
    """Find a scene with a damaged run."""
    run = damaged_run(place, "config.yaml", "model.safetensors", "model.safetensors")
    with place.nothing_lost():
        scene = load(run.path).decompose(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    if not scene.reconstruction.isfinite().all():
        raise Failed("a scene of numbers that are not finite")
    return "use"


def run_commands(place: Place) -> str:
    """Score, export or go on with a damaged run."""
    names = [name for name in RUN_FILES for _ in range(2)]
    run = damaged_run(place, *names)
    match place.rng.randrange(3):
        case 0:
            with place.nothing_lost("run/manifest.json"):
                command("eval", "run")
            readable(run.path / "manifest.json")
            return "eval"
        case 1:
            with place.nothing_lost("out/"):
                command("export", "run", "out")
            RunFolder(place.folder / "out").model()
            return "export"
    given = [f"data.path={place.base / 'photos'}", *TINY]
    words = [word for setting in given for word in ("--set", setting)]
    with place.nothing_lost("run/"):
        command("train", "tetrominoes", "--out", "run", "--resume", *words)
    run.model()
    return "resume"


def commands(place: Place) -> str:
    """Give strange words to commands."""
    rng = place.rng
    path = place.copy("run") if rng.random() < 0.3 else None

    def word() -> str:
        return rng.choice([*WORDS, "run", "photos", "precious"])

    options = {
        "train": ["--out", "--seed", "--max-steps", "--checkpoint-seconds", "--device", "--set"],
        "eval": ["--data", "--path", "--split", "--set"],
        "export": ["--snapshots"],
        "data": [],
        "bench": ["--seconds", "--device"],
    }
    name = rng.choice(list(options))
    names = rng.sample(options[name], min(len(options[name]), rng.randrange(4)))
    arguments = [name, f"{word()}", *(["out"] if name == "export" else [])]
    if path and name in ("eval", "export"):
        arguments[1] = "run"
    arguments += [f"{option}={rng.choice([word(), literal(place)])}" for option in names]
    with place.nothing_lost("run/manifest.json", "out/"):
        command(*arguments)
    return str(arguments)


# Data


def images(place: Place) -> str:
    """Read a folder with a damaged image, mask or list of scenes."""
    rng, photos = place.rng, place.copy("photos")
    names = [f"{n}.{kind}" for n, kind in enumerate(["png", "jpg", "bmp", "webp", "tif"])]
    match rng.randrange(3):
        case 0:
            damage_file(place, photos / "scenes.json", as_text(damaged_json))
        case 1:
            damage_file(place, photos / "images" / rng.choice(names), damaged_bytes)
        case 2:
            damage_file(place, photos / "masks" / f"{rng.randrange(5)}.png", damaged_bytes)
    if rng.random() < 0.3:
        (photos / "scenes.json").unlink(missing_ok=True) if rng.random() < 0.9 else None
    with place.nothing_lost():
        loaded = datasets.load("folder", rng.choice(["all", "test"]), root=photos, size=(8, 8))
    if loaded.masks is not None:
        loaded.semantic_masks()
    return "images"


def asked(place: Place) -> str:
    """Ask for strange counts, seeds, sizes, splits and folders."""
    rng = place.rng
    numbers = [number for number in NASTY if type(number) is int and not 99 < number < 10**9]
    given = {
        "count": rng.choice([None, *numbers]),
        "seed": rng.choice(numbers),
        "split": rng.choice(["all", "train", "test", *WORDS]),
        "root": rng.choice([place.base / "photos", *WORDS]),
        "size": (rng.choice([8, 30, *numbers]), 8),
    }
    chosen = {name: given[name] for name in rng.sample(list(given), rng.choice([1, 1, 2]))}
    names = ["folder", "folder", "folder", "clevr6-rendered", "weizmann", "gtsrb8", "svhn"]
    name = rng.choice(names)
    with place.nothing_lost():
        datasets.load(name, **{"root": place.base / "photos", "size": (8, 8)} | chosen)
    return f"{name} {chosen}"


def scene_of(name: str) -> tuple[str, dict]:
    """Return the file and a record of one of the official data sets."""
    if name == "tetrominoes-official":
        return "tetrominoes_train.tfrecords", tetrominoes()
    number = {"shape": [0.0, 1.0, 2.0, 3.0, 0.0, 0.0], "visibility": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]}
    mask = bytes([255] * 4096 + [0] * 5 * 4096)
    record = {"image": [bytes(12288)], "mask": [mask]} | number
    return "multi_dsprites_colored_on_grayscale.tfrecords", record


def records(place: Place) -> str:
    """Read a damaged official file: its features, its messages or its frames."""
    rng = place.rng
    name = rng.choice(["tetrominoes-official", "multi-dsprites-official"])
    file, record = scene_of(name)
    (place.folder / "multi_object").mkdir()
    path = place.folder / "multi_object" / file
    match rng.randrange(3):
        case 0:
            feature = rng.choice(list(record))
            strange = [[], [1e30], [float("nan")] * 6, [1 << 62] * 4, [b""], [b"x"] * 7, [-1] * 4]
            changed = [*record[feature]]
            changed[rng.randrange(len(changed))] = rng.choice([0.0, 1.0, 1e30, 20.0, b"x"])
            kinds = {type(part) for part in changed}
            record[feature] = changed if len(kinds) == 1 else rng.choice(strange[1:])
            write(path, encode(record))
        case 1:
            write(path, damaged_bytes(rng, encode(record)))
        case 2:
            write(path, encode(record), compressed=rng.random() < 0.5)
            damage_file(place, path, damaged_bytes)
    with place.nothing_lost():
        if name == "tetrominoes-official" and rng.random() < 0.5:
            read_factors(path)
        datasets.load(name, root=place.folder)
    return name


def matrices(place: Place) -> str:
    """Read damaged matrices."""
    path = place.copy("SVHN/train_32x32.mat")
    damage_file(place, path, damaged_bytes)
    with place.nothing_lost():
        datasets.load("svhn", "train", root=place.folder)
    return "svhn"


def cached(place: Place) -> str:
    """Read the same images again once their cache is damaged."""
    photos = place.copy("photos")
    first = datasets.load("folder", "all", root=photos, size=(8, 8))
    files = sorted((place.folder / "cache").glob("*.npys"))
    file = place.rng.choice(files)
    file.write_bytes(damaged_bytes(place.rng, file.read_bytes()))
    again = datasets.load("folder", "all", root=photos, size=(8, 8))
    if again.fingerprint != first.fingerprint:
        raise Failed("a damaged cache gave other images")
    return "cache"


# Scenes and notebooks


@cache
def unedited(base) -> EditedScene:
    """Return what the run found in an image."""
    return EditedScene.of(found(base), "0123")


def scene_json(place: Place) -> str:
    """Open a damaged edited scene, and draw it."""
    text = damaged_json(place.rng, (place.base / "scene.json").read_text())
    from_json(text, [unedited(place.base)]).render()
    return "scene"


def notebooks(place: Place) -> str:
    """Read a damaged notebook with strange parameters."""
    path = place.copy("01_first.ipynb")
    damage_file(place, path, as_text(damaged_json))
    given = assignments(place, ["steps", "profile", "no_such"]) if place.rng.random() < 0.3 else []
    with place.nothing_lost():
        read_notebooks([path], parse_assignments(given))
    return f"notebook {given}"


def figures_manifest(place: Place) -> str:
    """Read the damaged records of a folder of figures, and make a page of them."""
    path = place.copy("manifest.json")
    damage_file(place, path, as_text(damaged_json))
    with place.nothing_lost():
        page = index_html(read_manifest(path))
    if "<b>&amp;</b>" in page:
        raise Failed("a text became markup")
    return "manifest"


AREAS = {
    config_file: 12,
    settings: 18,
    training: 1,
    run_records: 10,
    run_use: 5,
    run_commands: 3,
    commands: 6,
    images: 10,
    asked: 6,
    records: 10,
    matrices: 0.4,
    cached: 3,
    scene_json: 10,
    notebooks: 7,
    figures_manifest: 5,
}
"""How often each area is drawn, in comparison with the others."""
