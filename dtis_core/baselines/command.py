"""`dtis baseline METHOD PRESET`: its arguments, and what it prints."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtis_core.errors import DtisError
from dtis_core.paths import RUNS

if TYPE_CHECKING:
    from dtis_core.baselines.records import BaselineFolder

MEASURES = ("ARI", "ARI-FG", "accuracy", "NMI")


def add_methods(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of each method."""
    methods = parser.add_subparsers(dest="method", required=True, metavar="METHOD")
    slots = methods.add_parser("slot-attention", help="objects as slots that compete for pixels")
    slots.set_defaults(run=_slot_attention)
    _add_common(slots)
    length = slots.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="of one core; the record says how many steps")
    length.add_argument("--steps", type=int, help="to repeat a record exactly")
    length.add_argument("--resume", action="store_true", help="continue the run in --out")
    slots.add_argument("--batch-size", type=int, help="images a step (16)")
    slots.add_argument("--rate", type=float, help="Adam's, at its highest (4e-4)")
    slots.add_argument(
        "--bfloat16", action=argparse.BooleanOptionalAction,
        help="convolutions in bfloat16, or not (whatever a trial shows to be quicker here)",
    )  # fmt: skip
    k_means = methods.add_parser("k-means", help="clusters of pixels")
    k_means.set_defaults(run=_k_means)
    _add_common(k_means)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", help="on whose images, such as tetrominoes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder (default: runs/METHOD-PRESET-SEED)")


def run(arguments: argparse.Namespace) -> str:
    """Run a method into its folder, print its scores and return the run's status."""
    if not 0 <= arguments.seed < 2**32:
        raise DtisError(f"--seed: must be in 0..{2**32 - 1}, found {arguments.seed}")
    name = f"{arguments.method}-{arguments.preset.replace('/', '-')}-{arguments.seed}"
    folder = arguments.run(arguments, Path(arguments.out or RUNS / name))
    manifest = folder.manifest()
    print(f"{manifest['status']} at step {manifest['step']}: {folder.path}")
    for key, scores in manifest.get("scores", {}).items():
        shown = [f"{k} {100 * scores[k]:.1f}" for k in MEASURES if k in scores]
        print(f"{key}, {scores['images']} images: {', '.join(shown)}")
    return manifest["status"]


def _slot_attention(arguments: argparse.Namespace, out: Path) -> "BaselineFolder":
    from dtis_core.baselines.records import BaselineFolder
    from dtis_core.baselines.settings import slot_settings
    from dtis_core.baselines.slot_session import quicker, resume_slots, steps_in, train_slots

    given = {name: getattr(arguments, name) for name in ("batch_size", "rate", "bfloat16")}
    changed = {name: value for name, value in given.items() if value is not None}
    if arguments.resume:
        _check_same_run(BaselineFolder(out), arguments, changed)
        return resume_slots(out)
    if arguments.minutes is not None and not 0 < arguments.minutes < 1e6:
        raise DtisError(f"--minutes: must be above 0, and less than 1e6, found {arguments.minutes}")
    settings = slot_settings(
        arguments.preset, 1 if arguments.steps is None else arguments.steps, **changed
    )
    if arguments.bfloat16 is None:
        settings = quicker(settings)
    if arguments.minutes is not None:
        settings = replace(settings, length=steps_in(arguments.minutes, settings))
    numbers = "bfloat16" if settings.bfloat16 else "float32"
    print(f"training {settings.preset} in {numbers}, {settings.length} steps: {out}", flush=True)
    return train_slots(settings, out, arguments.seed)


def _check_same_run(
    folder: "BaselineFolder", arguments: argparse.Namespace, changed: dict[str, float]
) -> None:
    """Raise DtisError where a folder's run is not the one that the arguments name."""
    from dtis_core.baselines.settings import SlotSettings, images_of
    from dtis_core.runs.record_files import check_same

    settings = folder.settings(SlotSettings)
    before = {"PRESET": settings.images.preset, "--seed": folder.manifest()["seed"]}
    now = {"PRESET": images_of(arguments.preset).preset, "--seed": arguments.seed}
    for name, value in changed.items():
        option = f"--{name.replace('_', '-')}"
        before[option], now[option] = getattr(settings, name), value
    check_same(folder.path, before, now)


def _k_means(arguments: argparse.Namespace, out: Path) -> "BaselineFolder":
    from dtis_core.baselines.k_means import run_k_means
    from dtis_core.baselines.settings import k_means_settings

    return run_k_means(k_means_settings(arguments.preset), out, arguments.seed)
