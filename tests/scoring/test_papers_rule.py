"""The paper's rule for scores, where it parts from ours, against loops over things and names."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, jaccard_score, recall_score

from dtis_core.scoring import metrics, papers_rule


def labellings(seed, classes, sprites, size=40):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes + 1, size), rng.integers(0, sprites + 1, size)


def renamed(true, predicted, classes, sprites):
    """The predicted labels under all namings that the rule allows: several may be as good."""
    if sprites > classes:
        of_each = [true[predicted == k] for k in range(sprites + 1)]
        counts = [np.bincount(found, minlength=classes + 1) for found in of_each]
        return [np.array([count.argmax() for count in counts])[predicted]]
    namings = itertools.permutations(range(classes + 1), sprites + 1)
    every = [np.array(naming)[predicted] for naming in namings]
    most = max((names == true).sum() for names in every)
    return [names for names in every if (names == true).sum() == most]


@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(1, 5))
def test_semantic_scores_are_over_all_classes_and_named_by_majority_if_sprites_are_more(
    seed, classes, sprites
):
    true, predicted = labellings(seed, classes, sprites)
    true = np.where(true == classes, 0, true)  # the last class is absent
    found = papers_rule.semantic_scores(true, predicted, classes, sprites)
    settings = dict(labels=range(classes + 1), average="macro", zero_division=0)
    expected = [
        (recall_score(true, names, **settings), jaccard_score(true, names, **settings))
        for names in renamed(true, predicted, classes, sprites)
    ]
    assert any((found["mACC"], found["mIoU"]) == pytest.approx(pair) for pair in expected)


def test_a_class_that_does_not_occur_scores_0():
    true = np.array([[0, 0, 1, 1]])
    ours = metrics.semantic_scores(true, true, 3, 3)
    papers = papers_rule.semantic_scores(true, true, 3, 3)
    assert ours["mACC"] == ours["mIoU"] == 1
    assert papers == {"mACC": 0.5, "mIoU": 0.5}


@given(st.integers(0, 1 << 32), st.integers(2, 5), st.integers(1, 7))
def test_clusters_are_named_one_to_one_unless_they_are_more_than_the_classes(
    seed, classes, sprites
):
    true, predicted = labellings(seed, classes - 1, sprites - 1)
    true[:classes] = range(classes)
    found = papers_rule.clustering_accuracy(10 + true, predicted + 1, sprites)
    if sprites <= classes:
        assert found == pytest.approx(metrics.clustering_accuracy(true, predicted))
    else:
        (names,) = renamed(true, predicted, classes - 1, sprites - 1)
        assert found == pytest.approx((names == true).mean())
        assert found >= metrics.clustering_accuracy(true, predicted)


def test_foreground_and_background_may_swap_in_all_images_at_once():
    true = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    assert papers_rule.segmentation_accuracy(true, 1 - true) == 1
    assert metrics.segmentation_accuracy(true, 1 - true) == 0
    half = np.stack([true[0], 1 - true[1]])
    assert papers_rule.segmentation_accuracy(true, half) == 0.5


def test_images_without_objects_score_1():
    true, predicted = np.array([[[1, 1, 2, 0]], [[0, 0, 0, 0]]]), np.array([[[1, 2, 2, 0]]] * 2)
    first = adjusted_rand_score([1, 1, 2], [1, 2, 2])
    assert metrics.mean_ari_foreground(true, predicted) == pytest.approx(first)
    assert papers_rule.mean_ari_foreground(true, predicted) == pytest.approx((first + 1) / 2)
    assert papers_rule.mean_ari_foreground(true * 0, predicted) == 1


def test_only_what_parts_is_named_beside_ours():
    ours = {"accuracy": 0.5, "mIoU": 0.25, "NMI": 1.0}
    papers = {"accuracy": 0.75, "mIoU": 0.25}
    assert papers_rule.where_they_part(ours, papers) == {"accuracy (paper's rule)": 0.75}
