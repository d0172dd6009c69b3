"""Training: seeds and data order, records, and runs that end early and go on as if they had not."""

import json
import math
import signal

import numpy as np
import pytest
import torch
from command_line import start, wait_for
from small_run import (
    EVERY_FEATURE,
    SMALL,
    assert_same_state,
    random_images,
    same,
    small,
    trainer,
    weights,
)

from dtis_core import datasets
from dtis_core.cli import main
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import load
from dtis_core.storage.weights import read_tensors
from dtis_core.training import health
from dtis_core.training.session import train
from dtis_core.training.trainer import Trainer

pytestmark = pytest.mark.whole_runs


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


# Ending early and going on


@pytest.mark.parametrize("settings", [[], EVERY_FEATURE], ids=["fast", "every feature"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, settings):
    config = small(*settings)
    whole = train(config, tmp_path / "whole", seed=3, quiet=True)
    train(config, tmp_path / "parts", seed=3, quiet=True, max_steps=5)
    parts = RunFolder(tmp_path / "parts")
    assert parts.manifest()["status"] == "stopped"
    early = read_tensors(parts.path / "trainer.safetensors")[0]["counters"][0]
    train(config, tmp_path / "parts", seed=3, quiet=True, resume=True)
    assert parts.manifest()["status"] == whole.manifest()["status"] == "finished"
    assert whole.manifest()["step"] == 12
    late = read_tensors(parts.path / "trainer.safetensors")[0]["counters"][0]
    assert 0 < early < late  # sprites were reassigned in both parts
    assert_same_state(whole.path, parts.path)


def command(out, *settings):
    """A `dtis train` of a small run in a process of its own, with a checkpoint at each step."""
    arguments = ["train", "tetrominoes", "--out", str(out), "--checkpoint-seconds", "0"]
    for setting in (*SMALL, *settings):
        arguments += ["--set", setting]
    return arguments


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    arguments = command(tmp_path / "killed", "training.length=150", "training.cosine_from=100")
    process = start(arguments)
    wait_for(tmp_path / "killed" / "trainer.safetensors", process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    killed_at = int(read_tensors(tmp_path / "killed" / "trainer.safetensors")[1]["step"])
    assert 0 < killed_at < 150
    assert main([*arguments, "--resume", "--max-steps", str(killed_at + 4)]) == 0
    arguments[arguments.index("--out") + 1] = str(tmp_path / "whole")
    assert main([*arguments, "--max-steps", str(killed_at + 4)]) == 0
    assert_same_state(tmp_path / "whole", tmp_path / "killed")


def test_an_interrupted_run_is_usable_and_resumes_to_the_same_weights(tmp_path):
    out = tmp_path / "interrupted"
    arguments = command(out, "training.length=100000")
    process = start(arguments)
    wait_for(out / "trainer.safetensors", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted at step" in output and "continue with --resume" in output
    assert "Traceback" not in output + errors
    step = RunFolder(out).manifest()["step"]
    assert RunFolder(out).manifest()["status"] == "interrupted"
    assert load(out).decompose(random_images(2)).sprite_index.shape == (2, 3)
    assert main([*arguments, "--resume", "--max-steps", str(step + 2)]) == 0
    arguments[arguments.index("--out") + 1] = str(tmp_path / "whole")
    assert main([*arguments, "--max-steps", str(step + 2)]) == 0
    assert_same_state(tmp_path / "whole", out)


def test_a_step_that_is_cut_in_two_is_not_kept(tmp_path, monkeypatch, capsys):
    whole = train(small(), tmp_path / "whole", quiet=True)
    former, steps = Trainer.train_step, []

    def cut(self):
        value = former(self)
        steps.append(self.step)
        if self.step == 7:  # as by a second Ctrl-C, after the weights have changed
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(Trainer, "train_step", cut)
    folder = train(small(), tmp_path / "cut", checkpoint_seconds=0)
    said = "interrupted within step 7; continue with --resume from the last checkpoint"
    assert said in capsys.readouterr().out
    assert folder.manifest()["status"] == "interrupted" and folder.manifest()["step"] == 6
    monkeypatch.setattr(Trainer, "train_step", former)
    train(small(), tmp_path / "cut", quiet=True, resume=True)
    assert_same_state(whole.path, folder.path)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path):
    whole = train(small(), tmp_path / "whole", quiet=True)
    folder = train(small(), tmp_path / "killed", quiet=True, max_steps=5)
    for name in ("trainer.safetensors", "model.safetensors"):
        (folder.path / name).unlink()
    folder.update_manifest(step=0)
    train(small(), tmp_path / "killed", quiet=True, resume=True)
    assert [line["step"] for line in folder.metrics()] == [line["step"] for line in whole.metrics()]
    assert_same_state(whole.path, folder.path)


def test_an_exported_run_cannot_be_resumed(tmp_path):
    folder = train(small(), tmp_path / "run", quiet=True, max_steps=5)
    copy = folder.export(tmp_path / "copy")
    before = (copy.path / "model.safetensors").read_bytes()
    with pytest.raises(DtisError, match="copy: has no trainer.safetensors to go on from"):
        train(small(), copy.path, quiet=True, resume=True)
    assert (copy.path / "model.safetensors").read_bytes() == before


def test_a_run_is_replaced_but_no_other_file(tmp_path):
    folder = train(small(), tmp_path, quiet=True)
    own = tmp_path / "sprites" / "hero.png"
    own.write_bytes(b"mine")
    train(small(), tmp_path, quiet=True, max_steps=2, overwrite=True)
    assert own.read_bytes() == b"mine"
    assert [step for step, _ in folder.snapshots()] == [1, 2]


def test_a_run_that_is_named_like_a_shipped_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command("digits"), "--max-steps", "2"]) == 0
    assert "tetrominoes/validation" in RunFolder("digits").manifest()["scores"]
    assert load("./digits").config.data.name == "tetrominoes"
    with pytest.raises(DtisError, match="a shipped model and a run folder; write ./digits"):
        load("digits")


def test_a_watcher_can_stop_a_run(tmp_path):
    seen = []

    def watcher(trainer, losses):
        seen.append((trainer.step, len(losses)))
        return True

    folder = train(small("training.length=45"), tmp_path, quiet=True, watcher=watcher)
    assert seen == [(20, 1)]
    assert folder.manifest()["status"] == "stopped" and folder.manifest()["step"] == 20


# Determinism and data order


def test_the_seed_decides_the_weights():
    runs = [trainer(seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        for _ in range(3):
            run.train_step()
    first, again, other = (weights(run.model) for run in runs)
    assert same(first, again) and not same(first, other)


def test_each_epoch_is_a_permutation_of_its_own():
    images = np.arange(22, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (22, 35, 35, 3), np.uint8
    )

    def shown(run, step):
        run.step = step
        return (255 * run.batch()[:, 0, 0, 0]).round().int().tolist()

    run = trainer(images=images)
    epochs = [[shown(run, 5 * epoch + i) for i in range(5)] for epoch in range(3)]
    for epoch in epochs:
        numbers = [number for batch in epoch for number in batch]
        assert len(set(numbers)) == 20 and set(numbers) <= set(range(22))
    assert epochs[0] != epochs[1]
    late = trainer(images=images)
    assert shown(late, 8) == epochs[1][3]  # no matter what was drawn before
    wide = trainer("training.batch_size=10", images=images)
    assert shown(wide, 2) == epochs[1][0] + epochs[1][1] + epochs[1][2][:2]
    assert shown(trainer(images=images, seed=1), 0) != epochs[0][0]


@pytest.mark.parametrize(("count", "sizes"), [(22, [4] * 5 + [2]), (21, [4] * 5), (3, [3])])
def test_an_epoch_may_end_with_a_smaller_batch_but_not_of_one_image(count, sizes):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(35, 1).repeat(35, 2)
    run = trainer("training.unit=epoch", "training.frozen=0", images=images.repeat(3, 3))
    assert run.steps_per_epoch == len(sizes) and run.length == 12 * len(sizes)
    for epoch in range(2):
        shown = []
        for index, size in enumerate(sizes):
            run.step = epoch * len(sizes) + index
            batch = (255 * run.batch()[:, 0, 0, 0]).round().int().tolist()
            assert len(batch) == size
            shown += batch
        assert len(set(shown)) == len(shown)
    assert run.train_step() > 0  # of the smaller batch


def test_each_step_draws_a_noise_of_its_own(monkeypatch):
    drawn, true_loss = [], DTISprites.loss

    def loss(self, images, noise, steps):
        drawn.append(noise)
        return true_loss(self, images, noise, steps)

    monkeypatch.setattr(DTISprites, "loss", loss)
    run = trainer()
    for _ in range(3):
        run.train_step()
    late = trainer()
    late.step = 2
    late.train_step()
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    assert torch.equal(drawn[2], drawn[3])  # no matter what was drawn before
    assert drawn[0].shape == (4, 35, 35) and 0.3 < drawn[0].abs().max() <= 0.4


def test_fewer_images_than_a_batch_are_one_batch():
    run = trainer(images=random_images(3))
    assert run.steps_per_epoch == 1 and len(run.batch()) == 3


# Records


def test_metrics_and_snapshots_are_kept(tmp_path):
    folder = train(small("training.length=45"), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 45]
    assert all(math.isfinite(line["loss"]) for line in lines)
    step, sprites = folder.snapshots()[-1]
    assert step == 45 and sprites.shape == (4, 24, 24, 4)
    assert folder.manifest()["seed"] == 0 and folder.manifest()["preset"] == "tetrominoes/fast"


def test_a_run_resumed_by_another_version_says_so(tmp_path, monkeypatch):
    run = train(small(), tmp_path / "run", quiet=True, max_steps=3)
    train(small(), tmp_path / "run", quiet=True, max_steps=4, resume=True)
    assert "resumed" not in run.manifest()
    for version in ("abc", "abc", "def"):
        monkeypatch.setattr("dtis_core.runs.run_folder.commit", lambda version=version: version)
        step = run.manifest()["step"]
        train(small(), tmp_path / "run", quiet=True, max_steps=step + 1, resume=True)
    assert run.manifest()["resumed"] == [
        {"step": 4, "commit": "abc"}, {"step": 6, "commit": "def"}
    ]  # fmt: skip


def test_metrics_after_the_checkpoint_are_dropped_when_resuming(tmp_path):
    config = small("training.length=50")
    folder = train(config, tmp_path, quiet=True, max_steps=25)
    folder.log(step=40, loss=9.0)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 41, "lo')
    train(config, tmp_path, quiet=True, resume=True)
    assert [line["step"] for line in folder.metrics()] == [20, 25, 40, 50]
    assert all(line["loss"] < 1 for line in folder.metrics())


def test_metrics_say_in_how_many_images_a_layer_is_in_use(tmp_path):
    config = small("training.length=20")
    full = train(config, tmp_path / "full", quiet=True).metrics()[-1]["layers_used"]
    assert full == [1.0] * config.model.layers  # there is no empty sprite
    dear = config.override(["model.empty_sprite=true", "model.penalty=9"])
    empty = train(dear, tmp_path / "empty", quiet=True).metrics()[-1]["layers_used"]
    assert empty == [0.0] * config.model.layers


def test_a_run_that_shows_nothing_is_called_stuck(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "PATIENCE", 0)
    config = small("training.length=20", "training.mask_rate=1e-9", "model.mask_noise=0",
                   "model.mask_sigma=0.1")  # fmt: skip
    folder = train(config, tmp_path, quiet=True)
    assert "that of an empty scene" in folder.metrics()[-1]["problems"]["stuck"]


def test_the_loss_falls():
    images = datasets.load("tetrominoes", "train", 8).images
    run = trainer("training.length=60", "training.frozen=5", "training.warm_up=5",
                  "training.reassign_every=1000", "training.batch_size=8",
                  "training.cosine_from=null", images=images)  # fmt: skip
    losses = [run.train_step() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_an_evaluation_records_what_it_sets_beside_the_usual_one(tmp_path, capsys):
    config = small()
    train(config, tmp_path / "run", quiet=True)
    arguments = ["eval", str(tmp_path / "run"), "--json"]
    assert main(arguments) == 0
    usual = json.loads(capsys.readouterr().out)
    setting = f"search.inference_steps={config.search.inference_steps + 2}"
    assert main([*arguments, "--set", setting]) == 0
    other = json.loads(capsys.readouterr().out)
    assert "settings" not in usual and other["settings"] == [setting]
    folder = RunFolder(tmp_path / "run")
    key = "tetrominoes/validation"
    assert folder.manifest()["scores"] == {key: usual, f"{key}/{setting}": other}
    assert folder.config() == config


def test_an_export_holds_what_use_needs_in_half_the_bytes(tmp_path):
    folder = train(small("model.mask_noise=0"), tmp_path / "run", quiet=True)
    half = folder.export(tmp_path / "half", snapshots=3)
    full = folder.export(tmp_path / "full", half=False)
    names = {"config.yaml", "manifest.json", "metrics.jsonl", "model.safetensors", "sprites"}
    assert {file.name for file in half.path.iterdir()} == names
    sizes = [(f.path / "model.safetensors").stat().st_size for f in (half, full)]
    assert sizes[0] < 0.6 * sizes[1]
    assert len(half.snapshots()) <= 3 and half.snapshots()[-1][0] == 12
    assert same(weights(full.model()), weights(folder.model()))
    for one, other in zip(half.model().parameters(), folder.model().parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    with pytest.raises(DtisError, match="exists already"):
        folder.export(tmp_path / "half")
    with pytest.raises(DtisError, match="--snapshots: must be at least 1, found 0"):
        folder.export(tmp_path / "none", snapshots=0)
    assert not (tmp_path / "none").exists()
    with pytest.raises(DtisError, match="not a run folder"):
        RunFolder(tmp_path).export(tmp_path / "other")
