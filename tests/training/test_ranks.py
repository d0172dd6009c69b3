"""One run on several devices, by torchrun: two ranks are as one process with the whole batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rank_script import SPLIT, normalised
from small_run import SMALL, small
from torch import nn

from dtis_core.runs.run_folder import RunFolder
from dtis_core.storage.weights import read_tensors
from dtis_core.training.session import train

TESTS = Path(__file__).parents[1]
TWO = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}:{TESTS}"}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two ranks left."""
    out = tmp_path_factory.mktemp("ranks")
    command = [*TWO, str(TESTS / "training" / "rank_script.py"), str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(small(*SPLIT), tmp_path_factory.mktemp("alone") / "run", quiet=True)


def found_by(ranks, rank):
    return torch.load(ranks / f"rank{rank}.pt", weights_only=True)


def assert_close(first, second):
    """Two trainer states differ by rounding: of a weight, by no more than a tenth of one step.

    Adam makes all steps as large as its rate, 1e-3 here, also where the gradient is near 0, and so
    its rounding; but that is rare.
    """
    one, two = (read_tensors(path / "trainer.safetensors")[0] for path in (first, second))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], atol=1e-4, rtol=1e-4, msg=name)
        far = ~torch.isclose(tensor, two[name], atol=1e-5, rtol=1e-4)
        assert far.sum() <= tensor.numel() / 1000, name


def test_two_ranks_are_as_one_process_restarts_included(ranks, alone):
    assert_close(ranks / "whole", alone.path)
    restarted = [
        folder.metrics()[-1]["reassigned"] for folder in (alone, RunFolder(ranks / "whole"))
    ]
    assert restarted[0] == restarted[1] > 3
    used = [folder.metrics()[-1]["layers_used"] for folder in (alone, RunFolder(ranks / "whole"))]
    assert used[0] == used[1]
    losses = [folder.metrics()[-1]["loss"] for folder in (alone, RunFolder(ranks / "whole"))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_run_goes_on_with_another_number_of_ranks(ranks, alone):
    half = RunFolder(ranks / "half")
    assert half.manifest()["ranks"] == 2 and half.manifest()["step"] == 10
    train(small(*SPLIT), half.path, resume=True, quiet=True)
    assert half.manifest()["ranks"] == 1
    assert_close(half.path, alone.path)


def test_batches_are_normalised_as_a_whole(ranks):
    features = torch.randn(7, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = normalised(nn.BatchNorm2d(5), features)
    parts = [found_by(ranks, rank) for rank in (0, 1)]
    for name, expected in whole.items():
        for rank, part in enumerate(parts):
            mine = expected[rank::2] if name in ("output", "grad") else expected
            if name in ("weight", "bias"):  # gradients, which are summed later
                continue
            torch.testing.assert_close(part[name], mine, msg=name)
        if name in ("weight", "bias"):
            torch.testing.assert_close(parts[0][name] + parts[1][name], expected)


def test_ranks_stay_equal_while_images_grow_sprites_retire_and_each_has_its_dreams(ranks):
    first, second = (found_by(ranks, rank) for rank in (0, 1))
    names = [name for name in first if name.startswith("model.")]
    assert "model.predictor.fovea.glances.1.layer.weight" in names
    for name in names:
        assert torch.equal(first[name], second[name]), name


def test_more_ranks_than_images_are_refused(ranks):
    for rank in (0, 1):
        error = (ranks / f"error{rank}").read_text()
        assert error.startswith(
            "training.batch_size: 1 makes a batch of 1 of 16 images, too few for 2"
        )


@pytest.mark.load
def test_a_command_is_stopped_by_ctrl_c_on_all_ranks_and_goes_on(tmp_path):
    settings = [f"--set={text}" for text in (*SMALL, "training.length=400")]
    command = [*TWO, "-m", "dtis_core", "train", "tetrominoes", *settings, f"--out={tmp_path}/run"]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, text=True, start_new_session=True, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    folder = RunFolder(tmp_path / "run")
    deadline = time.monotonic() + 120
    while not (folder.exists and folder.metrics()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    text = process.communicate(timeout=120)[0]
    step = folder.manifest()["step"]
    assert folder.manifest()["status"] == "interrupted" and 20 <= step < 400
    assert text.count(f"interrupted at step {step}; continue with --resume") == 1
    assert folder.checkpoint().step == step
