"""How long a sweep would take, from a few timed steps of each kind of run in it."""

import os
from collections.abc import Sequence
from statistics import mean

from dtis_core.bench.growth import on_noise
from dtis_core.bench.step import timed
from dtis_core.sweeps.grid import Task

MOMENTS = (0.1, 0.5, 0.9)  # of a run, at which a step is timed
STEPS = 2  # timed at each, after one to warm up


def seconds_of(task: Task) -> float:
    """Return about how many seconds a run trains on one core of this machine.

    Its steps are timed on noise, at the beginning, in the middle and near the end. Runs that
    differ in their seed take as long.
    """
    each = []
    for moment in MOMENTS:
        trainer = on_noise(task.config)
        trainer.skip_to(round(moment * trainer.length))
        trainer.train_step()
        each += [timed(trainer.train_step, trainer.device) for _ in range(STEPS)]
    return task.steps * mean(each)


def estimates(tasks: Sequence[Task]) -> dict[str, float]:
    """Return `seconds_of` each task, by name; runs that differ in their seed are timed once."""
    timed: dict[tuple, float] = {}
    for task in tasks:
        kind = task.preset, task.settings
        if kind not in timed:
            timed[kind] = seconds_of(task)
    return {task.name: timed[task.preset, task.settings] for task in tasks}


def print_estimates(tasks: Sequence[Task], jobs: int | None) -> None:
    """Print each task with its minutes, and those of all of them with `jobs` at a time."""
    minutes = {name: seconds / 60 for name, seconds in estimates(tasks).items()}
    width = max(len(name) for name in minutes)
    for name, each in minutes.items():
        print(f"{name:{width}}  about {each:.1f} minutes")
    at_a_time = min(jobs or os.cpu_count() or 1, len(tasks))
    together = max(sum(minutes.values()) / at_a_time, *minutes.values(), 0)
    print(f"{len(tasks)} runs, {at_a_time} at a time: about {together:.0f} minutes")
