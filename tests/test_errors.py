"""Bad input: one DtisError, one line on the command line, and nothing lost."""

import errno
import os
import resource
import tempfile

import numpy as np
import pytest
import torch
from command_line import contents, refused, train_command
from safetensors.torch import save_file
from small_run import SMALL, random_images, small

from dtis_core.config import from_dict, load_preset, read_config
from dtis_core.errors import DtisError
from dtis_core.model.dti_sprites import DTISprites
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import as_batch, load
from dtis_core.storage import files
from dtis_core.storage.weights import read_tensors, write_tensors
from dtis_core.training.session import check_device, train
from dtis_core.training.trainer import Trainer


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def run(tmp_path):
    """The folder of a run stopped after two steps, as (path, its bytes by file)."""
    folder = train(small(), tmp_path / "run", quiet=True, max_steps=2)
    return folder.path, contents(folder.path)


# Presets and settings


def test_an_unknown_preset_is_answered_with_the_nearest(capsys, tmp_path):
    refused(capsys, ["train", "tetrominos", "--out", str(tmp_path / "run")],
            "unknown preset 'tetrominos'", "did you mean 'tetrominoes/")  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("training.batchsize=8", ["unknown field 'batchsize'", "did you mean 'batch_size'"]),
        ("trainin.batch_size=8", ["unknown section 'trainin'", "did you mean 'training'"]),
        ("training.batch_size", ["expected section.field=value", "training.batch_size=64"]),
        ("preset=mine", ["expected section.field=value"]),
        ("training.batch_size=[8", ["'[8' is not a YAML value"]),
        ("training.batch_size=many", ["batch_size", "expected int", "'many'"]),
        ("training.batch_size=true", ["batch_size", "expected int", "True"]),
        ("training.batch_size=0", ["training.batch_size must be at least 1, found 0"]),
        ("training.network_rate=-1", ["network_rate must be above 0, found -1"]),
        ("training.network_rate=fast", ["network_rate", "expected float", "'fast'"]),
        ("training.network_rate=.nan", ["network_rate", "expected float", "nan"]),
        ("training.length=.inf", ["length", "expected float", "inf"]),
        ("training.weight_decay=-1", ["weight_decay must be 0 or more"]),
        ("training.frozen=-1", ["frozen must be 0 or more"]),
        ("training.empty_from=-1", ["empty_from must be 0 or more"]),
        ("training.freeze=backgrounds", ["training.freeze", "'backgrounds' is not known"]),
        ("training.encoder_rate=0", ["encoder_rate must be above 0, found 0"]),
        ("training.appearance_late_rate=-1", ["appearance_late_rate must be above 0, found -1"]),
        ("model.background_colour=2", ["background_colour must be in [0, 1], found 2"]),
        ("training.second_moment=1", ["second_moment must be in [0, 1)"]),
        (
            "training.curriculum={affine: 3}",
            ["training.curriculum", "transformations that the model has, not affine"],
        ),
        ("model.mask_noise=1.5", ["model.mask_noise must be in [0, 1], found 1.5"]),
        ("model.image_size=35", ["image_size", "expected tuple", "35"]),
        ("model.image_size=[35, 35, 3]", ["image_size", "expected tuple"]),
        ("model.sprite_size=[2, 2]", ["model.sprite_size must be at least 4, found 2"]),
        ("model.encoder=resnet23", ["encoder", "did you mean 'resnet32'"]),
        ("model.selection=exhaustive", ["model.selection must be greedy"]),
        ("model.layer_transformations=[tints]", ["'tints'", "did you mean 'tint'"]),
        ("model.layer_transformations=[tint, tint]", ["'tint' occurs twice"]),
        ("model.layer_transformations=[tint]", ["model.sprite_size", "such as placement"]),
        ("model.image_size=[40, 40]", ["images are (35, 35)", "(40, 40)"]),
        ("model.channels=1", ["3 channels", "model.channels 1"]),
        ("search.one_look_steps=0", ["search.one_look_steps must be at least 1"]),
        ("search.pairs=2", ["pairs", "expected bool, found 2"]),
        ("data.name=tetromino", ["'tetromino'", "did you mean 'tetrominoes"]),
        ("data.count=0", ["data.count must be at least 1"]),
        ("data.held_out=0", ["data.held_out must be at least 1"]),
        ("data.path=2021-13-45", ["'2021-13-45' is not a YAML value"]),
        ("data.path=3", ["path", "expected", "found 3"]),
        ("data.train_split=tarin", ["'tetrominoes' has no split 'tarin', did you mean 'train'"]),
    ],
)
def test_a_wrong_setting_is_named(capsys, tmp_path, setting, parts):
    refused(capsys, train_command(tmp_path / "run", settings=[*SMALL, setting]), *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--device", "gpu"], ["--device gpu", "use cpu or cuda"]),
        (["--device", "meta"], ["--device meta", "use cpu or cuda"]),
        (["--seed", "-1"], ["seed", "found -1"]),
        (["--seed", str(2**32)], ["seed", f"found {2**32}"]),
        (["--max-steps", "0"], ["max_steps", "found 0"]),
    ],
)
def test_a_wrong_option_is_named(capsys, tmp_path, arguments, parts):
    refused(capsys, train_command(tmp_path / "run", *arguments), *parts)
    assert not (tmp_path / "run").exists()


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DtisError, match="--device cuda: torch finds no CUDA GPU here; use"):
        check_device("cuda")
    assert check_device("cpu") == "cpu"


def test_a_configuration_names_its_file_and_field(tmp_path):
    file = tmp_path / "config.yaml"
    for text, message in [
        ("data: [", "cannot be read as a configuration"),
        ("- 1", "expected a section with fields"),
        ("preset: x\ndata: {name: a}", "field 'model' is missing"),
        ("extends: tetrominoes\nmodle: {layers: 1}", "unknown field 'modle', did you mean 'model'"),
        ("extends: tetromino", "unknown preset 'tetromino'"),
        ("extends: tetrominoes\nmodel: {layers: 1.5}", "model.layers: expected int, found 1.5"),
    ]:
        file.write_text(text)
        with pytest.raises(DtisError, match=message) as caught:
            read_config(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DtisError, match="config.yaml: cannot be read"):
        read_config(file)
    with pytest.raises(DtisError, match="here: model: expected a section"):
        from_dict(load_preset("tetrominoes").to_dict() | {"model": 3}, "here")


# Run folders


def test_a_folder_in_use_is_left_alone(capsys, run):
    path, before = run
    refused(capsys, train_command(path), str(path), "--resume", "--overwrite")
    assert contents(path) == before
    train(small(), path, quiet=True, max_steps=1, overwrite=True)
    assert RunFolder(path).manifest()["step"] == 1


def test_only_the_same_run_is_resumed(capsys, run, tmp_path):
    path, before = run
    other = train_command(path, "--resume", settings=[*SMALL, "training.batch_size=5"])
    refused(capsys, other, "training.batch_size=4, not 5", "--out")
    other = train_command(path, "--resume", settings=[*SMALL, "data.count=33"])
    refused(capsys, other, "data.count=32, not 33")
    refused(capsys, train_command(path, "--resume", "--seed", "1"), "seed 0, not 1")
    assert contents(path) == before
    nowhere = tmp_path / "nowhere"
    refused(capsys, train_command(nowhere, "--resume"), str(nowhere), "not a run folder")
    assert not nowhere.exists()


def garbage(path):
    path.write_bytes(b"not tensors at all")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [garbage, truncated, empty])
def test_damaged_weights_are_named(capsys, run, damage):
    path, _ = run
    damage(path / "model.safetensors")
    damage(path / "trainer.safetensors")
    before = contents(path)
    refused(capsys, ["eval", str(path)], "model.safetensors", "not a readable safetensors file")
    refused(capsys, train_command(path, "--resume"), "trainer.safetensors", "may be truncated")
    assert contents(path) == before


def test_missing_and_unfitting_tensors_are_named(run):
    path, _ = run

    def rewrite(file, change):
        tensors, header = read_tensors(path / file)
        change(tensors)
        save_file(tensors, path / file, header)

    rewrite("model.safetensors", lambda tensors: tensors.pop("sprites.masks"))
    with pytest.raises(DtisError, match="model.safetensors: lacks tensor 'sprites.masks'"):
        load(path)
    rewrite("model.safetensors", lambda t: t.update({"sprites.masks": torch.zeros(1, 1, 24, 24)}))
    with pytest.raises(DtisError, match=r"'sprites.masks' has shape \(1, 1, 24, 24\)"):
        load(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(DtisError, match="model.safetensors: no such weight file"):
        load(path)
    for name in ("usage", "counters", "model.sprites.masks"):
        rewrite("trainer.safetensors", lambda tensors, name=name: tensors.pop(name))
        short = name.removeprefix("model.")
        with pytest.raises(DtisError, match=f"trainer.safetensors: lacks tensor '{short}'"):
            train(small(), path, quiet=True, resume=True)
        rewrite("trainer.safetensors", lambda t, name=name: t.update({name: torch.zeros(4)}))
    with pytest.raises(DtisError, match="'sprites.masks' has shape"):
        train(small(), path, quiet=True, resume=True)


def test_a_checkpoint_without_its_header_is_refused(run):
    path, _ = run
    save_file(read_tensors(path / "trainer.safetensors")[0], path / "trainer.safetensors")
    with pytest.raises(DtisError, match="trainer.safetensors: its header has no step"):
        train(small(), path, quiet=True, resume=True)


def test_damaged_records_are_named(run):
    path, _ = run
    (path / "metrics.jsonl").write_text("{]\n")
    with pytest.raises(DtisError, match="metrics.jsonl: cannot be read as lines of JSON"):
        train(small(), path, quiet=True, resume=True)
    (path / "manifest.json").write_text("{")
    with pytest.raises(DtisError, match="manifest.json: cannot be read as JSON"):
        train(small(), path, quiet=True, resume=True)
    (path / "config.yaml").write_text("model: [")
    with pytest.raises(DtisError, match="config.yaml: cannot be read as a configuration"):
        load(path)


def test_an_unknown_model_is_named():
    with pytest.raises(DtisError, match="'tetromino5' is neither a shipped model nor a run folder"):
        load("tetromino5")


# While training


def test_a_loss_that_is_not_finite_ends_the_run_but_keeps_the_checkpoint(tmp_path, monkeypatch):
    true_loss = DTISprites.loss

    def loss(self, *arguments):
        value, scene = true_loss(self, *arguments)
        return value * (float("nan") if trainer_step[0] == 3 else 1.0), scene

    trainer_step, true_step = [0], Trainer.train_step

    def train_step(self):
        trainer_step[0] = self.step
        return true_step(self)

    monkeypatch.setattr(DTISprites, "loss", loss)
    monkeypatch.setattr(Trainer, "train_step", train_step)
    with pytest.raises(DtisError, match="the loss is nan at step 3; the last checkpoint is kept"):
        train(small(), tmp_path, quiet=True, checkpoint_seconds=0.0)
    folder = RunFolder(tmp_path)
    assert folder.manifest()["status"] == "failed"
    tensors, header = read_tensors(tmp_path / "trainer.safetensors")
    assert header["step"] == "3"
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    monkeypatch.undo()
    assert train(small(), tmp_path, quiet=True, resume=True).manifest()["status"] == "finished"


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_last_checkpoint(run, monkeypatch):
    path, before = run
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(DtisError, match="trainer.safetensors: cannot be written.*No space left"):
        train(small(), path, quiet=True, resume=True)
    after = contents(path)
    kept = ("model.safetensors", "trainer.safetensors", "config.yaml")
    assert all(after[p] == before[p] for p in before if p.name in kept)
    assert not [p for p in after if p.name.startswith(".")]  # no temporary file stays
    monkeypatch.undo()
    assert train(small(), path, quiet=True, resume=True).manifest()["status"] == "finished"


def test_a_file_the_system_cuts_short_does_not_replace_the_old_one(tmp_path):
    file = tmp_path / "weights.safetensors"
    write_tensors(file, {"x": torch.zeros(4)}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DtisError, match="weights.safetensors: cannot be written"):
            write_tensors(file, {"x": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(read_tensors(file)[0]["x"], torch.zeros(4))
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    refused(capsys, train_command(tmp_path / "file" / "run"), "file/run: cannot be made",
            "Not a directory")  # fmt: skip

    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", denied)
    refused(capsys, train_command(tmp_path / "run"), "run/metrics.jsonl", "Permission denied")


# Images


def test_wrong_images_are_described():
    config = small()
    floats = torch.rand(2, 3, 35, 35)
    for images, found in [
        ([[1, 2]], "found list"),
        (random_images(2, size=36), r"found uint8 \(2, 36, 36, 3\); resize"),
        (random_images(2)[0], r"found uint8 \(35, 35, 3\)"),
        (random_images(2).astype(np.int64), r"found int64 \(2, 35, 35, 3\)"),
        (floats.permute(0, 2, 3, 1), r"found float32 \(2, 35, 35, 3\)"),
        (255 * floats, "values from .* to 2"),
        (floats - 1, "values from -"),
        (floats * float("nan"), "values from nan"),
        (np.array([["a"]]), "found <U1"),
    ]:
        wanted = r"images: expected uint8 \(B, 35, 35, 3\) or float \(B, 3, 35, 35\) in \[0, 1\], "
        with pytest.raises(DtisError, match=wanted + ".*" + found):
            as_batch(images, config, torch.device("cpu"))
    accepted = (random_images(2), floats, floats.double(), floats.numpy().astype(np.float64))
    for images in accepted:
        assert as_batch(images, config, torch.device("cpu")).shape == (2, 3, 35, 35)


def test_an_empty_batch_and_no_steps_are_refused(run):
    loaded = load(run[0])
    with pytest.raises(DtisError, match="the batch is empty"):
        loaded.decompose(random_images(0))
    with pytest.raises(DtisError, match="steps: must be at least 1, found 0"):
        loaded.decompose(random_images(1), steps=0)
