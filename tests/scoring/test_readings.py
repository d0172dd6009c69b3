"""How far one look is off: measured where it is known, and known symmetries of sprites."""

import math
from dataclasses import replace

import pytest
import torch

import dtis_core as dtis
from dtis_core import datasets
from dtis_core.errors import DtisError
from dtis_core.pictures import to_tensor
from dtis_core.scoring.readings import matched, periods, readings
from dtis_core.training.dreams import Composed, Dreams


@pytest.fixture(scope="module")
def run():
    return dtis.load("multi-dsprites")


@pytest.fixture(scope="module")
def images(run):
    return datasets.load_for(run.config, "validation", 6).images


def test_a_layer_that_was_moved_is_read_as_far_off_as_that(run, images, monkeypatch):
    model = run.model
    shift = torch.tensor([3 / 32, 0.0])  # 3 pixels of 64

    def moved(self, found):
        layer, sprite = found.prediction.layer.clone(), found.prediction.sprite.clone()
        at = model.predictor.at
        layer[..., at] = torch.atanh(torch.tanh(layer[..., at]) + shift)
        sprite[..., model.angle] += math.radians(5 + 360)
        chosen = found.selection.sprites
        return Composed(to_tensor(images), chosen, layer, sprite, chosen > 0)

    monkeypatch.setattr(Dreams, "scenes", moved)
    off = readings(run, images)
    assert off["found"] == 1
    assert off["centre"] == pytest.approx(3, abs=1e-3)
    assert off["scale"] == pytest.approx(0, abs=1e-3)
    assert off["angle"] == pytest.approx(5, abs=1e-2)


def test_a_near_pair_is_not_given_up_for_two_farther_ones(run, images):
    found = run.decompose(images[:1])
    at, layer = run.model.predictor.at, found.decomposition.prediction.layer  # (1, L, P)
    true = layer[:, :2].clone()

    def put(layers, places):  # in pixels along x
        layers[..., at] = 0
        layers[0, :2, at.start] = torch.atanh(torch.tensor(places) / 32)

    put(true, [0.0, 13.0])
    put(layer, [3.0, -5.0])
    sprites = torch.ones(1, 2, dtype=torch.long)
    found.decomposition.selection.sprites[:] = 0
    found.decomposition.selection.sprites[0, :2] = 1
    own = found.decomposition.prediction.sprite[:, :2]  # (1, 2, K, R)
    composed = Composed(to_tensor(images[:1]), sprites, true, own, sprites > 0)
    assert [part.tolist() for part in matched(run.model, composed, found)] == [[0], [0], [0]]


def test_the_shipped_model_reads_fine_places_and_angles(run, images):
    off = readings(run, images)
    assert off["found"] > 0.7
    assert off["centre"] < 0.5
    assert off["scale"] < 3
    assert off["angle"] < 3  # of up to 45


def test_a_model_that_finds_nothing_has_nothing_to_be_off(run, images, monkeypatch):
    unseen = Dreams.scenes

    def none(self, found):
        scenes = unseen(self, found)
        return replace(scenes, seen=torch.zeros_like(scenes.seen))

    monkeypatch.setattr(Dreams, "scenes", none)
    assert readings(run, images[:1]) == {"found": 0}


def test_one_seed_composes_one_set_of_scenes(run, images):
    assert readings(run, images[:2]) == readings(run, images[:2])
    assert readings(run, images[:2]) != readings(run, images[:2], seed=1)


def test_sprites_have_the_symmetry_that_they_have():
    masks = torch.zeros(3, 8, 8)
    masks[0, 2:6, 2:6] = 1  # a square
    masks[1, 1:7, 3:5] = 1  # a bar
    masks[2, 1:7, 3:5] = masks[2, 1:3, 3:7] = 1  # a flag
    assert periods(masks).tolist() == [90, 180, 360]
    assert periods(masks[:, :, 1:7]).tolist() == [90, 180, 360]  # not a square image
    assert periods(masks[1:, :, :7]).tolist() == [180, 360]  # nor by an even number
    assert periods(masks[1:, :7].mT).tolist() == [180, 360]


def test_models_without_our_placement_are_refused(images):
    with pytest.raises(DtisError, match="placed by our predictor"):
        readings(dtis.load("digits"), images)
