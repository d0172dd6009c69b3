"""`dtis keep`: the scenes of the first images, and what is known of every one."""

import numpy as np
import pytest
from fake_console import dots_run, with_dots
from small_run import SMALL

from dtis_core.cli import main
from dtis_core.datasets import SceneDataset, atari
from dtis_core.scenes.found import load_facts, load_found
from dtis_core.scenes.run import load
from dtis_core.scoring import keep as keeping
from dtis_core.scoring.keep import facts
from dtis_core.scoring.metrics import adjusted_rand_index

CHOSEN = np.array([2, 2, 1])
INSTANCES = np.array([[[0, 1], [1, 1]], [[0, 0], [0, 1]], [[2, 1], [1, 0]]])


def dataset(masks, categories):
    images = np.zeros((3, 2, 2, 3), np.uint8)
    return SceneDataset("tiny", images, masks, categories)


def test_of_images_with_a_class_each_it_counts_the_sprites():
    data = dataset(None, np.array([[1], [2], [2]]))
    known = facts(data, CHOSEN, INSTANCES, sprites=3)
    assert known["confusion"].tolist() == [[0, 1, 0], [1, 1, 0]]
    known = facts(data, np.array([0, 2, 1]), INSTANCES, sprites=3)  # 0 is the empty sprite
    assert known["confusion"].tolist() == [[0, 0, 0], [1, 1, 0]]


def test_of_masks_of_one_object_it_gives_each_images_accuracy_and_that_of_background():
    masks = np.array([[[0, 1], [1, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 1]]], np.uint8)
    known = facts(dataset(masks, np.ones((3, 1), int)), CHOSEN, INSTANCES, sprites=3)
    assert known["accuracy"].tolist() == [1, 0.25, 0]
    assert known["background"].tolist() == [0.25, 0, 0.75]


def test_of_scenes_it_gives_each_images_ari():
    masks = np.array([[[0, 1], [1, 2]], [[0, 0], [0, 1]], [[0, 1], [1, 2]]], np.uint8)
    known = facts(dataset(masks, np.ones((3, 2), int)), CHOSEN, INSTANCES, sprites=3)
    assert known["ARI"].tolist() == list(map(adjusted_rand_index, masks, INSTANCES))


def test_without_truth_nothing_is_known():
    assert facts(dataset(None, None), CHOSEN, INSTANCES, sprites=3) == {}
    assert facts(dataset(None, np.ones((3, 2), int)), CHOSEN, INSTANCES, sprites=3) == {}


def test_of_games_it_keeps_where_things_are(monkeypatch, tmp_path):
    with_dots(monkeypatch, tmp_path / "cache")
    run = dots_run(tmp_path / "run")
    monkeypatch.setattr(keeping, "load", lambda name: run)
    keeping.keep("run", count=3)
    known, played = (
        load_facts(run, "atari-dots", "validation"),
        atari.play("dots", "validation", 20),
    )
    assert np.array_equal(known["places"], played.places)
    assert np.array_equal(known["shown"], played.shown)
    found = load_found(run, "atari-dots", "validation", [2])
    assert found.sprite_index.tolist() == run.decompose(played.images[2:3]).sprite_index.tolist()


@pytest.mark.whole_runs
def test_the_command_keeps_scenes_beside_the_run(tmp_path, capsys):
    out, settings = tmp_path / "run", [word for text in SMALL for word in ("--set", text)]
    assert main(["train", "tetrominoes", "--out", str(out), *settings]) == 0
    capsys.readouterr()
    assert main(["keep", str(out), "--count", "3"]) == 0
    file = out / "found-tetrominoes-validation.safetensors"
    assert capsys.readouterr().out == f"kept: {file}\n" and file.is_file()
    run = load(out)
    assert len(load_facts(run, "tetrominoes", "validation")["ARI"]) == 4  # data.held_out
    assert len(load_found(run, "tetrominoes", "validation", [0, 2]).sprite_index) == 2


@pytest.mark.whole_runs
def test_a_count_of_none_is_refused(capsys):
    assert main(["keep", "tetrominoes", "--count", "0"]) == 2
    assert "--count: must be at least 1, found 0" in capsys.readouterr().err


@pytest.mark.whole_runs
def test_a_path_without_the_name_of_its_data_is_refused(capsys):
    assert main(["keep", "tetrominoes", "--path", "photos"]) == 2
    assert "--path photos: of which data?" in capsys.readouterr().err
