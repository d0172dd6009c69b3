"""Properties of the composition: Eq. (1), Eq. (2), the occlusion matrix and true layer orders."""

import itertools

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtis_core.model.composition import (
    binary_occlusion,
    closest_order,
    compose,
    compose_recursively,
    occlusion_from_logits,
    ordered_occlusion,
    put_background_below,
    rest_of_scene,
    visibilities,
)

SIZE = (2, 3)


@st.composite
def scenes(draw, low=1, high=5):
    """Alphas (B, L, 1, H, W) with zeros and ones among them, and colours (B, L, C, H, W)."""
    layers, batch = draw(st.integers(low, high)), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    alphas = torch.rand(batch, layers, 1, *SIZE, generator=generator, dtype=torch.float64)
    alphas = (1.5 * alphas - 0.25).clamp(0, 1)
    colours = torch.rand(batch, layers, 3, *SIZE, generator=generator, dtype=torch.float64)
    return alphas, colours, generator


def random_matrix(alphas, generator):
    """Any occlusion probabilities, not only those of a prediction, (B, L, L)."""
    B, L = alphas.shape[:2]
    matrix = torch.rand(B, L, L, generator=generator, dtype=alphas.dtype)
    return matrix * (1 - torch.eye(L, dtype=alphas.dtype))


def random_order(alphas, generator):
    """Each layer's rank, 0 the farthest, (B, L), and the occlusion matrix of that order."""
    B, L = alphas.shape[:2]
    ranks = torch.stack([torch.randperm(L, generator=generator) for _ in range(B)])
    return ranks, (ranks[:, :, None] > ranks[:, None, :]).to(alphas.dtype)


def literally(alphas, colours, matrix):
    """Eq. (2) by the oracle's loops."""
    return torch.stack([
        oracle.composed([oracle.Layer(a, c) for a, c in zip(*layers, strict=True)], delta)
        for *layers, delta in zip(alphas, colours, matrix, strict=True)
    ])  # fmt: skip


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@given(scenes())
def test_both_forms_agree_for_layers_in_order(scene):
    alphas, colours, _ = scene
    expected = compose_recursively(alphas, colours)
    close(compose(alphas, colours, ordered_occlusion(*alphas.shape[:2], alphas)), expected)
    close(
        torch.stack([
            oracle.composed_recursively([oracle.Layer(*layer) for layer in zip(a, c, strict=True)])
            for a, c in zip(alphas, colours, strict=True)
        ]),
        expected,
    )  # fmt: skip


@given(scenes())
def test_any_true_order_is_the_recursion_over_sorted_layers(scene):
    alphas, colours, generator = scene
    ranks, matrix = random_order(alphas, generator)
    farthest_first = ranks.argsort(dim=1)
    image = torch.arange(len(alphas))[:, None]
    expected = compose_recursively(alphas[image, farthest_first], colours[image, farthest_first])
    close(compose(alphas, colours, matrix), expected)


@given(scenes())
def test_a_triangular_matrix_with_gaps_is_the_recursion_where_gaps_do_not_overlap(scene):
    alphas, colours, generator = scene
    B, L = alphas.shape[:2]
    matrix = (torch.rand(B, L, L, generator=generator) > 0.5).double().tril(-1)
    alphas = alphas.clone()
    for j, i in itertools.combinations(range(L), 2):
        alone = (matrix[:, i, j] == 0)[:, None, None, None] & (alphas[:, j] > 0)
        alphas[:, i] *= ~alone
    close(compose(alphas, colours, matrix), compose_recursively(alphas, colours))


@given(scenes())
def test_any_matrix_gives_what_the_equation_says(scene):
    alphas, colours, generator = scene
    matrix = random_matrix(alphas, generator)
    close(compose(alphas, colours, matrix), literally(alphas, colours, matrix))


@given(scenes())
def test_what_is_seen_of_ordered_layers_is_what_they_cover(scene):
    alphas, _, generator = scene
    _, matrix = random_order(alphas, generator)
    seen = visibilities(alphas, matrix)
    assert (seen >= 0).all() and (seen <= alphas).all()
    close(seen.sum(dim=1), 1 - (1 - alphas).prod(dim=1))


@given(scenes(), st.data())
def test_one_layer_can_be_replaced_in_closed_form(scene, data):
    alphas, colours, generator = scene
    matrix = random_matrix(alphas, generator)
    layer = data.draw(st.integers(0, alphas.shape[1] - 1))
    P, Q, V = rest_of_scene(alphas, colours, matrix, layer)
    alpha = torch.rand(len(alphas), 1, *SIZE, generator=generator, dtype=torch.float64)
    colour = torch.rand(len(alphas), 3, *SIZE, generator=generator, dtype=torch.float64)
    before = alphas.clone()
    alphas[:, layer], colours[:, layer] = alpha, colour
    close(P + alpha * (V * colour - Q), compose(alphas, colours, matrix))
    again = rest_of_scene(before, colours, matrix, layer)
    alphas[:, layer] = 0
    close(again[0], compose(alphas, colours, matrix))


@given(scenes())
def test_the_numbering_of_layers_does_not_matter(scene):
    alphas, colours, generator = scene
    matrix = random_matrix(alphas, generator)
    new = torch.randperm(alphas.shape[1], generator=generator)
    found = compose(alphas[:, new], colours[:, new], matrix[:, new][:, :, new])
    close(found, compose(alphas, colours, matrix))


@given(scenes())
def test_a_background_lies_below_everything(scene):
    alphas, colours, generator = scene
    matrix = random_matrix(alphas, generator)
    below = put_background_below(matrix)
    close(below[:, 1:, 1:], matrix)
    assert (below[:, 1:, 0] == 1).all() and (below[:, 0] == 0).all()
    background = torch.rand(len(alphas), 1, 3, *SIZE, generator=generator, dtype=torch.float64)
    whole = compose(
        torch.cat([torch.ones_like(alphas[:, :1]), alphas], dim=1),
        torch.cat([background, colours], dim=1),
        below,
    )
    left = (1 - alphas).prod(dim=1)
    close(whole, compose(alphas, colours, matrix) + left * background[:, 0])


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_predicted_occlusions_are_symmetric(layers, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(3, layers * (layers - 1) // 2, generator=generator)
    matrix = occlusion_from_logits(logits, layers)
    off_diagonal = 1 - torch.eye(layers)
    close(matrix + matrix.mT, off_diagonal.expand_as(matrix))
    assert (matrix.diagonal(dim1=1, dim2=2) == 0).all()
    rows, columns = torch.tril_indices(layers, layers, -1)
    close(matrix[:, rows, columns], torch.sigmoid(logits))
    binary = binary_occlusion(matrix)
    assert torch.equal(binary[:, rows, columns], (logits > 0).float())
    assert torch.equal(binary + binary.mT, off_diagonal.expand_as(matrix))


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_the_closest_order_is_the_nearest_of_all(layers, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, layers * (layers - 1) // 2, generator=generator, dtype=torch.float64)
    matrix = occlusion_from_logits(logits, layers)
    found = closest_order(matrix)
    for delta, order in zip(matrix, found, strict=True):
        every = []
        for ranks in itertools.permutations(range(layers)):
            nearer = [[float(ranks[j] > ranks[i]) for i in range(layers)] for j in range(layers)]
            every.append(torch.tensor(nearer, dtype=delta.dtype))
        distances = [float((delta - other).square().sum()) for other in every]
        assert any(torch.equal(order, other) for other in every)
        assert float((delta - order).square().sum()) == pytest.approx(min(distances))
        threshold = binary_occlusion(delta[None])[0]
        if any(torch.equal(threshold, other) for other in every):
            assert torch.equal(order, threshold)


def test_a_cycle_becomes_an_order():
    logits = torch.tensor([[3.0, -1.0, 2.0]])  # 2 hides 1, 1 hides 3, 3 hides 2
    cycle = binary_occlusion(occlusion_from_logits(logits, 3))
    assert torch.equal(cycle.sum(dim=2), torch.ones(1, 3))
    order = closest_order(occlusion_from_logits(logits, 3))
    assert sorted(order.sum(dim=2)[0].tolist()) == [0, 1, 2]


def test_too_many_layers_for_all_orders():
    with pytest.raises(ValueError, match="at most 7 layers, got 8"):
        closest_order(torch.zeros(1, 8, 8))
