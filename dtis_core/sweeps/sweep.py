"""A sweep carried out by Dask: tasks go to workers, and those of a worker that dies to another."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dtis_core.errors import DtisError
from dtis_core.paths import user_path
from dtis_core.runs.run_folder import RunFolder
from dtis_core.storage.files import make_folder, write_text
from dtis_core.sweeps.grid import Task, check_jobs
from dtis_core.sweeps.task import carry_out, row_if_ended, row_of

RESULTS = "results.csv"
PERIOD = 2.0  # seconds between two looks at the runs
DEATHS = 1000  # of workers, before a task is held to be what kills them
# Of a worker, before it starts. Without what Dask adds to it: memory given back to the system after
# each step, and asked for again, makes a step take more than twice as long.
ENVIRONMENT = {f"{library}_NUM_THREADS": 1 for library in ("OMP", "MKL", "OPENBLAS")}
Watch = Callable[[list[Task], dict[str, dict]], None]
"""Is shown the tasks, and the rows of those that ended, by name."""


def sweep(
    tasks: Sequence[Task],
    out: Path | str,
    jobs: int | None = None,
    scheduler: str | None = None,
    watch: Watch | None = None,
    checkpoint_seconds: float = 45.0,
) -> list[dict]:
    """Carry out tasks into run folders in `out`, and return their rows, as `row_of` has them.

    Workers are `jobs` processes of one thread on this machine, as many as cores by default; or
    those of any Dask scheduler at an address, which share the folder. Runs that are there go on
    from their checkpoints, and finished ones are left alone, so an interrupted sweep is continued
    by the same call. `results.csv` in `out` has the rows, also while others are on their way.

    Raises DtisError where Dask is not installed, the scheduler cannot be reached, or `out` cannot
    be written.
    """
    check_jobs(jobs)
    folder = user_path(out, "--out").absolute()
    make_folder(folder)
    ended = {task.name: row_if_ended(task, folder) for task in tasks}
    rows = {name: row for name, row in ended.items() if row}

    def keep() -> None:
        write_results(folder / RESULTS, [rows[t.name] for t in tasks if t.name in rows])

    with connected(jobs, scheduler) as client:
        from distributed import wait

        if watch:
            print(f"the workers at work: {client.dashboard_link}", flush=True)
        submit = client.submit
        waiting = {
            submit(
                carry_out, task, str(folder), checkpoint_seconds, key=task.name, pure=False
            ): task
            for task in tasks
            if task.name not in rows
        }
        keep()
        while waiting:
            if watch:
                watch(list(tasks), rows)
            try:
                done = wait(list(waiting), timeout=PERIOD, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            for future in done:
                task = waiting.pop(future)
                rows[task.name] = _outcome(future, task, folder)
                keep()
    if watch:
        watch(list(tasks), rows)
    return [rows[task.name] for task in tasks]


def _outcome(future: Any, task: Task, folder: Path) -> dict:
    """Return a future's row; one that says what happened where it has none."""
    error = future.exception()
    if error is None:
        return future.result()
    return row_of(task, RunFolder(folder / task.name), f"{type(error).__name__}: {error}")


@contextmanager
def connected(jobs: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield a client of a scheduler, which is one of our own without an address."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise DtisError("dtis sweep needs Dask: pip install 'dtis[sweep]'") from error
    if scheduler:
        try:
            client = Client(scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise DtisError(
                f"--scheduler {scheduler}: cannot be reached ({error}); start one with dask "
                "scheduler, and give the address that it prints"
            ) from error
        with client:
            yield client
        return
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=jobs, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def write_results(path: Path, rows: Sequence[dict]) -> None:
    """Write rows as CSV, with a column for whatever any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
