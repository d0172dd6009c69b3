"""Scenes drawn by CLEVR's rules, measured again."""

import itertools
from collections import Counter

import numpy as np
import pytest

from dtis_core.rendering.sampling import (
    CAMERA,
    CATEGORIES,
    COLOURS,
    MATERIALS,
    SHAPES,
    SIZES,
    directions,
    sample,
)


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    return [sample(rng, 3 + index % 4) for index in range(400)]


def pairs(scene):
    return itertools.combinations(scene.solids, 2)


def test_a_scene_has_as_many_objects_as_asked_for(scenes):
    assert [len(scene.solids) for scene in scenes] == [3 + index % 4 for index in range(400)]
    assert len(sample(np.random.default_rng(0), 10).solids) == 10


def test_objects_lie_in_the_square_and_never_nearer_than_the_gap(scenes):
    for scene in scenes:
        assert all(max(abs(solid.x), abs(solid.y)) <= 3 for solid in scene.solids)
    gaps = []
    for one, other in itertools.chain.from_iterable(map(pairs, scenes)):
        # What a shape needs of the ground: a cube half its diagonal, however it is turned.
        reach = [SIZES[s.size] * (2**0.5 if s.shape == "cube" else 1) for s in (one, other)]
        gaps.append(np.hypot(one.x - other.x, one.y - other.y) - sum(reach))
    assert 0.25 <= min(gaps) < 0.35


def test_objects_keep_their_margin_as_the_camera_sees_them(scenes):
    margins = []
    for scene in scenes:
        towards = -scene.camera[:2] / np.hypot(*scene.camera[:2])
        for one, other in pairs(scene):
            offset = complex(one.x - other.x, one.y - other.y) / complex(*towards)
            margins += [abs(offset.real), abs(offset.imag)]  # along the camera's view, and across
    assert 0.4 <= min(margins) < 0.42


def test_right_and_behind_are_the_cameras():
    right, behind = directions(CAMERA)
    assert np.allclose([right @ right, behind @ behind, right @ behind], [1, 1, 0])
    assert behind @ CAMERA[:2] < 0
    assert np.cross([*behind, 0], [*right, 0])[2] < 0  # clockwise from what is ahead


def test_kinds_are_drawn_uniformly(scenes):
    solids = [solid for scene in scenes for solid in scene.solids]
    for name, kinds in (
        ("shape", SHAPES), ("material", MATERIALS), ("size", SIZES), ("colour", COLOURS)
    ):  # fmt: skip
        counts = Counter(getattr(solid, name) for solid in solids)
        assert counts.keys() == set(kinds)
        assert min(counts.values()) > 0.75 * len(solids) / len(kinds)


def test_camera_and_lights_are_shaken_within_their_bounds(scenes):
    cameras = np.array([scene.camera - CAMERA for scene in scenes])
    shifts = np.array([scene.shifts for scene in scenes])
    assert shifts.shape == (400, 3, 3)
    for values, most in ((cameras, 0.5), (shifts, 1.0)):
        assert 0.95 * most < np.abs(values).max() <= most


def test_categories_are_those_of_the_loader():
    assert CATEGORIES["cube", "rubber"] == 1 and CATEGORIES["sphere", "metal"] == 4
    assert sorted(CATEGORIES.values()) == [1, 2, 3, 4, 5, 6]
