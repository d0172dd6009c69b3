"""Settings for anyone's own images, cut schedules, and sprites as files."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from image_writer import save
from PIL import Image

from dtis_core import datasets
from dtis_core.cli import main
from dtis_core.config import TrainingConfig, load_preset
from dtis_core.errors import DtisError
from dtis_core.runs.run_folder import RunFolder
from dtis_core.scenes.run import Run, load
from dtis_core.search.seeking import build_model
from dtis_core.training.own_images import MOMENTS, scaled, settings_for
from dtis_core.training.session import train


@pytest.fixture
def folder(tmp_path):
    """Six pictures of noise, in a folder whose name YAML would misread."""
    folder = tmp_path / "my: photos # 1"
    folder.mkdir()
    for number, picture in enumerate(np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3))):
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def test_one_object_fills_the_image_and_several_do_not(folder):
    one = settings_for(folder, sprites=5, side=32)
    assert (one.preset, one.model.layers, one.model.sprites) == ("photos/fast", 1, 5)
    assert one.model.image_size == one.model.sprite_size == (32, 32)
    assert one.model.mask_sigma == load_preset("photos/fast").model.mask_sigma / 2
    several = settings_for(folder, sprites=2, objects=4, side=64)
    assert (several.preset, several.model.layers) == ("scenes/fast", 4)
    assert several.model.sprite_size == (28, 28) and several.model.mask_sigma == 7
    assert settings_for(folder, 2, 3, sprite_side=20).model.sprite_size == (20, 20)


def test_a_scaled_schedule_keeps_its_proportions():
    config = load_preset("gtsrb8/fast")
    short = scaled(config, 700)
    assert short.training.length == 700
    assert short.training.curriculum == {"projective": 50, "tps": 150}
    for name in MOMENTS:
        before, after = getattr(config.training, name), getattr(short.training, name)
        assert after == (None if before is None else before / 10)
    assert short.model == config.model and short.data == config.data
    assert scaled(load_preset("weizmann/paper"), 150).training.decay_at == [140]
    assert scaled(config, 7000) == config


def test_every_setting_of_the_schedule_is_known_to_be_a_moment_or_not():
    """A field added to TrainingConfig must be scaled, or named here."""
    scaled_apart = {"length", "curriculum", "decay_at"}
    no_moments = {
        "unit", "batch_size", "network_rate", "appearance_rate", "mask_rate", "weight_decay",
        "second_moment", "appearance_late_rate", "decay_sprites", "reassign_below",
        "reassign_every", "extra_sprites", "encoder_rate", "freeze",
    }  # fmt: skip
    names = {field.name for field in fields(TrainingConfig)}
    assert names == {*MOMENTS} | scaled_apart | no_moments


@pytest.mark.whole_runs
@pytest.mark.parametrize("objects", [1, 3])
def test_a_folder_trains_and_its_sprites_are_saved(folder, tmp_path, objects):
    config = scaled(settings_for(folder, 4, objects, side=16, sprite_side=8), 4)
    config = config.override(["training.batch_size=2"])
    run = load(train(config, tmp_path / "run", quiet=True).path)
    data = datasets.load_for(run.config, "all", None)
    assert run.decompose(data.images).reconstruction.shape == (6, 3, 16, 16)
    paths = run.save_sprites(tmp_path / "sprites")
    backgrounds = run.config.model.backgrounds
    assert [path.name for path in paths[3:6]] == [
        "sprite_04.png", "background_01.png", "background_02.png",
    ][: 1 + backgrounds]  # fmt: skip
    assert len(paths) == 4 + backgrounds
    mode, pixels = read(paths[1])
    expected = run.sprites[1].permute(1, 2, 0).numpy() * 255
    assert mode == "RGBA"
    np.testing.assert_allclose(pixels, expected, atol=0.51)
    assert read(paths[4])[0] == "RGB"


def test_sprites_of_one_channel_are_saved_in_grey(tmp_path):
    config = load_preset("photos/fast").override(["model.channels=1", "model.sprites=2"])
    torch.manual_seed(0)
    run = Run(RunFolder(tmp_path), config, build_model(config.model, config.search))
    modes = [read(path)[0] for path in run.save_sprites(tmp_path)]
    assert modes == ["LA", "LA", "L", "L", "L", "L"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"sprites": 0}, "model.sprites must be at least 1"),
        ({"sprites": 3, "objects": 0}, "model.layers must be at least 1"),
        ({"sprites": 3, "side": 30}, "side: must be a multiple of 4 in 16..256, found 30"),
        ({"sprites": 3, "side": 8}, "found 8"),
        ({"sprites": 3, "objects": 2, "sprite_side": 7}, "coarse_until must be 0 where"),
    ],
)
def test_settings_that_cannot_be_are_named(folder, values, problem):
    with pytest.raises(DtisError, match=problem):
        settings_for(folder, **values)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DtisError, match="holds no image"):
        settings_for(tmp_path, 3)
    with pytest.raises(DtisError, match="there is no such folder"):
        settings_for(tmp_path / "nowhere", 3)


def test_a_schedule_has_a_length():
    with pytest.raises(DtisError, match=r"training\.length must be above 0"):
        scaled(load_preset("digits"), 0)


def test_a_training_without_labels_ends_well_and_says_that_nothing_is_scored(tmp_path, capsys):
    for index in range(4):
        save(tmp_path / "photos" / f"{index}.png", 60 * index)
    settings = [f"data.path={tmp_path / 'photos'}", "model.image_size=[16, 16]",
                "model.sprite_size=[16, 16]", "training.batch_size=2"]  # fmt: skip
    arguments = [word for setting in settings for word in ("--set", setting)]
    arguments += ["--out", str(tmp_path / "run"), "--max-steps", "2"]
    assert main(["train", "photos/fast", *arguments]) == 0
    assert "not scored: photos (own images): has no true labels" in capsys.readouterr().out
    assert main(["eval", str(tmp_path / "run")]) == 2  # who asks for scores gets an error
    assert main(["eval", str(tmp_path / "run"), "--path", str(tmp_path)]) == 2
    assert "Name it with --data" in capsys.readouterr().err
