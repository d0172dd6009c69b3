"""The registry of datasets, their requests and splits, and the dataset itself."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dtis_core import datasets, paths
from dtis_core.config import load_preset
from dtis_core.datasets import Request, SceneDataset, part
from dtis_core.errors import DtisError


@pytest.fixture
def requests(monkeypatch, tmp_path):
    """The requests made to "mine", the only dataset: 6 x 8 images. `tmp_path` is DTIS_DATA."""
    monkeypatch.setattr(datasets, "DATASETS", {})
    monkeypatch.setenv("DTIS_DATA", str(tmp_path))
    made = []

    @datasets.register("mine")
    def load_mine(request):
        made.append(request)
        return SceneDataset("my images", np.zeros((3, 6, 8, 3), np.uint8), None, None)

    return made


def test_unknown_names_are_answered_with_a_suggestion():
    with pytest.raises(DtisError, match="unknown dataset 'tetromino', did you mean 'tetrominoes'"):
        datasets.load("tetromino")
    for name in ("tetrominoes", "tetrominoes-official"):
        with pytest.raises(
            DtisError, match=f"'{name}' has no split 'finale', did you mean 'final'"
        ):
            datasets.load(name, "finale")


def test_a_wrong_count_or_seed_is_refused_before_anything_is_read(requests):
    with pytest.raises(DtisError, match="count is 0; ask for at least 1 image of 'mine'"):
        datasets.load("mine", count=0)
    with pytest.raises(DtisError, match="seed is -1"):
        datasets.load("mine", seed=-1)
    assert not requests


def test_a_registered_loader_gets_what_load_was_given(requests, tmp_path):
    assert datasets.load("mine").name == "my images"
    datasets.load("mine", "extra", 5, seed=2, root="elsewhere", size=(4, 6))
    datasets.load("mine", root="~/pictures")
    assert requests == [
        Request("train", None, 0, tmp_path, None),
        Request("extra", 5, 2, Path("elsewhere"), (4, 6)),
        Request("train", None, 0, Path.home() / "pictures", None),
    ]


def test_a_folder_for_data_without_files_is_refused(tmp_path):
    with pytest.raises(DtisError, match="'digits' is not read from files; leave --path"):
        datasets.load("digits", root=tmp_path)


def config(*settings):
    return load_preset("tetrominoes").override(
        ["data.name=mine", "model.image_size=[6, 8]", *settings]
    )


def test_a_configuration_names_its_data_folder_and_size(requests, tmp_path):
    assert len(datasets.load_for(config(), "validation")) == 3
    datasets.load_for(config("data.path=elsewhere"), "train", 2)
    assert requests == [
        Request("validation", None, 0, tmp_path, (6, 8)),
        Request("train", 2, 0, Path.cwd() / "elsewhere", (6, 8)),
    ]


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("model.image_size=[8, 6]", r"model.image_size is \(8, 6\) and model.channels 3"),
        ("model.channels=1", r"model.image_size is \(6, 8\) and model.channels 1"),
    ],
)
def test_images_of_another_size_than_the_models_are_refused(requests, setting, wanted):
    with pytest.raises(DtisError, match=r"my images: images are \(6, 8\) with 3 ch.*" + wanted):
        datasets.load_for(config(setting), "train")


@pytest.mark.parametrize("total", [0, 4, 5, 23])
def test_every_fifth_is_held_out_and_nothing_is_lost(total):
    splits = ("all", "train", "validation")
    whole, train, held_out = (part(total, split, "mine") for split in splits)
    assert held_out.tolist() == list(range(4, total, 5))
    assert sorted([*train, *held_out]) == whole.tolist() == list(range(total))
    assert (np.diff(train) > 0).all()


def test_a_part_that_is_none_is_refused():
    with pytest.raises(DtisError, match="'mine' has no split 'trian', did you mean 'train'"):
        part(9, "trian", "mine")


def test_folders_default_to_the_clone(monkeypatch):
    for variable in ("DTIS_DATA", "DTIS_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    assert (paths.data_root().parent / "dtis_core" / "datasets").is_dir()
    assert paths.cache_dir() == paths.data_root() / "cache"


# The dataset


def small_scenes():
    images = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
    masks = np.array([[[0, 1], [2, 2]], [[1, 1], [0, 0]], [[0, 0], [0, 2]]], np.uint8)
    return SceneDataset("small", images, masks, np.array([[4, 7], [5, 0], [0, 6]]))


def test_semantic_masks_and_subsets():
    scenes = small_scenes()
    expected = [[[0, 4], [7, 7]], [[5, 5], [0, 0]], [[0, 0], [0, 6]]]
    assert scenes.semantic_masks().tolist() == expected
    chosen = scenes.subset([2, 0])
    assert chosen.semantic_masks().tolist() == [expected[2], expected[0]]
    assert np.array_equal(chosen.images, scenes.images[[2, 0]])
    assert len(scenes.take(2)) == 2 and len(scenes.take(9)) == 3
    assert scenes.take(9).fingerprint == scenes.fingerprint != chosen.fingerprint


def test_fingerprint_changes_with_every_part():
    scenes = small_scenes()
    changed = [{"name": "other"}, {"masks": None}, {"categories": scenes.categories + 1}]
    changed.append({"images": scenes.images[:, ::-1]})
    variants = [dataclasses.replace(scenes, fingerprint="", **change) for change in changed]
    digits = {scenes.fingerprint, *(variant.fingerprint for variant in variants)}
    assert len(digits) == 5 and all(len(d) == 16 and int(d, 16) >= 0 for d in digits)


def test_unlabelled_scenes():
    scenes = SceneDataset("photos", small_scenes().images, None, None)
    assert scenes.take(1).masks is None
    with pytest.raises(DtisError, match="photos has no masks with categories"):
        scenes.semantic_masks()
