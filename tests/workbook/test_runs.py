"""The runs of a notebook: recorded ones as they are, missing ones named, or all trained anew."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import SMALL, random_images

from dtis_core.errors import DtisError
from dtis_core.paths import SHIPPED
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import load
from dtis_core.scoring.results import own_scores
from dtis_core.workbook.runs import (
    runs_or_train,
    samples_of,
    say_what_is_missing,
    scenes_of,
)

pytestmark = pytest.mark.whole_runs

RECIPE = ("tetrominoes/fast", SMALL, 3)
PHOTOS = [
    "model.image_size=[16, 16]", "model.sprite_size=[16, 16]", "model.sprites=2", "data.count=4",
    "data.held_out=2", "training.batch_size=2",
]  # fmt: skip


def test_recorded_runs_come_as_they_are_in_the_order_asked_for(tmp_path, capsys):
    runs = runs_or_train({"tetrominoes": RECIPE, "digits": RECIPE}, False, home=tmp_path)
    assert {name: run.path for name, run in runs.items()} == {
        "tetrominoes": SHIPPED / "tetrominoes",
        "digits": SHIPPED / "digits",
    }
    assert list(runs) == ["tetrominoes", "digits"]
    assert not capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_run_without_a_record_is_named_with_the_command_that_makes_it(capsys):
    wanted = {"digits": RECIPE, "digits-9": ("digits/fast", ["model.sprites=9"], 4)}
    assert list(runs_or_train(wanted, False)) == ["digits"]
    command = "dtis train digits/fast --set 'model.sprites=9' --seed 4 --out runs/digits-9"
    assert capsys.readouterr().out == f"not run: {command}\n"


def test_retrain_makes_each_run_from_its_recipe_and_scores_it(tmp_path):
    wanted = {"a": RECIPE, "b": ("tetrominoes/fast", [*SMALL, "model.sprites=5"], 0)}
    runs = runs_or_train(wanted, True, home=tmp_path)
    assert {name: run.path for name, run in runs.items()} == {n: tmp_path / n for n in wanted}
    assert [run.config().model.sprites for run in runs.values()] == [4, 5]
    assert [run.manifest()["seed"] for run in runs.values()] == [3, 0]
    assert [run.manifest()["status"] for run in runs.values()] == ["finished", "finished"]
    assert own_scores(runs["a"])["images"] == 4


def test_steps_cut_the_whole_schedule_and_a_former_run_is_replaced(tmp_path):
    epochs = ["training.unit=epoch", "training.length=3", "training.cosine_from=2"]
    epochs += ["training.warm_up=1", "training.frozen=1"]
    wanted = {"a": ("tetrominoes/fast", [*SMALL, *epochs], 0)}
    former = RunFolder(SHIPPED / "digits").config()
    RunFolder(tmp_path / "a").begin(former, 0, fingerprint="0" * 16, data_name="digits (real)")
    schedule = runs_or_train(wanted, True, steps=6, home=tmp_path)["a"].config().training
    assert (schedule.length, schedule.unit) == (6, "step")
    assert (schedule.cosine_from, schedule.frozen, schedule.warm_up) == (4, 2, 2)


def test_data_without_labels_train_too_and_say_that_they_have_no_scores(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(random_images(4, size=16)):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    settings = [f"data.path={tmp_path / 'photos'}", *PHOTOS]
    runs = runs_or_train({"mine": ("photos/fast", settings, 0)}, True, steps=2, home=tmp_path)
    assert runs["mine"].manifest()["step"] == 2 and "scores" not in runs["mine"].manifest()
    assert "mine: not scored, for its data has no labels" in capsys.readouterr().out


def test_data_that_cannot_be_had_say_so(tmp_path):
    settings = [f"data.path={tmp_path / 'nothing'}"]
    with pytest.raises(DtisError, match="nothing: there is no such folder"):
        runs_or_train({"mine": ("photos/fast", settings, 0)}, True, home=tmp_path)


def test_scenes_of_images_that_are_not_here_are_drawn_as_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DTIS_DATA", str(tmp_path))
    run = load("gtsrb8")
    scene, images = scenes_of(run, [0, 3])
    assert images is None and scene.reconstruction.shape == (2, 3, 28, 28)
    assert capsys.readouterr().out == "without data: 2 images drawn from what was kept of them\n"
    with pytest.raises(DtisError, match="no scenes were kept"):
        scenes_of(run, [0], "weizmann", "all")


def test_scenes_of_images_at_hand_are_found_in_them(capsys):
    run = load("digits")
    scene, images = scenes_of(run, [5, 2])
    assert torch.equal(scene.reconstruction, run.decompose(images.images).reconstruction)
    assert len(images) == 2 and not capsys.readouterr().out


def test_samples_are_the_images_or_what_was_found_in_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DTIS_DATA", str(tmp_path))
    pictures, labels = samples_of(load("digits"), [5, 2])
    assert pictures.shape == (2, 16, 16, 3) and labels is None and not capsys.readouterr().out
    pictures, labels = samples_of(load("gtsrb8"), [0, 3])
    found, _ = scenes_of(load("gtsrb8"), [0, 3])
    assert np.array_equal(pictures, found.reconstruction.permute(0, 2, 3, 1))
    assert np.array_equal(labels, found.instance_map)
    assert capsys.readouterr().out.count("without data: 2 images") == 2


def test_what_is_missing_is_said_and_nothing_of_what_is_here(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DTIS_DATA", str(tmp_path))
    say_what_is_missing("digits", "all", "digits")
    assert not capsys.readouterr().out
    say_what_is_missing("weizmann", "all", "horses")
    assert capsys.readouterr().out.startswith("not here: horses; data/README.md says")
    say_what_is_missing("svhn", "all", "digits", "their facts")
    assert capsys.readouterr().out.endswith("Shown in their place: their facts.\n")
