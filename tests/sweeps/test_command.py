"""`dtis sweep`: its estimates, its display, and its errors."""

import sys

import pytest

from dtis_core.cli import main
from dtis_core.runs.run_folder import RunFolder
from dtis_core.sweeps.estimate import print_estimates
from dtis_core.sweeps.grid import grid
from dtis_core.sweeps.progress import Progress, outcome
from dtis_core.sweeps.task import row_of
from dtis_core.training.session import train

TINY = [
    "data.count=16", "training.batch_size=4", "training.length=40", "training.frozen=0",
    "training.cosine_from=null", "training.reassign_until=20", "training.appearance_late=0",
]  # fmt: skip
SET = [part for setting in TINY for part in ("--set", setting)]


def test_a_dry_run_lists_runs_and_minutes_and_writes_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    sprites = ["--set", "model.sprites=2,3"]
    assert main(["sweep", "tetrominoes", *SET, *sprites, "--dry-run", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == [
        f"tetrominoes-fast-sprites-{k}-seed0" for k in (2, 3)
    ]
    assert lines[2].startswith("2 runs, ") and not out.exists()


def test_where_files_decide_how_many_steps_there_are_none_are_made_up(capsys, tmp_path):
    settings = [*TINY, "data.count=null", "training.unit=epoch"]
    tasks = grid(["tetrominoes"], [0], settings)
    assert tasks[0].steps is None
    print_estimates(tasks, 1)
    assert capsys.readouterr().out.endswith(
        "s a step, of as many as its files make\n1 runs, 1 at a time\n"
    )
    progress = Progress(tmp_path, tasks)
    RunFolder(tmp_path / tasks[0].name).begin(tasks[0].config, 0, "", "")
    RunFolder(tmp_path / tasks[0].name).log(step=20, loss=0.5)
    progress(tasks, {})
    progress.close()
    assert f"{tasks[0].name} 20/? loss 0.5" in progress.bar.postfix


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["tetromino"], "tetrominoes"),
        (["tetrominoes", "--seeds", "x"], "--seeds x: expected numbers"),
        (["tetrominoes", "--jobs", "0"], "--jobs: must be at least 1"),
        (["tetrominoes", "--jobs", "-1", "--dry-run"], "--jobs: must be at least 1"),
        (["tetrominoes", "--scheduler", "nowhere"], "--scheduler nowhere: cannot be reached"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, options, problem):
    assert main(["sweep", *options, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("dtis: ") and problem in message


def test_without_dask_it_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["sweep", "tetrominoes", "--out", str(tmp_path)]) == 2
    assert "pip install 'dtis[sweep]'" in capsys.readouterr().err


def test_progress_counts_steps_and_tells_of_each_end_once(capsys, tmp_path):
    tasks = grid(["tetrominoes"], [0, 1], TINY)
    progress = Progress(tmp_path, tasks)
    progress(tasks, {})
    assert progress.bar.total == 80 and progress.bar.n == 0
    train(tasks[0].config, tmp_path / tasks[0].name, max_steps=20, quiet=True)
    progress(tasks, {})
    assert progress.bar.n == 20
    assert f"{tasks[0].name} 20/40 loss 0." in progress.bar.postfix
    row = row_of(tasks[1], RunFolder(tmp_path / "none"), "no such thing")
    for _ in range(2):
        progress(tasks, {tasks[1].name: row})
    progress.close()
    told = capsys.readouterr().out
    assert told.count(f"1 of 2: {tasks[1].name} failed: no such thing") == 1


def test_an_outcome_has_the_scores_of_the_best_inference():
    task = grid(["tetrominoes"], [0], TINY)[0]
    row = row_of(task, RunFolder("none")) | {"status": "finished", "minutes": 1.5}
    row |= {"best ARI": 0.5, "one-look ARI": 0.4}
    assert outcome(row) == f"{task.name} finished in 1.5 minutes  ARI 50.00"
