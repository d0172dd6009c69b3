"""A sweep on workers of its own: equal to single runs, whoever dies, and each failure told once."""

import csv
import os
import signal

import pytest
from small_run import SWEPT, assert_same_state

from dtis_core.sweeps.grid import grid
from dtis_core.sweeps.sweep import connected, sweep
from dtis_core.sweeps.task import carry_out, row_if_ended
from dtis_core.training.session import train

pytestmark = [pytest.mark.whole_runs, pytest.mark.usefixtures("often")]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_ends_as_single_runs_do_though_a_worker_is_killed(tmp_path):
    tasks = grid(["tetrominoes"], [0, 1], [*SWEPT, "training.length=60"])
    killed = []

    def kill_one(tasks, rows):
        """Kill the worker that holds the first run, once it has a checkpoint."""
        lock = tmp_path / "sweep" / tasks[0].name / ".lock"
        saved = (lock.parent / "trainer.safetensors").is_file()
        if not killed and saved and lock.is_file():
            killed.append(int(lock.read_text().split()[1]))
            os.kill(killed[0], signal.SIGKILL)

    rows = sweep(tasks, tmp_path / "sweep", 2, watch=kill_one, checkpoint_seconds=0)
    assert killed
    assert [row["status"] for row in rows] == ["finished", "finished"]
    assert [row["run"] for row in rows] == [task.name for task in tasks]
    assert all(row["error"] == "" and 0 <= row["one-look mIoU"] <= 1 for row in rows)
    assert all(row["final loss"] > 0 and row["best sprites_used"] <= 3 for row in rows)
    for task in tasks:
        alone = train(task.config, tmp_path / "alone" / task.name, seed=task.seed, quiet=True)
        assert_same_state(tmp_path / "sweep" / task.name, alone.path)
    written = rows_of(tmp_path / "sweep" / "results.csv")
    assert [row["run"] for row in written] == [task.name for task in tasks]
    assert float(written[1]["best ARI"]) == rows[1]["best ARI"]


def test_a_run_that_cannot_be_fails_alone_and_the_same_call_goes_on(tmp_path):
    settings = [*SWEPT, "training.length=8", "training.network_rate=1e-3,1e9"]
    tasks = grid(["tetrominoes"], [0], settings)
    seen = []
    rows = sweep(tasks, tmp_path, 1, watch=lambda tasks, rows: seen.append(len(rows)))
    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert "the loss is" in rows[1]["error"] and seen[-1] == 2
    weights = tmp_path / tasks[0].name / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = sweep(tasks, tmp_path, 1)
    assert weights.stat().st_mtime_ns == before
    assert [row["status"] for row in again] == ["finished", "failed"]
    assert again[0] == rows[0]


def test_runs_that_ended_before_are_in_the_table_from_the_start(tmp_path):
    settings = [*SWEPT, "training.length=8"]
    first = sweep(grid(["tetrominoes"], [1], settings), tmp_path, 1)
    seen = []

    def look(tasks, rows):
        """Read the table as it is on the way."""
        seen.append([row["seed"] for row in rows_of(tmp_path / "results.csv")])

    rows = sweep(grid(["tetrominoes"], [0, 1], settings), tmp_path, 1, watch=look)
    assert seen[0] == ["1"] and seen[-1] == ["0", "1"]
    assert rows[1] == first[0]


def test_a_run_of_other_settings_under_the_same_name_is_not_taken_for_the_own(tmp_path):
    task, other = (
        grid(["tetrominoes"], [0], [*SWEPT, f"training.length={steps}"])[0] for steps in (8, 9)
    )
    folder = train(task.config, tmp_path / task.name, quiet=True)
    before = folder.manifest()
    row = carry_out(other, str(tmp_path), checkpoint_seconds=1.0)
    assert row["status"] == "failed" and "its run has training.length=8.0, not 9.0" in row["error"]
    assert row["step"] == "" and folder.manifest() == before


def test_a_damaged_record_fails_its_own_row_alone(tmp_path):
    task = grid(["tetrominoes"], [0], [*SWEPT, "training.length=8"])[0]
    train(task.config, tmp_path / task.name, quiet=True)
    (tmp_path / task.name / "manifest.json").write_text("{")
    assert row_if_ended(task, tmp_path) is None
    row = carry_out(task, str(tmp_path), checkpoint_seconds=1.0)
    assert row["status"] == "failed" and "manifest.json" in row["error"]


def test_workers_have_a_thread_each_and_keep_their_memory_between_steps():
    with connected(1, None) as client:
        environment = client.submit(lambda: dict(os.environ)).result()
    threads = [environment[f"{library}_NUM_THREADS"] for library in ("OMP", "MKL", "OPENBLAS")]
    assert threads == ["1", "1", "1"]
    assert "MALLOC_TRIM_THRESHOLD_" not in environment
