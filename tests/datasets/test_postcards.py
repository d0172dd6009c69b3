"""The generated stand-in for web photographs."""

import numpy as np
import pytest

from dtis_core import datasets
from dtis_core.datasets.postcards import EMPTY, MOTIFS
from dtis_core.errors import DtisError


@pytest.fixture(scope="module")
def cards():
    return datasets.load("postcards", "all")


def test_a_fifth_of_the_cards_is_empty_and_all_motifs_occur(cards):
    assert len(cards) == 1200 and cards.name == "postcards (generated)"
    counts = np.bincount(cards.categories[:, 0], minlength=len(MOTIFS) + 1)
    assert counts[0] / 1200 == pytest.approx(EMPTY, abs=0.04)
    assert (counts[1:] > 100).all()


def test_masks_show_the_motif_and_nothing_on_empty_cards(cards):
    shown = (cards.masks > 0).mean(axis=(1, 2))
    empty = cards.categories[:, 0] == 0
    assert (shown[empty] == 0).all() and (shown[~empty] > 0.01).all() and shown.max() < 0.4
    # Under its mask a motif differs from the sky and the ground around it.
    inside = cards.masks[~empty] > 0
    images = cards.images[~empty].astype(float)
    means = [
        [image[part].mean(axis=0) for part in (m, ~m)]
        for image, m in zip(images, inside, strict=True)
    ]
    assert np.abs(np.diff(means, axis=1)).mean() > 25


def test_cards_depend_on_the_seed_and_not_on_how_many_are_asked_for(cards):
    first = datasets.load("postcards", "all", 40)
    assert np.array_equal(first.images, cards.images[:40])
    other = datasets.load("postcards", "all", 40, seed=1)
    assert (other.images != first.images).any(axis=(1, 2, 3)).all()


def test_cards_come_in_the_size_asked_for():
    small = datasets.load("postcards", "all", 5, size=(24, 32))
    assert small.images.shape == (5, 24, 32, 3) and small.masks.shape == (5, 24, 32)


def test_a_split_that_there_is_not_is_named():
    with pytest.raises(DtisError, match="postcards"):
        datasets.load("postcards", "test")
