"""What many runs and ranks cost beside their training: a scheduler, a shared folder, messages."""

import os
import platform
import time
from collections.abc import Sequence

from dtis_core.bench.growth import on_noise
from dtis_core.config import Config, load_preset
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import commit

TASKS, WORKERS, SLEEP = 1000, 4, 0.05  # seconds
LINK = 1e9 / 8  # bytes a second of a gigabit
FAST = ("tetrominoes/fast", "multi-dsprites/fast", "clevr6/fast", "gtsrb8/fast", "weizmann/fast")
PAPER = tuple(name.replace("fast", "paper") for name in FAST)


def scheduler_cost(tasks: int = TASKS, workers: int = WORKERS, sleep: float = SLEEP) -> dict:
    """Return what Dask adds to tasks that only sleep, as many as a large sweep has runs.

    Milliseconds a task beside its sleep, the scheduler's memory for a task in KiB, and seconds to
    start the workers. The scheduler is in this process, workers have their own. Raises DtisError
    where Dask is not installed.
    """
    try:
        import psutil  # comes with it
        from distributed import Client, LocalCluster, wait
    except ImportError as error:
        raise DtisError("this needs Dask: pip install 'dtis[sweep]'") from error
    process, begun = psutil.Process(), time.perf_counter()
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        wait(client.map(time.sleep, [0.001] * workers, pure=False))
        started, memory = time.perf_counter(), process.memory_info().rss
        waiting = client.map(time.sleep, [sleep] * tasks, pure=False)
        wait(waiting)
        seconds, grown = time.perf_counter() - started, process.memory_info().rss - memory
    return {
        "commit": commit(),
        "device": f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "tasks": tasks,
        "workers": workers,
        "seconds to start": started - begun,
        "ms a task": 1e3 * (seconds * workers / tasks - sleep),
        "KiB a task": grown / 1024 / tasks,
    }


def weights_of(config: Config) -> dict:
    """Return the sizes in MB of a run's messages, for each rank and step, and of its checkpoint.

    Gradients are single precision. A checkpoint holds weights and two moments, and the weights for
    use beside it.
    """
    trainer = on_noise(config.override(["training.batch_size=2"]))
    trainer.skip_to(trainer.length - 1)
    learning = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    gradients = sum(p.numel() * p.element_size() for p in learning)
    weights = sum(v.numel() * v.element_size() for v in trainer.model.state_dict().values())
    return {
        "preset": config.preset,
        "gradients, MB a step": gradients / 1e6,
        "ms a step at 1 Gbit/s": 1e3 * 2 * gradients / LINK,  # a ring sends and gets all but 1/N
        "checkpoint, MB": (2 * gradients + 2 * weights) / 1e6,
    }


def bench_scale(presets: Sequence[str] = (*FAST, *PAPER)) -> list[dict]:
    """Return `scheduler_cost`, and `weights_of` each preset."""
    return [scheduler_cost(), *(weights_of(load_preset(preset)) for preset in presets)]


def print_scale(rows: Sequence[dict]) -> None:
    """Print what `bench_scale` found, a line each."""
    for row in rows:
        cells = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()}
        print(", ".join(f"{name} {value}" for name, value in cells.items()))
