"""What a worker does for one run of a sweep: train it, or go on with it, and score it."""

import time
from pathlib import Path

import torch

from dtis_core.errors import DtisError, InUse, NoLabels
from dtis_core.runs.recorded import final_loss
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scoring.evaluation import SCORES
from dtis_core.scoring.results import recorded_scores
from dtis_core.scoring.score import score
from dtis_core.search.inference import INFERENCES
from dtis_core.sweeps.grid import Task
from dtis_core.training.session import train

PATIENCE = 120.0  # seconds to wait for another process to let go of the folder
PAUSE = 1.0  # between two tries
FACTS = ("status", "step", "device", "commit")
MEASURES = (*SCORES, "reconstruction_error", "sprites_used", "ms_per_image")


def carry_out(task: Task, out: str, checkpoint_seconds: float) -> dict:
    """Bring a task's run to its end from wherever it is; return its row, see `row_of`.

    A reason of the run's own, such as a loss that is not finite, is told in the row; nobody tries
    again. Whatever ends the process is no such reason: then another worker goes on.
    """
    torch.set_num_threads(1)  # equal sums on all workers
    folder = RunFolder(Path(out) / task.name)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _bring_to_end(task, folder, checkpoint_seconds)
            return row_of(task, folder)
        except InUse as error:  # a worker that was taken for dead may end only now
            if time.monotonic() > deadline:
                return row_of(task, folder, str(error))
            time.sleep(PAUSE)
        except DtisError as error:
            return row_of(task, folder, str(error))


def _bring_to_end(task: Task, folder: RunFolder, checkpoint_seconds: float) -> None:
    if _record(task, folder).get("status") != "finished":
        train(
            task.config,
            folder.path,
            seed=task.seed,
            resume=folder.exists,
            quiet=True,
            checkpoint_seconds=checkpoint_seconds,
        )
    for inference in INFERENCES:
        if not recorded_scores(folder, inference):
            try:
                score(folder.path, inference=inference)
            except NoLabels:
                return


def _record(task: Task, folder: RunFolder) -> dict:
    """Return the manifest of a task's run; nothing where there is none, or it is damaged.

    Nor where the run has other settings: training refuses to go on with it, and says so in the row.
    """
    try:
        return folder.manifest() if folder.exists and folder.config() == task.config else {}
    except DtisError:
        return {}


def row_if_ended(task: Task, out: Path) -> dict | None:
    """Return the row of a task's run if it is finished and scored, None for any other."""
    folder = RunFolder(out / task.name)
    if _record(task, folder).get("status") != "finished":
        return None
    scored = all(recorded_scores(folder, inference) for inference in INFERENCES)
    return row_of(task, folder) if scored else None


def row_of(task: Task, folder: RunFolder, error: str = "") -> dict:
    """Return a run's row: what it is, how it ended, its final loss, and its scores as fractions.

    What was measured on validation images is named by its inference, `one-look ARI` and so on;
    `error` is empty where there was none.
    """
    row: dict = {"run": task.name, "preset": task.preset, "settings": " ".join(task.settings)}
    row["seed"] = task.seed
    manifest = _record(task, folder)
    row |= {fact: manifest.get(fact, "") for fact in FACTS}
    row["minutes"] = round(manifest.get("wall_seconds", 0) / 60, 2)
    row["status"] = "failed" if error else row["status"]
    row["error"] = error
    row["final loss"] = (final_loss(folder) if manifest else None) or ""
    for inference in INFERENCES if manifest else ():
        scores = recorded_scores(folder, inference) or {}
        row |= {f"{inference} {name}": scores[name] for name in MEASURES if name in scores}
    return row
