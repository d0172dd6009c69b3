"""A run is a folder: config, weights, trainer state, metrics, sprite snapshots and a manifest.

config.yaml           everything the run depends on, but its seed
model.safetensors     weights for use
trainer.safetensors   weights, Adam's moments, step and usage counts: what resuming needs
metrics.jsonl         one line every few steps
sprites/STEP.png      small snapshots of the sprites, side by side, with transparency
manifest.json         seed, commit, versions, device, wall time, data fingerprint, scores

Two locks, both gone when nobody writes: one that a training holds from its first step to its last,
and a short one around each change of the manifest, which scoring changes, too.
"""

import json
import math
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from dtis_core.config import Config, read_config
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.paths import PACKAGE, user_path
from dtis_core.runs.record_files import Settings, read_manifest, read_metrics
from dtis_core.runs.sprite_sheet import read_sprite_sheet, sprite_sheet
from dtis_core.search.seeking import build_model
from dtis_core.storage.files import (
    check_regular,
    leftovers,
    make_folder,
    remove,
    replacing,
    write_json,
    write_text,
)
from dtis_core.storage.locks import locked
from dtis_core.storage.weights import first_not_finite, load_weights, read_tensors, write_tensors

FILES = ("config.yaml", "model.safetensors", "trainer.safetensors", "metrics.jsonl",
         "manifest.json")  # fmt: skip
PICTURE = r"\d{6,}\.png"  # of a snapshot
PATIENCE = 20.0  # seconds that a change of the manifest waits for another one


def commit() -> str:
    """Return the commit of this clone, with '+' where files were changed; 'unknown' outside git."""

    def git(*arguments: str) -> str:
        # Without the lock that `git status` takes to note what it found: others work here, too.
        command = ["git", "--no-optional-locks", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(PACKAGE))
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device_name(device: torch.device) -> str:
    """Return a human name of the device, with its number of threads or its model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def in_half_precision(values: Tensor) -> Tensor:
    """Return real numbers in half precision, unless one is too large for it."""
    half = values.half() if values.is_floating_point() else values
    return half if half.isfinite().all() else values


@dataclass(frozen=True)
class Checkpoint:
    """What resuming needs: the trainer's tensors, its step and the wall seconds so far."""

    state: dict[str, Tensor]
    step: int
    wall_seconds: float


class RunFolder:
    """Reads and writes one run folder."""

    INSTEAD = "continue it with --resume, replace it with --overwrite, or choose another --out"

    def __init__(self, path: Path | str):
        """Name a folder, which need not be there. Raises DtisError for what is no path."""
        self.path = user_path(path, "run folder")

    @property
    def checkpoint_file(self) -> Path:
        """Where the last checkpoint is."""
        return self.path / "trainer.safetensors"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.yaml").is_file()

    @contextmanager
    def writing(self) -> Iterator["RunFolder"]:
        """Hold the folder for a training, and clear away what a killed one left half-written.

        A folder that the training makes but writes nothing in goes again. Raises DtisError that
        names the process which trains here already.
        """
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            make_folder(self.path)
            with locked(self.path / ".lock", str(self.path)):
                with self._changing_manifest():
                    for file in leftovers(self.path, "|".join(map(re.escape, FILES))):
                        remove(file)
                    for file in leftovers(self.path / "sprites", PICTURE):
                        remove(file)
                yield self
        finally:
            for path in made:
                with suppress(OSError):
                    path.rmdir()  # which spares what holds a file

    def _changing_manifest(self) -> AbstractContextManager[None]:
        """Return a context in which nobody else changes the manifest."""
        file = self.path / "manifest.json"
        return locked(file.with_name(".manifest.lock"), str(file), PATIENCE)

    def begin(self, config: Settings, seed: int, fingerprint: str, data_name: str) -> None:
        """Start a run's records. Raises DtisError as `check_new`."""
        self.check_new()
        write_text(self.path / "metrics.jsonl", "")
        self.write_manifest(
            {
                "preset": config.preset,
                "data": data_name,
                "data_fingerprint": fingerprint,
                "seed": seed,
                "commit": commit(),
                "versions": {"python": platform.python_version()}
                | {name: version(name) for name in ("torch", "torchvision", "numpy")},
                "status": "running",
                "step": 0,
                "wall_seconds": 0.0,
            }
        )
        # The last, for it is what makes this a run: one killed before is begun anew.
        write_text(self.path / "config.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False))

    def check_new(self) -> None:
        """Raise DtisError where the folder already holds a run."""
        if self.exists:
            raise DtisError(f"{self.path}: already holds a run; {self.INSTEAD}")

    def clear(self) -> None:
        """Delete a former run's files, and nothing else. Raises DtisError where it cannot."""
        found = self.path.glob("found-*.safetensors")  # by the former weights
        for file in [self.path / name for name in FILES] + [*self._snapshot_files(), *found]:
            remove(file)

    def start_again(self) -> None:
        """Drop what a run logged before it was killed without a checkpoint.

        Raises DtisError where it had one, which an exported run leaves behind.
        """
        if self.manifest().get("step"):
            raise DtisError(
                f"{self.path}: has no trainer.safetensors to go on from, as after an export; "
                "train anew in another --out"
            )
        write_text(self.path / "metrics.jsonl", "")
        for file in self._snapshot_files():
            remove(file)

    def _snapshot_files(self) -> list[Path]:
        """Return the pictures of snapshots, in order: a kill may leave .temporaries beside them."""
        files = (self.path / "sprites").glob("*.png")
        return sorted(file for file in files if re.fullmatch(PICTURE, file.name))

    def config(self) -> Config:
        """Return the run's configuration. Raises DtisError where there is none."""
        if not self.exists:
            raise DtisError(f"{self.path}: not a run folder (it has no config.yaml)")
        return read_config(self.path / "config.yaml")

    def manifest(self) -> dict:
        """Return the manifest, as `read_manifest` does."""
        return read_manifest(self.path / "manifest.json")

    def write_manifest(self, values: dict) -> None:
        """Replace the manifest."""
        write_json(self.path / "manifest.json", values)

    def update_manifest(self, **values: object) -> None:
        """Change some of the manifest's entries."""
        with self._changing_manifest():
            self.write_manifest(self.manifest() | values)

    def note_scores(self, key: str, scores: dict) -> None:
        """Record scores on some data and split, beside those on others."""
        with self._changing_manifest():
            manifest = self.manifest()
            self.write_manifest(manifest | {"scores": manifest.get("scores", {}) | {key: scores}})

    def note_resumption(self, step: int) -> None:
        """Record by which commit the run goes on at a step, where that is another one."""
        former = self.manifest().get("resumed", [])
        last = former[-1]["commit"] if former else self.manifest()["commit"]
        if commit() != last:
            self.update_manifest(resumed=[*former, {"step": step, "commit": commit()}])

    def metrics(self) -> list[dict]:
        """Return all lines of metrics.jsonl, as `read_metrics` does."""
        return read_metrics(self.path / "metrics.jsonl")

    def log(self, **values: object) -> None:
        """Append one line to metrics.jsonl."""
        check_regular(self.path / "metrics.jsonl")
        try:
            with open(self.path / "metrics.jsonl", "a") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise DtisError(f"{self.path}/metrics.jsonl: cannot be written ({error})") from error

    def snapshot(self, model: DTISprites, step: int) -> None:
        """Keep the present sprites as a small PNG."""
        with replacing(self.path / "sprites" / f"{step:06d}.png") as temporary:
            Image.fromarray(sprite_sheet(model), "RGBA").save(temporary, "PNG")

    def snapshots(self) -> list[tuple[int, np.ndarray]]:
        """Return (step, RGBA sprites, uint8 (K, h, w, 4)) of all snapshots, in order.

        Raises DtisError for a damaged one.
        """
        files = self._snapshot_files()
        size = self.config().model.sprite_size if files else (0, 0)
        return [(int(file.stem), read_sprite_sheet(file, size)) for file in files]

    def save(
        self,
        checkpoint: "Checkpoint",
        weights: dict[str, Tensor],
        status: str,
        device: torch.device,
    ) -> None:
        """Write trainer state first, then the weights for use, then the manifest.

        Raises DtisError, the former files kept, where a value is not finite or the disk is full.
        """
        name = first_not_finite(checkpoint.state)
        if name:
            raise DtisError(
                f"{self.checkpoint_file}: '{name}' holds nan or infinity at step "
                f"{checkpoint.step}; the last checkpoint is kept. Try lower rates, such as "
                "--set training.network_rate=3e-4"
            )
        step, seconds = checkpoint.step, checkpoint.wall_seconds
        metadata = {"step": str(step), "wall_seconds": repr(seconds)}
        write_tensors(self.checkpoint_file, checkpoint.state, metadata)
        write_tensors(self.path / "model.safetensors", weights, {})
        self.update_manifest(
            status=status,
            step=step,
            wall_seconds=round(seconds, 1),
            device=device_name(device),
        )

    def checkpoint(self) -> "Checkpoint":
        """Read the last checkpoint. Raises DtisError where it is missing or damaged."""
        file = self.checkpoint_file
        tensors, metadata = read_tensors(file)
        try:
            step, seconds = int(metadata["step"]), float(metadata["wall_seconds"])
            if step < 0 or not 0 <= seconds < math.inf:
                raise ValueError("out of range")
        except (KeyError, ValueError) as error:
            raise DtisError(
                f"{file}: its header has no step and wall_seconds, so it is no checkpoint; "
                "train again from the start"
            ) from error
        return Checkpoint(tensors, step, seconds)

    def forget_after(self, step: int) -> None:
        """Drop the metrics logged after a step: a run that goes on from it logs them again."""
        lines = [json.dumps(line) for line in self.metrics() if line["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(line + "\n" for line in lines))

    def export(
        self, destination: Path | str, half: bool = True, snapshots: int = 40
    ) -> "RunFolder":
        """Copy configuration, weights, metrics, manifest and some snapshots to a new folder.

        Weights are stored in half precision where `half`, but those too large for it in single;
        what only resuming needs is left out. Returns the new folder. Raises DtisError where it
        exists, this is no run folder, or `snapshots` is not at least 1.
        """
        if snapshots < 1:
            raise DtisError(f"--snapshots: must be at least 1, found {snapshots}")
        new = RunFolder(destination)
        config, manifest, metrics = self.config(), self.manifest(), self.metrics()
        for scores in manifest.get("scores", {}).values():
            scores["run"] = new.path.name
        weights = self.model().state_dict()  # checked
        if half:
            weights = {name: in_half_precision(values) for name, values in weights.items()}
        make_folder(new.path, new=True)
        try:
            new._fill(config, manifest, metrics, weights)
            files = self._snapshot_files()
            for file in files[:: -max(1, math.ceil(len(files) / snapshots))]:  # the last one always
                with replacing(new.path / "sprites" / file.name) as temporary:
                    shutil.copyfile(file, temporary)
        except BaseException:
            shutil.rmtree(new.path, ignore_errors=True)  # nothing is half exported
            raise
        return new

    def _fill(
        self, config: Config, manifest: dict, metrics: list[dict], weights: dict[str, Tensor]
    ) -> None:
        """Write the records and weights of an exported run."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(m) + "\n" for m in metrics))
        write_tensors(self.path / "model.safetensors", weights, {})
        write_json(self.path / "manifest.json", manifest)
        write_text(self.path / "config.yaml", yaml.safe_dump(config.to_dict(), sort_keys=False))

    def model(self, device: str = "cpu") -> DTISprites:
        """Return the trained model, in evaluation mode. Raises DtisError for damaged files."""
        config, file = self.config(), self.path / "model.safetensors"
        weights = read_tensors(file)[0]
        # A run that is not finished may have extra sprites yet.
        name = "sprites.appearances"
        count = weights[name].shape[:1].numel() if name in weights else 0
        sprites = max(count, config.model.sprites)
        model = build_model(replace(config.model, sprites=sprites), config.search)
        load_weights(model, weights, file)
        return model.to(device).eval()
