"""Generated data: what is learned from, chosen by and scored at last are never the same images."""

import itertools

import numpy as np
import pytest

from dtis_core import datasets

SCENES = ("train", "validation", "final")
GENERATED = {
    "tetrominoes": SCENES,
    "multi-dsprites": SCENES,
    "multi-dsprites2": SCENES,
    "multi-dsprites-harsh": SCENES,
    "svhn-drawn": SCENES,
    "postcards": ("all", "validation", "final"),
}
VALIDATION = {
    "tetrominoes": "fb17b3d8947e9c15",
    "multi-dsprites": "2fe84cab2d7dc6c5",
    "multi-dsprites2": "6376c1d66ff63b49",
    "svhn-drawn": "208d16ad4a1ffad4",
}
"""The fingerprints of the images that recorded scores are of."""


@pytest.mark.parametrize("name", GENERATED)
def test_three_streams_are_disjoint_and_always_the_same(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "cache"))
    count = 80 if name == "postcards" else 320  # which are larger, and take longer to draw
    streams = {split: datasets.load(name, split, count=count) for split in GENERATED[name]}
    rows = [set(map(bytes, data.images)) for data in streams.values()]
    assert [len(row) for row in rows] == [count] * 3
    assert not any(a & b for a, b in itertools.combinations(rows, 2))
    monkeypatch.setenv("DTIS_CACHE", str(tmp_path / "another"))
    for split, data in streams.items():
        again = datasets.load(name, split, count=count)
        assert again.fingerprint == data.fingerprint
        assert np.array_equal(datasets.load(name, split, count=20).images, data.images[:20])


@pytest.mark.parametrize("name", VALIDATION)
def test_recorded_scores_are_of_the_images_that_they_were_of(name):
    assert datasets.load(name, "validation").fingerprint == VALIDATION[name]
