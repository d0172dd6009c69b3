"""Sweeps under load: workers and schedulers that are killed, a full disk, absent data, leaks.

Minutes, so apart from the other tests: `make test-load` runs them.
"""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from small_run import SWEPT, assert_same_state, random_images, trainer

from dtis_core.runs.run_folder import RunFolder
from dtis_core.sweeps.grid import grid
from dtis_core.sweeps.sweep import sweep
from dtis_core.training.session import train

pytestmark = [pytest.mark.load, pytest.mark.whole_runs, pytest.mark.usefixtures("often")]

KILLS = 10


def holders(folder):
    """The processes that train in a sweep's runs; a killed one's lock file may still be there."""
    for lock in folder.glob("*/.lock"):
        try:
            process = int(lock.read_text().split()[1])
        except (OSError, IndexError, ValueError):  # it ended, or has only just begun
            continue
        if psutil.pid_exists(process):
            yield process


def assert_as_undisturbed(tasks, folder, alone):
    for task in tasks:
        run = train(task.config, alone / task.name, seed=task.seed, quiet=True)
        assert_same_state(folder / task.name, run.path)


def test_twelve_runs_end_as_if_their_workers_had_not_been_killed(tmp_path):
    tasks = grid(["tetrominoes"], range(12), [*SWEPT, "training.length=100"])
    dice, killed, due = random.Random(0), [], [0.0]

    def kill(tasks, rows):
        """Kill a worker now and then, whatever it is at."""
        working = list(holders(tmp_path / "sweep"))
        if working and len(killed) < KILLS + 4 and time.monotonic() > due[0]:
            killed.append(dice.choice(working))
            os.kill(killed[-1], signal.SIGKILL)
            due[0] = time.monotonic() + dice.uniform(1, 12)

    rows = sweep(tasks, tmp_path / "sweep", 4, watch=kill, checkpoint_seconds=0.2)
    assert len(killed) >= KILLS
    assert [row["status"] for row in rows] == 12 * ["finished"]
    assert_as_undisturbed(tasks, tmp_path / "sweep", tmp_path / "alone")


def test_a_sweep_goes_on_with_a_new_scheduler(tmp_path):
    tasks = grid(["tetrominoes"], range(3), [*SWEPT, "training.length=300"])
    port = "8799"
    address, out = f"tcp://127.0.0.1:{port}", tmp_path / "sweep"
    servers = []

    def start():
        """Start a scheduler and two workers."""
        dask = [sys.executable, "-m", "dask"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
        servers.append(
            subprocess.Popen([*dask, "scheduler", "--port", port, "--no-dashboard"], **quiet)
        )
        worker = [*dask, "worker", address, "--nthreads=1", "--nworkers=2", "--death-timeout=20"]
        servers.append(subprocess.Popen([*worker, "--no-dashboard"], **quiet))

    def kill(tasks, rows):
        """Kill the scheduler once runs have checkpoints."""
        if servers[0].poll() is None and list(out.glob("*/trainer.safetensors")):
            servers[0].kill()
            servers[0].wait()
            raise KeyboardInterrupt  # as a person who sees that nothing moves

    try:
        start()
        with pytest.raises(KeyboardInterrupt):
            sweep(tasks, out, scheduler=address, watch=kill, checkpoint_seconds=0.2)
        servers[1].terminate()
        servers[1].wait(timeout=60)
        start()
        rows = sweep(tasks, out, scheduler=address)
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=60)
    assert [row["status"] for row in rows] == 3 * ["finished"]
    assert_as_undisturbed(tasks, out, tmp_path / "alone")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_under_one_run_fails_that_run_alone(tmp_path):
    tasks = grid(["tetrominoes"], range(2), [*SWEPT, "training.length=20"])
    small = tmp_path / "sweep" / tasks[0].name
    small.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        rows = sweep(tasks, tmp_path / "sweep", 2)
        assert [row["status"] for row in rows] == ["failed", "finished"]
        assert "space" in rows[0]["error"]
    finally:
        subprocess.run(["umount", str(small)], check=True)
    again = sweep(tasks, tmp_path / "sweep", 2)  # with room enough
    assert [row["status"] for row in again] == ["finished", "finished"]


def test_a_worker_without_the_data_fails_what_needs_them_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_DATA", str(tmp_path / "nothing"))
    tasks = grid(["weizmann", "tetrominoes"], [0], ["training.length=8"])
    tasks = [tasks[0], *grid(["tetrominoes"], [0], [*SWEPT, "training.length=8"])]
    rows = sweep(tasks, tmp_path / "sweep", 2)
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert "weizmann" in rows[0]["error"]


def test_memory_is_flat_over_twenty_thousand_steps():
    run = trainer(
        "model.image_size=[8, 8]", "model.sprite_size=[4, 4]", "model.layers=1",
        "model.sprites=2", "model.mask_sigma=1", "training.length=20000", "training.batch_size=2",
        "training.reassign_below=20", images=random_images(8, size=8),
    )  # fmt: skip
    used = []
    for step in range(20000):
        run.train_step()
        if step % 1000 == 999:
            used.append(psutil.Process().memory_info().rss)
    assert used[-1] == pytest.approx(used[4], rel=0.02)


def test_many_small_sweeps_leave_no_process_no_file_and_no_port(tmp_path):
    me = psutil.Process()

    def held():
        """Processes, open files and ports of this process."""
        return len(me.children(recursive=True)), me.num_fds(), len(me.net_connections())

    counts = []
    for number in range(10):  # of twenty tasks each
        tasks = grid(["tetrominoes"], range(20), [*SWEPT, "training.length=1"])
        rows = sweep(tasks, tmp_path / str(number), 2)
        assert all(row["status"] == "finished" for row in rows)
        assert RunFolder(tmp_path / str(number) / tasks[0].name).manifest()["status"] == "finished"
        counts.append(held())
    assert counts[-1][0] == counts[2][0] and counts[-1][2] <= counts[2][2]
    assert counts[-1][1] <= counts[2][1] + 3
