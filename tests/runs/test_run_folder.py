"""Run folders: one writer at a time, records that are what they must be, copies for others."""

import json
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from command_line import contents
from safetensors.torch import save_file
from small_run import same, small, weights

from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import Checkpoint, RunFolder
from dtis_core.storage.weights import read_tensors
from dtis_core.training.session import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of three steps, to be read only."""
    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTIS_CACHE", str(home / "cache"))
        return train(small(), home / "run", quiet=True, max_steps=3)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of that folder."""
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


def rewrite(file, **changes):
    """Replace tensors of a file."""
    tensors, header = read_tensors(file)
    save_file(tensors | changes, file, header)


# Beginning, and beginning again


def test_a_run_is_begun_once(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert not folder.exists
    with pytest.raises(DtisError, match="run: not a run folder"):
        folder.config()
    folder.begin(small(), 3, "0123", "some data")
    assert folder.exists and folder.config() == small() and folder.metrics() == []
    manifest = folder.manifest()
    assert (manifest["seed"], manifest["status"], manifest["step"]) == (3, "running", 0)
    with pytest.raises(DtisError, match="already holds a run; continue it with --resume"):
        folder.begin(small(), 3, "0123", "some data")


def test_clearing_leaves_what_is_not_the_runs(folder):
    own = [folder.path / "notes.txt", folder.path / "sprites" / "hero.png"]
    for file in own:
        file.write_bytes(b"mine")
    folder.clear()
    assert contents(folder.path).keys() == {file.relative_to(folder.path) for file in own}


def test_what_cannot_be_removed_is_named(folder, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(13, os.strerror(13))

    before = contents(folder.path)
    monkeypatch.setattr("pathlib.Path.unlink", denied)
    with pytest.raises(DtisError, match="config.yaml: cannot be removed .Permission denied."):
        folder.clear()
    assert contents(folder.path) == before


@pytest.mark.parametrize(
    ("path", "reason"),
    [("", "is empty"), ("a\0b", "null"), ("~no-such-user/x", "home"), ("x" * 5000, "too long")],
)
def test_what_is_no_path_is_refused(path, reason):
    with pytest.raises(DtisError, match=f"run folder: .*{reason}"):
        RunFolder(path)


def test_a_home_is_spelled_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/run").path == tmp_path / "run"


# One writer at a time


def test_a_second_training_is_told_who_holds_the_folder(folder):
    before = contents(folder.path)
    message = f"run: in use by process {os.getpid()} on .*; wait until it ends"
    with folder.writing():
        for way in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(DtisError, match=message):
                train(small(), folder.path, quiet=True, **way)
    assert contents(folder.path) == before


def test_nothing_is_left_of_a_training_that_did_not_begin(tmp_path):
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "new" / "deep" / "run", tmp_path / "there" / "run"):
        with pytest.raises(DtisError, match="is not read from files"):
            train(small("data.path=."), path, quiet=True)
    assert contents(tmp_path) == {} and list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_a_run_that_is_killed_while_it_begins_is_begun_anew(tmp_path, monkeypatch):
    def killed(self, values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "write_manifest", killed)
        train(small(), tmp_path / "run", quiet=True)
    assert train(small(), tmp_path / "run", quiet=True).manifest()["status"] == "finished"


def test_scenes_that_a_former_run_found_go_with_it(tmp_path):
    found = tmp_path / "found-tetrominoes-validation.safetensors"
    train(small(), tmp_path, quiet=True)
    found.write_bytes(b"")
    train(small(), tmp_path, quiet=True, overwrite=True)
    assert not found.exists()


def test_what_a_killed_writer_left_half_written_goes(folder):
    names = ("model.safetensors", "trainer.safetensors", "manifest.json", "config.yaml")
    stale = [folder.path / f".{name}.a_b1c2d3{os.path.splitext(name)[1]}" for name in names]
    stale.append(folder.path / "sprites" / ".000003.png.abcdefgh.png")
    own = [folder.path / ".model.safetensors.backup", folder.path / ".notes.abcdefgh.txt"]
    own.append(folder.path / "sprites" / ".hero.png.abcdefgh.png")
    locks = [folder.path / ".lock", folder.path / ".manifest.lock"]
    before = contents(folder.path)
    for file in (*stale, *own, *locks):
        file.write_bytes(b"half")
    with folder.writing():
        assert not any(file.exists() for file in stale)
    left = contents(folder.path).keys() - before.keys()
    assert left == {file.relative_to(folder.path) for file in own}


def test_no_score_is_lost_where_several_are_noted_at_once(folder):
    with folder.writing(), ThreadPoolExecutor(8) as pool:  # while the folder is trained in
        noted = pool.map(lambda n: folder.note_scores(f"data/{n}", {"ARI": n / 10}), range(8))
        changed = pool.map(lambda n: folder.update_manifest(step=n), range(8))
        assert len(list(noted)) == len(list(changed)) == 8
    assert folder.manifest()["scores"] == {f"data/{n}": {"ARI": n / 10} for n in range(8)}
    assert not (folder.path / ".manifest.lock").exists()


# Records


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"expected an object with fields, found \[1, 2\]"),
        ("3", "expected an object with fields, found 3"),
        ("{}", "lacks the field 'preset'"),
        (DEEP, "cannot be read as JSON .*nested too deeply"),
        ('{"step": 1' + 5000 * "0" + "}", "cannot be read as JSON .*digits"),
    ],
    ids=["list", "number", "nothing", "deep", "huge"],
)
def test_a_manifest_of_another_shape_is_named(folder, text, message):
    (folder.path / "manifest.json").write_text(text)
    with pytest.raises(DtisError, match=f"manifest.json: {message}"):
        folder.manifest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": "3"}, "'step' must be of type int, found '3'"),
        ({"step": True}, "'step' must be of type int, found True"),
        ({"wall_seconds": None}, "'wall_seconds' must be of type float, found None"),
        ({"scores": []}, r"'scores' must be of type dict, found \[\]"),
        ({"scores": {"a/b": 3}}, "scores on a/b: expected an object with fields, found 3"),
        ({"resumed": [{"step": 3}]}, "resumed: lacks the field 'commit'"),
    ],
)
def test_a_wrong_field_of_the_manifest_is_named(folder, changes, message):
    folder.write_manifest(folder.manifest() | changes)
    with pytest.raises(DtisError, match=f"manifest.json: {message}"):
        folder.manifest()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", r"line 2: expected an object with fields, found \[1\]"),
        ('{"loss": 1.0}', "line 2: lacks the field 'step'"),
        ('{"step": 1.5, "loss": 1.0}', "line 2: 'step' must be of type int, found 1.5"),
        ('{"step": 1, "loss": null}', "line 2: 'loss' must be of type float, found None"),
        (DEEP, "cannot be read as lines of JSON"),
    ],
    ids=["list", "no step", "half a step", "no loss", "deep"],
)
def test_metrics_of_another_shape_are_named(folder, line, message):
    file = folder.path / "metrics.jsonl"
    file.write_text(json.dumps({"step": 1, "loss": 1}) + f"\n{line}\n")
    with pytest.raises(DtisError, match=f"metrics.jsonl: {message}"):
        folder.metrics()


# Weights


def bad(value, like):
    values = torch.zeros_like(like)
    values.view(-1)[-1] = value
    return values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(folder, tmp_path, value):
    file = folder.path / "model.safetensors"
    rewrite(file, **{"sprites.masks": bad(value, read_tensors(file)[0]["sprites.masks"])})
    message = "model.safetensors: tensor 'sprites.masks' holds nan or infinity"
    with pytest.raises(DtisError, match=message):
        folder.model()
    with pytest.raises(DtisError, match=message):
        folder.export(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sprites.masks", torch.zeros(()), r"has shape \(\)"),
        ("sprites.appearances", torch.zeros(()), r"has shape \(\)"),
        ("sprites.masks", torch.zeros(4, 1, 24, 24, dtype=torch.int32), "is of torch.int32"),
        ("sprites.masks", torch.zeros(4, 1, 24, 24, dtype=torch.complex64), "is of torch.co"),
        (
            "sprites.masks",
            torch.full((4, 1, 24, 24), 1e300, dtype=torch.float64),
            "holds nan or inf",
        ),
    ],
)
def test_weights_of_another_kind_are_refused(folder, name, values, message):
    rewrite(folder.path / "model.safetensors", **{name: values})
    with pytest.raises(DtisError, match=f"model.safetensors: tensor '{name}' {message}"):
        folder.model()


def test_weights_too_large_for_half_precision_are_exported_whole(folder, tmp_path):
    file = folder.path / "model.safetensors"
    large = bad(7e4, read_tensors(file)[0]["sprites.masks"])
    rewrite(file, **{"sprites.masks": large})
    copy = folder.export(tmp_path / "copy")
    tensors = read_tensors(copy.path / "model.safetensors")[0]
    assert tensors["sprites.masks"].dtype == torch.float32
    assert tensors["sprites.appearances"].dtype == torch.float16
    assert torch.equal(copy.model().sprites.masks, large)
    full = folder.export(tmp_path / "full", half=False)
    assert same(weights(full.model()), weights(folder.model()))


def test_a_state_that_is_not_finite_does_not_replace_the_last_one(folder):
    before = contents(folder.path)
    checkpoint = folder.checkpoint()
    state = checkpoint.state | {"usage": bad(math.nan, checkpoint.state["usage"])}
    with pytest.raises(DtisError, match="'usage' holds nan or infinity at step 4; the last check"):
        folder.save(Checkpoint(state, 4, 1.0), {}, "running", torch.device("cpu"))
    assert contents(folder.path) == before


@pytest.mark.parametrize(
    "header", [{"step": "-1"}, {"step": "x"}, {"wall_seconds": "nan"}, {"wall_seconds": "-1"}]
)
def test_a_checkpoints_header_is_checked(folder, header):
    tensors, former = read_tensors(folder.checkpoint_file)
    save_file(tensors, folder.checkpoint_file, former | header)
    with pytest.raises(DtisError, match="its header has no step and wall_seconds"):
        folder.checkpoint()
