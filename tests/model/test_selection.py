"""Algorithm 1, exhaustive search and the whole model against the loops of `oracle.py`."""

import pytest
import torch
from oracle import Oracle
from random_models import MODELS, check_equality, draw_config

from dtis_core.config import SearchConfig
from dtis_core.model.composition import ordered_occlusion
from dtis_core.model.selection import exhaustive_selection, greedy_selection
from dtis_core.model.transformations import TRANSFORMATIONS


@pytest.mark.parametrize("number", MODELS)
def test_the_paper_equals_its_loops(number):
    check_equality(number, SearchConfig(), Oracle)


@pytest.mark.parametrize(("penalty", "used"), [(0.3, 0), (0.2, 1), (0.001, 2)])
def test_the_penalty_decides_how_many_sprites_are_used(penalty, used):
    image = torch.full((1, 1, 4, 4), 0.5)  # error 0.25 without a sprite,
    alphas = torch.full((1, 2, 1, 1, 4, 4), 0.9)  # 0.0025 with one, almost nothing with two
    colours = torch.full((1, 2, 1, 1, 4, 4), 0.5)
    occlusion, backgrounds = ordered_occlusion(1, 2, image), torch.zeros(1, 0, 1, 4, 4)
    rules = {"penalty": penalty, "empty": True}
    candidates = list(zip(alphas.unbind(1), colours.unbind(1), strict=True))
    whole = exhaustive_selection(image, occlusion, backgrounds, candidates, **rules)
    assert (whole.sprites > 0).sum() == used
    greedy = greedy_selection(image, occlusion, backgrounds, candidates, steps=1, **rules)
    assert (greedy.sprites > 0).sum() == used


def test_the_models_miss_nothing():
    configs = [draw_config(number) for number in MODELS]
    assert {c.layers for c in configs} == {1, 2, 3, 4}
    assert {c.sprites for c in configs} == {1, 2, 3, 4, 5}
    assert {c.backgrounds for c in configs} == {0, 1, 2}
    assert {c.channels for c in configs} == {1, 3}
    for part in ("layer", "sprite", "background"):
        drawn = {name for c in configs for name in getattr(c, f"{part}_transformations")}
        assert drawn == set(TRANSFORMATIONS), part
    ways = ["greedy", "exhaustive"]
    for field, values in {
        "occlusion": ("fixed", "predicted"),
        "empty_sprite": (False, True),
        "mask_noise": (0.0, 0.4),
        "encoder": ("small", "resnet32"),
    }.items():
        drawn = {(c.selection, getattr(c, field)) for c in configs}
        missing = {(way, value) for way in ways for value in values} - drawn
        assert not missing or field == "encoder", missing
