"""Every score against scikit-learn or a naive implementation."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    jaccard_score,
    normalized_mutual_info_score,
    recall_score,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from dtis_core.errors import DtisError
from dtis_core.scoring import metrics


@st.composite
def two_labellings(draw, shape, low=0, high=4):
    """Two arrays of one shape; often few labels, so that degenerate cases occur."""
    shape = draw(shape)
    tops = st.integers(low, high)
    return tuple(
        draw(arrays(np.int64, shape, elements=st.integers(low, draw(tops)))) for _ in range(2)
    )


vectors = two_labellings(st.tuples(st.integers(0, 30)), low=-1)
maps = two_labellings(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)))


@given(vectors)
def test_ari_equals_scikit_learn(pair):
    assert metrics.adjusted_rand_index(*pair) == pytest.approx(adjusted_rand_score(*pair))


@pytest.mark.parametrize(
    "true, predicted, expected",
    [
        ([], [], 1),
        ([5], [9], 1),
        ([1, 1, 1], [2, 2, 2], 1),
        ([1, 2, 3], [3, 1, 2], 1),
        ([1, 1, 1], [1, 2, 3], 0),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
        ([0, 0, 1, 2], [0, 0, 1, 1], 4 / 7),  # scikit-learn's documented example: 0.57
    ],
)
def test_ari_of_known_cases(true, predicted, expected):
    true, predicted = np.array(true, int), np.array(predicted, int)
    with warnings.catch_warnings(action="error"):
        assert metrics.adjusted_rand_index(true, predicted) == pytest.approx(expected)


def test_ari_of_large_images_does_not_overflow():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 3, (2, 1 << 18)).astype(np.uint8)
    predicted[::2] = true[::2]
    expected = adjusted_rand_score(true, predicted)
    assert metrics.adjusted_rand_index(true, predicted) == pytest.approx(expected)
    images = (2, 256, 512)
    expected = np.mean([adjusted_rand_score(true[i::2], predicted[i::2]) for i in range(2)])
    halves = (labels.reshape(-1, 2).T.reshape(images) for labels in (true, predicted))
    assert metrics.mean_ari(*halves) == pytest.approx(expected)


@given(maps)
def test_mean_ari_equals_scikit_learn_image_by_image(pair):
    scores = [adjusted_rand_score(t.ravel(), p.ravel()) for t, p in zip(*pair, strict=True)]
    assert metrics.mean_ari(*pair) == pytest.approx(np.mean(scores))
    unsigned = (labels.astype(np.uint8) for labels in pair)
    assert metrics.mean_ari(*unsigned) == pytest.approx(np.mean(scores))


@given(maps)
def test_mean_ari_foreground_equals_scikit_learn_on_object_pixels(pair):
    scores = [
        adjusted_rand_score(t[t > 0], p[t > 0]) for t, p in zip(*pair, strict=True) if t.any()
    ]
    if scores:
        assert metrics.mean_ari_foreground(*pair) == pytest.approx(np.mean(scores))
    else:
        with pytest.raises(DtisError, match="every pixel is background"):
            metrics.mean_ari_foreground(*pair)


@given(
    seed=st.integers(0, 1 << 32),
    sizes=st.tuples(*[st.integers(1, 3)] * 2, st.integers(0, 3), *[st.integers(1, 3)] * 2),
)
def test_reassign_background_pixel_by_pixel(seed, sizes):
    images_count, channels, layers, height, width = sizes[0], 3, *sizes[2:]
    rng = np.random.default_rng(seed)
    images = rng.random((images_count, channels, height, width), np.float32)
    appearances = rng.random((images_count, layers, channels, height, width), np.float32)
    present = rng.random((images_count, layers)) < 0.6
    predicted = rng.integers(0, layers + 1, (images_count, height, width))
    expected = predicted.copy()
    for n, i, j in np.ndindex(predicted.shape):
        if predicted[n, i, j] == 0 and present[n].any():
            expected[n, i, j] = 1 + min(
                np.flatnonzero(present[n]),
                key=lambda layer: sum((appearances[n, layer, :, i, j] - images[n, :, i, j]) ** 2),
            )
    before = predicted.copy()
    found = metrics.reassign_background(predicted, images, appearances, present)
    assert np.array_equal(found, expected)
    assert np.array_equal(predicted, before)


def test_reassignment_mends_ari_foreground_of_a_missed_pixel():
    true = np.array([[[1, 1, 2, 2, 0]]])
    predicted = np.array([[[1, 0, 2, 2, 0]]])
    images = np.zeros((1, 3, 1, 5))
    images[0, 0, 0] = [0.9, 0.9, 0.1, 0.1, 0]
    appearances = np.full((1, 2, 3, 1, 5), [[[[1.0]]], [[[0.0]]]])
    appearances[:, :, 1:] = 0
    present = np.ones((1, 2), bool)
    mended = metrics.reassign_background(predicted, images, appearances, present)
    assert mended.tolist() == [[[1, 1, 2, 2, 2]]]
    assert metrics.mean_ari_foreground(true, predicted) < 1
    assert metrics.mean_ari_foreground(true, mended) == 1


@given(maps)
def test_confusion_matrix_equals_scikit_learn(pair):
    true, predicted = pair
    expected = sklearn_confusion_matrix(true.ravel(), predicted.ravel(), labels=range(7))
    assert np.array_equal(metrics.confusion_matrix(true, predicted, 5, 7), expected[:5])
    unsigned = (labels.astype(np.uint8) for labels in pair)
    assert np.array_equal(metrics.confusion_matrix(*unsigned, 5, 7), expected[:5])


def test_confusion_matrix_of_many_labels_in_small_integers():
    labels = np.array([250, 250, 3], np.uint8)
    matrix = metrics.confusion_matrix(labels, labels, 256, 256)
    assert matrix[250, 250] == 2 and matrix[3, 3] == 1 and matrix.sum() == 3


def test_confusion_matrix_names_the_field_out_of_range():
    labels = np.array([0, 3])
    with pytest.raises(DtisError, match=r"true labels: found 0..3, expected 0..2"):
        metrics.confusion_matrix(labels, labels, 3, 4)
    with pytest.raises(DtisError, match=r"predicted labels: found -1..3, expected 0..3"):
        metrics.confusion_matrix(labels, np.array([-1, 3]), 4, 4)


def naive_namings(n_classes, n_sprites):
    """Yield every mapping that gives each predicted label its own class or -1, as many as can."""
    classes, labels = range(1 + n_classes), range(1 + n_sprites)
    if n_classes >= n_sprites:
        yield from (list(chosen) for chosen in itertools.permutations(classes, 1 + n_sprites))
    else:
        for chosen in itertools.permutations(labels, 1 + n_classes):
            yield [chosen.index(label) if label in chosen else -1 for label in labels]


@given(maps, st.integers(0, 2), st.integers(0, 2))
def test_semantic_scores_equal_the_best_naming_scored_by_scikit_learn(pair, more_c, more_s):
    true, predicted = pair
    n_classes, n_sprites = int(true.max()) + more_c % 2, int(predicted.max()) + more_s % 2
    scores = metrics.semantic_scores(true, predicted, n_classes, n_sprites)
    mapping = scores["mapping"]
    assert mapping.tolist() in list(naive_namings(n_classes, n_sprites))
    renamed = mapping[predicted]
    best = max(
        (np.array(naming)[predicted] == true).sum()
        for naming in naive_namings(n_classes, n_sprites)
    )
    assert (renamed == true).sum() == best
    settings = dict(labels=np.unique(true), average="macro", zero_division=0)
    expected = recall_score(true.ravel(), renamed.ravel(), **settings)
    assert scores["mACC"] == pytest.approx(expected)
    expected = jaccard_score(true.ravel(), renamed.ravel(), **settings)
    assert scores["mIoU"] == pytest.approx(expected)


def test_semantic_scores_with_permuted_missing_and_surplus_sprites():
    true = np.array([[[0, 0, 0, 0], [1, 1, 2, 2]]])
    permuted = metrics.semantic_scores(true, np.array([2, 0, 1])[true], 2, 2)
    assert permuted["mACC"] == permuted["mIoU"] == 1
    assert permuted["mapping"].tolist() == [1, 2, 0]
    fewer = metrics.semantic_scores(true, np.minimum(true, 1), 2, 1)
    assert fewer["mACC"] == pytest.approx(2 / 3)  # background 1, one category 1, the other 0
    assert fewer["mIoU"] == pytest.approx((1 + 2 / 4) / 3)
    surplus = np.array([[[0, 0, 0, 0], [1, 3, 2, 2]]])
    more = metrics.semantic_scores(true, surplus, 2, 3)
    assert more["mACC"] == more["mIoU"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert sorted(more["mapping"]) == [-1, 0, 1, 2]


@given(vectors)
def test_clustering_accuracy_equals_the_best_renaming(pair):
    true, predicted = pair
    if not true.size:
        with pytest.raises(DtisError, match="found none"):
            metrics.clustering_accuracy(true, predicted)
        return
    classes, clusters = np.unique(true), np.unique(predicted)
    names = [*classes, *range(100, 100 + max(0, len(clusters) - len(classes)))]
    best = max(
        (true == np.array(chosen)[np.searchsorted(clusters, predicted)]).mean()
        for chosen in itertools.permutations(names, len(clusters))
    )
    assert metrics.clustering_accuracy(true, predicted) == pytest.approx(best)


@given(vectors)
def test_nmi_and_its_invariance_to_names(pair):
    true, predicted = pair
    score = metrics.nmi(true, predicted)
    assert score == pytest.approx(normalized_mutual_info_score(true, predicted))
    assert score == pytest.approx(metrics.nmi(7 - true, predicted))


def test_nmi_by_hand():
    # Entropies ln 2 and 2 ln 2, mutual information ln 2.
    assert metrics.nmi(np.array([0, 0, 1, 1]), np.arange(4)) == pytest.approx(1 / 1.5)


@given(maps)
def test_foreground_scores_equal_scikit_learn(pair):
    true, predicted = (labels > 0 for labels in pair)
    expected = accuracy_score(true.ravel(), predicted.ravel())
    assert metrics.segmentation_accuracy(*pair) == pytest.approx(expected)
    assert metrics.segmentation_accuracy(true, predicted) == pytest.approx(expected)
    expected = np.mean(
        [
            jaccard_score(t.ravel(), p.ravel(), zero_division=1)
            for t, p in zip(true, predicted, strict=True)
        ]
    )
    assert metrics.foreground_iou(*pair) == pytest.approx(expected)
    assert metrics.foreground_iou(true, predicted) == pytest.approx(expected)


@pytest.mark.parametrize(
    "score",
    [
        metrics.adjusted_rand_index,
        metrics.mean_ari,
        metrics.mean_ari_foreground,
        metrics.clustering_accuracy,
        metrics.nmi,
        metrics.segmentation_accuracy,
        metrics.foreground_iou,
        lambda true, predicted: metrics.semantic_scores(true, predicted, 3, 3),
    ],
)
def test_maps_of_different_shapes_are_refused(score):
    with pytest.raises(DtisError, match=r"shapes \(2, 3, 3\) \(true\) and \(2, 3, 4\)"):
        score(np.zeros((2, 3, 3), int), np.zeros((2, 3, 4), int))


def test_no_image_and_negative_labels_are_refused():
    none = np.zeros((0, 3, 3), int)
    for score in (metrics.mean_ari, metrics.segmentation_accuracy, metrics.foreground_iou):
        with pytest.raises(DtisError, match="at least one image"):
            score(none, none)
    with pytest.raises(DtisError, match="at least one image"):
        metrics.semantic_scores(none, none, 2, 2)
    with pytest.raises(DtisError, match="predicted labels: found -1"):
        metrics.mean_ari(np.zeros((1, 2, 2), int), np.full((1, 2, 2), -1))


def test_summary_over_runs():
    assert metrics.summarise([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert metrics.summarise(np.array([0.7])) == (0.7, 0.0)
    with pytest.raises(DtisError, match="at least one run"):
        metrics.summarise([])


def test_outlier_of_the_paper_is_filtered_and_the_rest_kept():
    assert metrics.filter_outlier([1.93, 1.51, 1.49, 1.52, 1.57]) == [1, 2, 3, 4]
    assert metrics.filter_outlier([1.51, 1.49, 1.52, 1.57]) == [0, 1, 2, 3]
    assert metrics.filter_outlier([2.0, 2.0, 1.0]) == [0, 1, 2]  # a low loss is no outlier
    assert metrics.filter_outlier([1.0, 9.0]) == [0, 1]  # nobody can tell which is usual
    assert metrics.filter_outlier([1.0, float("nan"), 1.0, float("inf"), 1.0]) == [0, 2, 4]
    assert metrics.filter_outlier([1.0, 1.0, 1.3], tolerance=0.4) == [0, 1, 2]


@given(st.lists(st.floats(1e-6, 1e3), max_size=9), st.floats(1e-2, 1e2))
def test_outliers_are_few_and_do_not_depend_on_units(losses, unit):
    kept = metrics.filter_outlier(losses)
    assert 2 * len(kept) >= len(losses)
    dropped = set(range(len(losses))) - set(kept)
    assert all(losses[d] > losses[k] for d in dropped for k in kept)
    power_of_two = 2.0 ** round(np.log2(unit))  # scales floats without rounding
    assert metrics.filter_outlier([power_of_two * loss for loss in losses]) == kept
