"""How long a sweep would take, from a few timed steps of each kind of run in it."""

import os
from collections.abc import Sequence
from statistics import mean

from dtis_core.bench.growth import on_noise
from dtis_core.bench.step import timed
from dtis_core.sweeps.grid import Task, check_jobs

MOMENTS = (0.1, 0.5, 0.9)  # of a run, at which a step is timed
STEPS = 2  # timed at each, after one to warm up


def step_seconds(task: Task) -> float:
    """Return about how many seconds a step of a run takes on one core of this machine.

    Steps are timed on noise, at the beginning, in the middle and near the end. Runs that
    differ in their seed take as long.
    """
    each = []
    for moment in MOMENTS:
        trainer = on_noise(task.config)
        trainer.skip_to(round(moment * trainer.length))
        trainer.train_step()
        each += [timed(trainer.train_step, trainer.device) for _ in range(STEPS)]
    return mean(each)


def estimates(tasks: Sequence[Task]) -> dict[str, float]:
    """Return `step_seconds` of each task, by name; runs of other seeds are timed once."""
    timed: dict[tuple, float] = {}
    for task in tasks:
        kind = task.preset, task.settings
        if kind not in timed:
            timed[kind] = step_seconds(task)
    return {task.name: timed[task.preset, task.settings] for task in tasks}


def print_estimates(tasks: Sequence[Task], jobs: int | None) -> None:
    """Print each task with its minutes, and those of all of them with `jobs` at a time.

    Where files decide how many steps there are, what a step takes is printed, and no sum.
    """
    check_jobs(jobs)
    seconds, minutes = estimates(tasks), []
    width = max(len(name) for name in seconds)
    for task in tasks:
        line = f"{seconds[task.name]:.2g} s a step, of as many as its files make"
        if task.steps is not None:
            minutes.append(task.steps * seconds[task.name] / 60)
            line = f"{minutes[-1]:.1f} minutes"
        print(f"{task.name:{width}}  about {line}")
    at_a_time = min(jobs or os.cpu_count() or 1, len(tasks))
    known = len(minutes) == len(tasks)
    total = f": about {max(sum(minutes) / at_a_time, *minutes, 0):.0f} minutes" if known else ""
    print(f"{len(tasks)} runs, {at_a_time} at a time{total}")
