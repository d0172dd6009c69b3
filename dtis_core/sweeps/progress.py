"""A sweep's progress, shown to a person: steps and time left of all, step and loss of each."""

import sys
from pathlib import Path

from tqdm import tqdm

from dtis_core.runs.run_folder import RunFolder
from dtis_core.scoring.evaluation import SCORES
from dtis_core.sweeps.grid import Task

SHOWN = 3  # running ones that are named
LOG_SECONDS = 30.0  # between two ticks, where each is a line of a log


class Progress:
    """Shows a sweep into a folder, each time that it is called; see `sweep.Watch`."""

    def __init__(self, out: Path, tasks: list[Task]):
        self.folders = {task.name: RunFolder(out / task.name) for task in tasks}
        self.lengths = {task.name: task.steps for task in tasks}
        self.told: set[str] = set()
        self.bar = tqdm(
            total=sum(filter(None, self.lengths.values())) or None,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else LOG_SECONDS,
        )

    def __call__(self, tasks: list[Task], rows: dict[str, dict]) -> None:
        """Show how far all runs are, and tell of those that ended since."""
        for name in rows.keys() - self.told:
            self.told.add(name)
            self.bar.write(f"{len(self.told)} of {len(tasks)}: {outcome(rows[name])}")
        steps, running = 0, []
        for name, folder in self.folders.items():
            step, loss = _last(folder)
            length = self.lengths[name]
            if length is not None:
                steps += min(step, length)
            if name not in rows and step:
                running.append(f"{name} {step}/{length or '?'} loss {loss:.4f}")
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        self.bar.n = steps
        self.bar.set_postfix_str(", ".join(running[:SHOWN]) + more, refresh=False)
        self.bar.update(0)

    def close(self) -> None:
        """End the display."""
        self.bar.close()


def _last(folder: RunFolder) -> tuple[int, float]:
    """Return step and loss of the last line of a run's metrics, 0 and 0 without one."""
    if not folder.exists or not (folder.path / "metrics.jsonl").is_file():
        return 0, 0.0
    lines = folder.metrics()
    return (lines[-1]["step"], lines[-1]["loss"]) if lines else (0, 0.0)


def outcome(row: dict) -> str:
    """Return how a run ended, in a line."""
    if row["error"]:
        return f"{row['run']} failed: {row['error']}"
    names = [name for name in SCORES if f"best {name}" in row]
    scores = "  ".join(f"{name} {100 * row[f'best {name}']:.2f}" for name in names)
    return f"{row['run']} {row['status']} in {row['minutes']:.1f} minutes  {scores}"
