"""Damaged settings, runs and commands, and what has to come of them."""

from functools import cache

from mutations import (
    as_text,
    damage_file,
    damaged_bytes,
    damaged_json,
    damaged_lines,
    damaged_tensors,
    damaged_yaml,
)
from values import WORDS, assignments, literal
from world import IMAGE, TINY, Failed, Place, command, readable, tiny

from dtis_core.config import from_dict, read_config
from dtis_core.display import figures
from dtis_core.display.tables import paper_vs_here
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import load


@cache
def fields(base) -> list[str]:
    """Return all settings, as `section.field`."""
    config = tiny(base / "photos").to_dict()
    sections = {name: values for name, values in config.items() if isinstance(values, dict)}
    return [f"{name}.{field}" for name, values in sections.items() for field in values]


def config_file(place: Place) -> str:
    """Read a damaged config.yaml."""
    path = place.folder / "config.yaml"
    path.write_bytes((place.base / "run" / "config.yaml").read_bytes())
    damage_file(place.rng, path, as_text(damaged_yaml))
    config = read_config(path)
    if from_dict(config.to_dict(), "again") != config:
        raise Failed("the configuration is another one once it is written and read again")
    return "config.yaml"


def settings(place: Place) -> str:
    """Put strange values into the settings."""
    given = assignments(place.rng, fields(place.base))
    tiny(place.base / "photos").override(given)
    return str(given)


def training(place: Place) -> str:
    """Train a step with strange settings."""
    given = [
        f"data.path={place.base / 'photos'}",
        *TINY,
        *assignments(place.rng, fields(place.base)),
    ]
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
    damage_file(place.rng, path / name, RUN_FILES[name])
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
        scene = load(run.path).decompose(IMAGE[None])
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
        "eval": ["--data", "--path", "--split", "--inference", "--set"],
        "export": ["--snapshots"],
        "data": [],
        "bench": ["--seconds", "--device"],
    }
    name = rng.choice(list(options))
    names = rng.sample(options[name], min(len(options[name]), rng.randrange(4)))
    arguments = [name, f"{word()}", *(["out"] if name == "export" else [])]
    if path and name in ("eval", "export"):
        arguments[1] = "run"
    arguments += [f"{option}={rng.choice([word(), literal(rng)])}" for option in names]
    with place.nothing_lost("run/manifest.json", "out/"):
        command(*arguments)
    return str(arguments)
