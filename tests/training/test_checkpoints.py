"""What a run goes on from: every tensor is checked, and a failure of any kind is on record."""

import math
import shutil

import pytest
import torch
from safetensors.torch import save_file
from small_run import assert_same_state, small

from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder
from dtis_core.storage.weights import read_tensors
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

pytestmark = pytest.mark.whole_runs

MASKS = "sprites.masks"
PARTS = (4, 1, 24, 24)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of three steps, to be read only."""
    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTIS_CACHE", str(home / "cache"))
        yield train(small(), home / "run", quiet=True, max_steps=3)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of that folder."""
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (f"adam.exp_avg.{MASKS}", torch.zeros(3, 1, 24, 24), r"has shape \(3, 1, 24, 24\)"),
        (f"adam.exp_avg_sq.{MASKS}", torch.zeros(1), r"has shape \(1,\)"),
        (f"adam.exp_avg.{MASKS}", torch.full(PARTS, math.nan), "holds nan or infinity"),
        (f"adam.exp_avg.{MASKS}", torch.zeros(PARTS, dtype=torch.int64), "is of torch.int64"),
        (f"adam.step.{MASKS}", torch.zeros(2), r"has shape \(2,\)"),
        ("usage", torch.zeros(3), r"has shape \(3,\)"),
        ("share", torch.zeros(40), r"has shape \(40,\)"),
        ("share", torch.full((4,), math.inf), "holds nan or infinity"),
        ("counters", torch.zeros(4, dtype=torch.int64), r"has shape \(4,\)"),
        ("counters", torch.zeros(3), "is of torch.float32"),
        ("invisible", torch.zeros(2), r"has shape \(2,\)"),
        ("model.sprites.appearances", torch.zeros(()), r"has shape \(\)"),
        ("model.sprites.masks", torch.full(PARTS, math.nan), "holds nan or infinity"),
    ],
)
def test_a_tensor_that_cannot_be_the_runs_is_named(folder, name, values, message):
    tensors, header = read_tensors(folder.checkpoint_file)
    save_file(tensors | {name: values}, folder.checkpoint_file, header)
    named = name.removeprefix("model.")
    with pytest.raises(DtisError, match=f"trainer.safetensors: tensor '{named}' {message}"):
        train(small(), folder.path, quiet=True, resume=True)


def test_moments_are_whole_or_absent(folder):
    tensors, header = read_tensors(folder.checkpoint_file)
    lacking = {k: v for k, v in tensors.items() if k != f"adam.exp_avg_sq.{MASKS}"}
    save_file(lacking, folder.checkpoint_file, header)
    with pytest.raises(DtisError, match=f"lacks tensor 'adam.exp_avg_sq.{MASKS}'"):
        train(small(), folder.path, quiet=True, resume=True)
    more = tensors | {"adam.exp_avg.sprites.hats": torch.zeros(4)}
    save_file(more, folder.checkpoint_file, header)
    with pytest.raises(DtisError, match="has the unknown tensor 'adam.exp_avg.sprites.hats'"):
        train(small(), folder.path, quiet=True, resume=True)
    none = {k: v for k, v in tensors.items() if not k.startswith("adam.")}
    trainer = Trainer(small(), torch.zeros(32, 35, 35, 3, dtype=torch.uint8).numpy(), 0)
    trainer.load_state(none, 0, folder.checkpoint_file)  # as before the first step
    assert trainer.state().keys() == none.keys()


def test_a_step_beyond_the_runs_end_is_refused(folder):
    tensors, header = read_tensors(folder.checkpoint_file)
    save_file(tensors, folder.checkpoint_file, header | {"step": "13"})
    with pytest.raises(DtisError, match="trainer.safetensors: is of step 13, but the run has 12"):
        train(small(), folder.path, quiet=True, resume=True)


def test_any_failure_is_on_record_and_can_be_gone_on_from(folder, monkeypatch, tmp_path):
    true_step = Trainer.train_step

    def broken(self):
        if self.step == 5:
            raise RuntimeError("a bug")
        return true_step(self)

    monkeypatch.setattr(Trainer, "train_step", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train(small(), folder.path, quiet=True, resume=True)
    assert folder.manifest()["status"] == "failed" and folder.manifest()["step"] == 3
    monkeypatch.undo()
    train(small(), folder.path, quiet=True, resume=True)
    whole = train(small(), tmp_path / "whole", quiet=True)
    assert folder.manifest()["status"] == "finished"
    assert_same_state(whole.path, folder.path)


def test_weights_that_are_no_longer_finite_end_the_run(folder, monkeypatch):
    true_step = Trainer.train_step

    def spoiled(self):
        value = true_step(self)
        self.model.predictor.layer_head.biases[0].data[0] = math.nan
        return value

    monkeypatch.setattr(Trainer, "train_step", spoiled)
    with pytest.raises(DtisError, match="layer_head.biases.0' holds nan or infinity at step 4"):
        train(small(), folder.path, quiet=True, resume=True, checkpoint_seconds=0)
    assert folder.manifest()["status"] == "failed" and folder.checkpoint().step == 3
    folder.model()


def test_a_failure_that_cannot_be_recorded_is_told_all_the_same(folder, monkeypatch):
    def broken(self):
        raise RuntimeError("a bug")

    def full(self, **values):
        raise DtisError("no space left")

    monkeypatch.setattr(Trainer, "train_step", broken)
    monkeypatch.setattr(RunFolder, "update_manifest", full)
    monkeypatch.setattr(RunFolder, "note_resumption", lambda self, step: None)
    with pytest.raises(RuntimeError, match="a bug"):
        train(small(), folder.path, quiet=True, resume=True)
