"""The fovea: angles as vectors, crops where a layer is, and what learns from what it reads."""

import math
from dataclasses import replace

import pytest
import torch

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.model.transformations import Similarity
from dtis_core.search.fovea import OFFSET, Glance, angles_of, vectors_of
from dtis_core.search.seeking import build_model
from dtis_core.search.transformations import Rotation

SETTINGS = [
    "model.image_size=[20, 20]", "model.sprite_size=[12, 12]", "model.mask_sigma=3",
    "model.layers=2", "model.sprite_transformations=[rotation]", "search.fovea=true",
    "search.harmonics=[1, 2, 4]", "training.curriculum={}",
]  # fmt: skip


def a_model(*settings, seed=0):
    config = load_preset("multi-dsprites").override([*SETTINGS, *settings])
    torch.manual_seed(seed)
    model = build_model(config.model, config.search)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1 - 0.05)
    return model


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_an_angle_is_among_those_that_its_vector_leaves_open(m):
    angle = torch.rand(50, dtype=torch.float64) * 2 * math.pi
    found = angles_of(vectors_of(angle, [m]), [m])
    assert found.shape == (50, m)
    off = (found - angle[:, None]) / (2 * math.pi)
    off = (off - off.round()).abs()
    assert off.amin(dim=1).max() < 1e-9
    apart = (found[:, 1:] - found[:, :-1]) * m / (2 * math.pi)
    torch.testing.assert_close(apart, torch.ones_like(apart))


def test_a_rotation_is_a_similarity_that_only_turns():
    angle = torch.randn(5, 1)
    only = torch.cat([angle, torch.zeros(5, 3)], dim=1)
    assert torch.equal(Rotation(3).matrix(angle), Similarity(3).matrix(only))


def test_crops_are_taken_where_the_layer_is():
    torch.manual_seed(0)
    glance = Glance(3, 2, (6, 1, 2), (0.4, 0.4))
    images = torch.rand(2, 6, 30, 30)
    shifted = torch.roll(images, (3, 6), (2, 3))
    here = glance(images, torch.tensor([[-0.2, -0.2]] * 2), torch.ones(2))
    there = glance(shifted, torch.tensor([[0.2, 0.0]] * 2), torch.ones(2))  # 6 and 3 pixels of 15
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other)
    assert here.vectors.shape == (2, 2, 2, 2) and here.sprite.shape == (2, 2, 1)


def test_a_crop_of_half_the_size_shows_what_is_twice_as_large():
    torch.manual_seed(0)
    glance = Glance(3, 2, (6, 1, 2), (0.4, 0.4))
    x = torch.linspace(-1, 1, 31)[:-1] + 1 / 30  # pixel centres
    images = (x[:, None] + 2 * x).expand(2, 6, 30, 30)  # half as steep is twice as large
    whole = glance(images / 2, torch.zeros(2, 2), torch.ones(2))
    half = glance(images, torch.zeros(2, 2), torch.full((2,), 0.5))
    for one, other in zip(whole, half, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_each_glance_goes_where_the_one_before_leads():
    model = a_model().eval()
    fovea, images = model.predictor.fovea, torch.rand(2, 6, 20, 20)
    place = torch.tensor([[0.1, -0.3], [0.4, 0.2]])
    with torch.no_grad():
        first, second, third = fovea(images[:, :3], images[:, 3:], place)
        both = torch.cat([4 * (images[:, :3] - images[:, 3:]), 2 * (images[:, :3] - 0.5)], dim=1)
        placement = model.sequences[0].modules[1]
        size = placement.enlargement(first.layer[:, 3:])
        reading = fovea.glances[1](both, first.place, size)
        again = fovea.glances[1](both, second.place, placement.enlargement(second.layer[:, 3:]))
    assert (size != 1).all()
    torch.testing.assert_close(second.unit, OFFSET * size)
    moved = first.place + second.unit[:, None] * reading.layer[:, fovea.at]
    torch.testing.assert_close(second.place, moved)
    assert not first.layer[:, fovea.at].any() and not second.layer[:, fovea.at].any()
    others = [0, 1, 2, 3]  # three channels, and the size
    torch.testing.assert_close((second.layer - first.layer)[:, others], reading.layer[:, others])
    torch.testing.assert_close(second.vectors, reading.vectors)
    torch.testing.assert_close(third.vectors, again.vectors)


def test_candidates_are_every_sprite_at_every_open_angle_and_the_chosen_one_is_kept():
    model = a_model().eval()
    images = torch.rand(4, 3, 20, 20)
    with torch.no_grad():
        prediction = model.predictor(torch.cat([images, images * 0.5], dim=1))
        candidates = model.seen_candidates(prediction)
        scene = model(images)
    assert prediction.angles.shape == (4, 1, 3, 7)
    assert candidates.alphas.shape[1] == 3 * 7
    angles, chosen = scene.prediction.angles, scene.selection.sprites
    sprite = scene.prediction.sprite[..., model.angle]
    for b, layer in (chosen > 0).nonzero().tolist():
        k = chosen[b, layer] - 1
        assert (angles[b, layer, k] - sprite[b, layer, k]).abs().min() < 2  # one of them, and read
    assert scene.selection.sprites.max() <= 3


def test_attention_learns_from_where_the_fovea_finds_the_layer():
    model = a_model("model.empty_sprite=false").train()
    images = torch.rand(4, 3, 20, 20)
    model.loss(images)[0].backward()
    assert model.predictor.look.scores.weight.grad.abs().max() > 0
    for glance in model.predictor.fovea.glances:
        assert glance.layer.weight.grad.abs().max() > 0


def test_the_place_is_the_attended_one_and_the_offsets():
    model = a_model().eval()
    images = torch.rand(3, 6, 20, 20)
    at = model.predictor.at
    with torch.no_grad():
        model.predictor.fovea.in_use = False
        coarse = torch.tanh(model.predictor(images).layer[:, 0, at])
        model.predictor.fovea.in_use = True
        fine = torch.tanh(model.predictor(images).layer[:, 0, at])
        estimate = model.predictor.fovea(images[:, :3], images[:, 3:], coarse)[-1]
    torch.testing.assert_close(fine, estimate.place)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("search.looks=image\nsearch.depths=given", "search.fovea must be false without residual"),
        ("search.head=pooled", "search.fovea must be false without residual looks, attention"),
        ("model.sprite_transformations=[]\nsearch.turns=1\nsearch.inference_turns=1",
         "search.harmonics must be empty without search.fovea, similarity or rotation"),
        ("search.harmonics=[0]", "search.harmonics"),
    ],
)  # fmt: skip
def test_foveas_that_cannot_be(setting, problem):
    with pytest.raises(DtisError, match=problem):
        load_preset("multi-dsprites").override([*SETTINGS, "search.views=1", *setting.split("\n")])


def test_without_harmonics_it_reads_all_but_angles():
    model = a_model("search.harmonics=[]", "search.turns=2")
    model.search = replace(model.search, inference_turns=None)
    scene = model.eval()(torch.rand(2, 3, 20, 20))
    assert scene.prediction.angles.shape[-1] == 0 and model.turns == 2
