"""What selection seeks beside the sprite, depth and turn; and sprites given up on the way."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dtis_core.config import ModelConfig, SearchConfig, load_preset
from dtis_core.errors import DtisError
from dtis_core.model.composition import (
    compose,
    ordered_occlusion,
    put_background_below,
    rest_of_scene,
)
from dtis_core.search.depth_order import moved_to, rest_of_scene_at_ends
from dtis_core.search.residual import Inside, ResidualSearch, Rules
from dtis_core.search.seeking import build_model
from dtis_core.search.seeking_predictor import INHIBITED, Attention, what_is_missing
from dtis_core.search.windows import Window, Windowed

SIZE = (12, 12)
CONFIG = ModelConfig(
    image_size=SIZE,
    layers=3,
    sprites=4,
    sprite_size=(8, 8),
    mask_sigma=2.0,
    layer_transformations=["tint", "placement"],
    sprite_transformations=["similarity"],
    backgrounds=1,
    background_transformations=["colour"],
    encoder="small",
)
SEARCH = SearchConfig(head="attention", looks="residual", turns=4, depths="sought")


def randomised(config=CONFIG, search=SEARCH, seed=0):
    torch.manual_seed(seed)
    model = build_model(config, search).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.1 - 0.05)
    return model


def scene(seed, batch=5, layers=3, background=True):
    """Random layers over a background, and the matrix of a random order for each image."""
    generator = torch.Generator().manual_seed(seed)
    M = layers + background
    alphas = torch.rand(batch, M, 1, *SIZE, generator=generator, dtype=torch.float64).round()
    colours = torch.rand(batch, M, 3, *SIZE, generator=generator, dtype=torch.float64)
    if background:
        alphas[:, 0] = 1
    rank = torch.rand(batch, layers, generator=generator).argsort(dim=1)
    order = (rank[:, :, None] > rank[:, None, :]).double()
    return alphas, colours, put_background_below(order) if background else order, rank


@pytest.mark.parametrize("background", [True, False])
def test_a_layer_moves_to_any_depth_and_the_others_keep_theirs(background):
    alphas, _, order, rank = scene(0, background=background)
    for layer, depth in itertools.product(range(3), range(3)):
        moved = moved_to(order, int(background) + layer, depth, int(background))
        others = [i for i in range(3) if i != layer]
        for image, found in enumerate(moved):
            column = sorted(others, key=lambda i, r=rank[image]: r[i])
            column.insert(depth, layer)  # object layers from the farthest to the closest
            place = torch.tensor([column.index(i) for i in range(3)])
            expected = (place[:, None] > place[None]).double()
            expected = put_background_below(expected[None])[0] if background else expected
            assert torch.equal(found, expected)
    first = int(background)
    each = moved_to(order, first, torch.arange(5) % 3, first)
    for image, found in enumerate(each):
        one = moved_to(order[image][None], first, image % 3, first)
        assert torch.equal(found, one[0])


@pytest.mark.parametrize("background", [True, False])
def test_both_ends_are_the_rest_of_the_moved_scene(background):
    alphas, colours, order, _ = scene(1, background=background)
    for layer in range(3):
        index = background + layer
        found = rest_of_scene_at_ends(alphas, colours, order, index, int(background))
        for parts, depth in zip(found, (0, 3), strict=True):
            moved = moved_to(order, index, depth, int(background))
            for part, expected in zip(parts, rest_of_scene(alphas, colours, moved, index),
                                      strict=True):  # fmt: skip
                torch.testing.assert_close(part, expected)


def nothing(layer, rest, avoided, held):
    raise AssertionError("a look")


def test_the_best_depth_is_the_true_one():
    alphas, colours, order, _ = scene(2, batch=20)
    images = compose(alphas, colours, order)
    for layer in (0, 1, 2):
        start = moved_to(order, 1 + layer, 1, 1)
        choice = ResidualSearch(images, start, colours[:, :1], 3, Rules(0.0, False), nothing)
        choice.alphas, choice.colours, choice.filled = alphas, colours, {0, 1, 2}
        inside = Inside.of(choice, Window.whole(20, SIZE), layer)
        choice.move(layer, inside.best_depth(choice.occlusion))
        torch.testing.assert_close(compose(alphas, colours, choice.occlusion), images)
    wrong = compose(alphas, colours, moved_to(order, 1, 0, 1))
    assert (wrong - images).abs().amax(dim=(1, 2, 3)).gt(0).sum() > 5  # depth did matter


def test_selection_finds_the_depths_of_overlapping_objects():
    """Candidates are the true objects, each layer its own: only depth is left to find."""
    alphas, colours, order, _ = scene(3, batch=30)
    images = compose(alphas, colours, order)

    def look(layer, rest, avoided, held):
        this = slice(layer + 1, layer + 2)
        candidates = Windowed(alphas[:, this], colours[:, this], Window.whole(30, SIZE))
        return candidates, rest[:, 0, 0]  # any features

    start = put_background_below(ordered_occlusion(30, 3, images))
    each = []
    for seek_depths in (False, True):
        rules = Rules(penalty=0.0, empty=False, seek_depths=seek_depths)
        each.append(ResidualSearch(images, start, colours[:, :1], 3, rules, look))
        each[-1].run(steps=3)
    fixed, found = each
    assert torch.equal(fixed.occlusion, start)
    error = [
        (compose(alphas, colours, s.occlusion) - images).square().flatten(1).mean(dim=1)
        for s in (fixed, found)
    ]
    assert (error[1] < 1e-12).float().mean() > 0.9 > 0.5 > (error[0] < 1e-12).float().mean()


def test_turns_are_rotations_of_each_candidate():
    model = randomised()
    layer = torch.rand(2, 6, dtype=torch.float64) * 0.2
    sprite = torch.rand(2, 4, 4, dtype=torch.float64) * 0.2
    turned = model.candidates(layer, sprite)
    single = build_model(CONFIG, replace(SEARCH, turns=1)).double().eval()
    single.load_state_dict(model.state_dict())
    for turn in range(4):
        more = sprite.clone()
        more[..., 0] += turn * np.pi / 2  # the similarity's angle
        for found, expected in zip(turned, single.candidates(layer, more), strict=True):
            torch.testing.assert_close(found[:, turn::4], expected)


def test_second_looks_count_only_where_they_help():
    model = randomised(seed=4)
    images = torch.rand(6, 3, *SIZE, dtype=torch.float64)
    with torch.no_grad():
        result = model(images, steps=2)
    errors = result.errors(images)
    with torch.no_grad():
        once = model(images, steps=1).errors(images)
    assert (errors <= once + 1e-12).all() and (errors < once).any()


def test_exhaustive_search_tries_all_turns_of_all_layers():
    config = replace(CONFIG, layers=2, sprites=2, selection="exhaustive")
    model = randomised(config, replace(SEARCH, looks="image", depths="given"), seed=1)
    images = torch.rand(5, 3, *SIZE, dtype=torch.float64)
    with torch.no_grad():
        found, prediction = model(images), model.predictor(images)
        backdrop = model.background_colours(prediction.background)
        alphas, colours = torch.ones_like(backdrop[:, :, :1]), backdrop
        pairs, losses = partial(itertools.product, repeat=2), []
        for k, turn in itertools.product(pairs((1, 2)), pairs(range(4))):
            chosen, turn = (torch.tensor(values).expand(5, 2) for values in (k, turn))
            sprite = model.turned(prediction.sprite, turn.unsqueeze(2) * math.pi / 2)
            layers = model.chosen_layers(chosen, prediction.layer, sprite)
            composite = compose(
                torch.cat([alphas, layers[0]], dim=1),
                torch.cat([colours, layers[1]], dim=1),
                put_background_below(ordered_occlusion(5, 2, images)),
            )
            losses.append((images - composite).square().flatten(1).mean(dim=1))
    torch.testing.assert_close(found.errors(images), torch.stack(losses).amin(dim=0))
    assert (torch.stack(losses).argmin(dim=0) % 16 > 0).any()  # some are turned


def test_turns_wait_for_the_curriculum():
    model = randomised()
    model.active = frozenset({"tint", "placement"})
    assert model.turns == 1
    model.active = None
    assert model.turns == 4


def test_more_turns_at_inference_fit_at_least_as_well():
    few, images = randomised(), torch.rand(6, 3, *SIZE, dtype=torch.float64)
    more = randomised(search=replace(SEARCH, inference_turns=16))
    assert (more.turns, more.train().turns) == (16, 4)
    with torch.no_grad():
        errors = [model.eval()(images, steps=1).errors(images) for model in (few, more)]
    assert errors[1].mean() < errors[0].mean()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("search.looks=residual\nmodel.selection=exhaustive", "model.selection must be greedy"),
        ("search.depths=sought", "search.looks must be residual"),
        ("search.sees=difference", "search.sees must be both unless search.looks is residual"),
        ("search.drawn_by=error", "search.drawn_by must be features without residual looks"),
        ("model.sprite_transformations=[]", "search.turns must be 1 without similarity"),
        ("search.inference_turns=0", "search.inference_turns must be at least 1"),
    ],
)
def test_searches_that_cannot_be(setting, problem):
    with pytest.raises(DtisError, match=problem):
        load_preset("multi-dsprites/quick").override(
            [
                "search.looks=image",
                "search.depths=given",
                "training.curriculum={}",
                *setting.split(),
            ]
        )


def test_a_predictor_of_differences_sees_what_is_missing_and_nothing_else():
    encode = randomised(search=replace(SEARCH, sees="difference")).predictor.encode
    one, other = torch.rand(2, 2, 3, *SIZE, generator=torch.manual_seed(0), dtype=torch.float64)
    explained = encode(torch.cat([one, one], dim=1))
    assert torch.equal(explained, encode(torch.cat([other, other], dim=1)))
    missing = encode(torch.cat([one, other], dim=1))
    assert not torch.allclose(missing, explained)
    torch.testing.assert_close(encode(torch.cat([one + 0.1, other + 0.1], dim=1)), missing)


def test_attention_goes_elsewhere_than_to_avoided_places():
    torch.manual_seed(0)
    look = Attention(8, layers=1, maps=1, reach=1)
    features = torch.randn(6, 8, 9, 9)
    _, first = look(features)
    _, second = look(features, first[:, 0])
    _, third = look(features, torch.cat([first, second], dim=2)[:, 0].view(6, 2, 2))
    for here, there in itertools.combinations((first, second, third), 2):
        apart = (here - there).norm(dim=-1) * 9 / 2  # in cells
        assert apart.min() > INHIBITED - 1  # a place may lie a cell beside the peak
    _, far = look(features, torch.full((6, 1, 2), 9.0))  # outside the image
    assert torch.equal(far, first)


def test_a_pair_is_sought_elsewhere_every_other_time_and_a_single_layer_anywhere():
    seen = []

    def look(layer, rest, avoided, held):
        seen.append((layer, avoided))
        window = Window.whole(len(rest), SIZE)
        return Windowed(rest[:, None, :1] * 0, rest[:, None], window), rest[:, 0, 0]

    images = torch.rand(2, 3, *SIZE)
    rules = Rules(penalty=0.0, empty=False, keep_better=True)
    order = ordered_occlusion(2, 3, images)
    ResidualSearch(images, order, images[:, None][:, :0], 3, rules, look).run(5)
    assert seen[:6] == [(0, []), (1, []), (2, [])] * 2
    assert seen[6:12] == [(0, [0, 1]), (1, []), (1, [1, 2]), (2, []), (2, [2, 0]), (0, [])]
    assert seen[15:] == [(layer, []) for layer, _ in seen[6:12]]


@pytest.mark.parametrize("drawn", [True, False])
def test_attention_that_is_drawn_goes_where_most_is_missing(drawn):
    model = randomised(search=replace(SEARCH, drawn_by="error" if drawn else "features", turns=1))
    rest = torch.rand(6, 3, *SIZE, generator=torch.manual_seed(0), dtype=torch.float64)
    places = torch.tensor([[2, 2], [9, 2], [2, 9], [9, 9], [5, 5], [6, 5]])  # x and y
    images = rest.clone()
    for image, (x, y) in zip(images, places.tolist(), strict=True):
        image[:, y - 1 : y + 1, x - 1 : x + 1] += 1  # what is missing: 2 x 2 pixels around
    with torch.no_grad():
        model.predictor.look.scores.weight.mul_(0.1)
        for parameter in model.predictor.layer_head.parameters():
            parameter.zero_()  # so that places are as attended
        found = model.predictor(torch.cat([images, rest], dim=1)).layer[:, 0, model.predictor.at]
    off = ((found.tanh() + 1) * SIZE[0] / 2 - places).abs()
    assert (off.max() < 0.75) == drawn  # of a pixel; cells are of four


@pytest.mark.parametrize("drawn", [True, False])
def test_looks_that_are_drawn_do_not_return_to_where_others_found_nothing(drawn):
    config = replace(CONFIG, image_size=(24, 24), empty_sprite=True, penalty=10.0)
    search = replace(SEARCH, drawn_by="error" if drawn else "features", turns=1)
    model, images = randomised(config, search), torch.zeros(2, 3, 24, 24, dtype=torch.float64)
    for number, (y, x) in enumerate(
        [(4, 4), (4, 18), (18, 10)]
    ):  # one stands out more than another
        images[:, :, y : y + 2, x : x + 2] = 1 - 0.2 * number
    with torch.no_grad():
        scene = model(images, steps=1)
    assert (scene.selection.sprites == 0).all()  # so dear are they
    places = scene.prediction.layer[..., model.predictor.at].tanh() * 12
    apart = (places[:, :, None] - places[:, None]).norm(dim=-1)[:, *torch.triu_indices(3, 3, 1)]
    assert (apart.min() > 6) == drawn


def test_what_is_missing_is_the_squared_error_of_each_cell_and_its_mean_place():
    difference = torch.rand(2, 3, 12, 8, dtype=torch.float64)
    centre = torch.tensor([[[[-0.5, 0.5]] * 3, [[-2 / 3] * 2, [0] * 2, [2 / 3] * 2]]]).double()
    shares, places = what_is_missing(difference, centre)
    for image, part in enumerate(difference.numpy()):
        errors = (part**2).mean(axis=0).reshape(3, 4, 2, 4).swapaxes(1, 2)  # (y, x, 4, 4)
        total = errors.sum(axis=(2, 3))
        assert np.allclose(shares[image].numpy(), total / total.max())
        inside = (np.arange(4) - 1.5) / 4  # of a cell's centre, in cells
        x = (errors * inside).sum(axis=(2, 3)) / total
        y = (errors * inside[:, None]).sum(axis=(2, 3)) / total
        found = np.stack([x * 2 / 2, y * 2 / 3]) + centre[0].numpy()  # a cell of the whole, 2
        assert np.allclose(places[image].numpy(), found, atol=1e-6)
    shares, places = what_is_missing(torch.zeros_like(difference), centre)
    assert (shares == 0).all() and torch.allclose(places, centre)
