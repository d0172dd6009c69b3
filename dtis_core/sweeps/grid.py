"""The runs of a sweep: each preset, with each choice of settings, with each seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from dtis_core.config import Config, load_preset
from dtis_core.errors import DtisError

MOST_SEEDS = 10_000
OPENING, CLOSING = "[{(\"'", "]})\"'"


@dataclass(frozen=True)
class Task:
    """One run of a sweep: what `dtis train PRESET --set SETTINGS... --seed SEED` would train."""

    name: str  # of its run folder
    preset: str
    settings: tuple[str, ...]
    seed: int

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return load_preset(self.preset).override(list(self.settings))

    @property
    def steps(self) -> int | None:
        """The run's steps, None where its files decide how many an epoch has."""
        training, count = self.config.training, self.config.data.count
        if training.unit == "step":
            return round(training.length)
        return count and round(training.length * max(1, count // training.batch_size))


def seeds_of(text: str) -> list[int]:
    """Return the seeds that a text such as `0-4,7` names, in its order.

    Raises DtisError for another form, a seed named twice and more than 10,000 of them.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part)
        if not found:
            raise DtisError(f"--seeds {text:.80}: expected numbers and ranges, such as 0-4,7")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or len(seeds) + last - first >= MOST_SEEDS:
            raise DtisError(
                f"--seeds {text:.80}: {first}-{last} must rise, and all be {MOST_SEEDS} at most"
            )
        seeds += range(first, last + 1)
    if len({*seeds}) < len(seeds):
        raise DtisError(f"--seeds {text:.80}: names a seed twice")
    return seeds


def check_jobs(jobs: int | None) -> None:
    """Raise DtisError for a number of runs at a time that cannot be."""
    if jobs is not None and jobs < 1:
        raise DtisError(f"--jobs: must be at least 1, found {jobs}")


def choices_of(assignment: str) -> list[str]:
    """Return `field=a` and `field=b` for `field=a,b`; commas inside brackets or quotes stay."""
    key, equals, text = assignment.partition("=")
    if not equals:
        return [assignment]  # which the configuration refuses, in its own words
    parts, open_until = [""], []
    for sign in text:
        if open_until and sign == open_until[-1]:
            open_until.pop()
        elif sign in OPENING and not (open_until and open_until[-1] in "\"'"):
            open_until.append(CLOSING[OPENING.index(sign)])
        if sign == "," and not open_until:
            parts.append("")
        else:
            parts[-1] += sign
    return [f"{key}={part}" for part in parts]


def grid(presets: Sequence[str], seeds: Sequence[int], assignments: Sequence[str]) -> list[Task]:
    """Return a task for each preset, choice of settings and seed, in this order.

    A run's name tells the preset, what is chosen among several, and the seed. Raises DtisError for
    an unknown preset, settings that cannot be, and two runs of one name.
    """
    choices = [choices_of(assignment) for assignment in assignments]
    tasks = []
    for preset in presets:
        for settings in product(*choices):
            config = load_preset(preset).override(list(settings))
            chosen = [s for s, all_of in zip(settings, choices, strict=True) if len(all_of) > 1]
            parts = [config.preset, *(setting.partition(".")[2] for setting in chosen)]
            stem = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-") for part in parts)
            tasks += [Task(f"{stem}-seed{seed}", preset, settings, seed) for seed in seeds]
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DtisError(f"two runs would have the name {twice[0]}; give each preset and value once")
    return tasks
