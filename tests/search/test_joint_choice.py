"""Candidates of all layers chosen together: the minimum of Eq. (5) over what the looks propose."""

import itertools
from dataclasses import replace

import pytest
import torch

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.model.composition import compose, ordered_occlusion, put_background_below
from dtis_core.search.joint_choice import choose_jointly
from dtis_core.search.residual import ResidualSearch, Rules
from dtis_core.search.seeking import build_model
from dtis_core.search.windows import Window, Windowed

SIZE = (12, 10)
B, N = 40, 3


def some_candidates(seed):
    """Three candidates of a layer, in a window of each image."""
    dice = torch.Generator().manual_seed(seed)
    top, left = (torch.randint(0, side - 7, (B,), generator=dice) for side in SIZE)
    alphas = torch.rand(B, N, 1, 8, 8, generator=dice, dtype=torch.float64).round()
    colours = torch.rand(B, N, 3, 8, 8, generator=dice, dtype=torch.float64)
    return Windowed(alphas, colours, Window(top, left, (8, 8), SIZE))


def minima(images, backgrounds, layers, penalty, empty):
    """Return the smallest objectives, of all choices in all orders, one by one."""
    losses = []
    orders = itertools.permutations(range(len(layers)))
    choices = itertools.product(range(0 if empty else 1, N + 1), repeat=len(layers))
    for order, chosen, g in itertools.product(orders, choices, range(backgrounds.shape[1])):
        alphas, colours = [torch.ones_like(backgrounds[:, g, :1])], [backgrounds[:, g]]
        for layer in order:  # from the back to the front
            alpha, colour = (part[:, chosen[layer] - 1] for part in layers[layer].whole())
            alphas.append(alpha * (chosen[layer] > 0))
            colours.append(colour)
        parts = torch.stack(alphas, dim=1), torch.stack(colours, dim=1)
        composite = compose(*parts, ordered_occlusion(B, len(alphas), images))
        error = (composite - images).square().flatten(1).mean(dim=1)
        losses.append(error + penalty * sum(k > 0 for k in chosen))
    return torch.stack(losses).amin(dim=0)


@pytest.mark.parametrize("empty", [True, False])
def test_it_is_the_best_of_all_combinations_in_all_orders(empty):
    torch.manual_seed(2)
    layers = 2
    backgrounds = torch.rand(B, 2, 3, *SIZE, dtype=torch.float64)
    each = [some_candidates(seed) for seed in range(layers)]
    shown = [[part[:, 1] for part in windowed.whole()] for windowed in reversed(each)]
    alphas, colours = (torch.stack(part, dim=1) for part in zip(*shown, strict=True))
    alphas = torch.cat([torch.ones_like(alphas[:, :1]), alphas], dim=1)
    colours = torch.cat([backgrounds[:, 1:], colours], dim=1)
    images = compose(alphas, colours, ordered_occlusion(B, layers + 1, alphas))
    images += 0.2 * torch.randn(images.shape, dtype=torch.float64)
    start = put_background_below(ordered_occlusion(B, layers, images))
    rules = Rules(penalty=1e-3, empty=empty, seek_depths=True)

    def look(layer, rest, avoided, held):
        return each[layer], rest[:, 0, 0]  # any features

    search = ResidualSearch(images, start, backgrounds, layers, rules, look)
    search.run(1)
    choose_jointly(search, (7, each[0]), (8, each[1]))
    best = minima(images, search.colours[:, :1], each, 1e-3, empty)
    torch.testing.assert_close(search.loss(), best)
    parts = search.alphas, search.colours, search.occlusion
    torch.testing.assert_close(compose(*parts), search.composite)
    assert (search.alphas[:, 1:].amax(dim=(2, 3, 4))[search.sprites == 0] == 0).all()


def test_what_greedy_search_cannot_undo():
    """Two halves are told apart, where one blob of their mean colour is the better first choice."""
    halves = torch.zeros(2, 1, *SIZE)
    halves[0, :, :, :5], halves[1, :, :, 5:] = 1, 1
    red, blue = torch.tensor([[1.0, 0, 0], [0, 0, 1]])[:, :, None, None].expand(2, 3, *SIZE)
    image = (halves[0] * red + halves[1] * blue)[None]
    whole = Window.whole(1, SIZE)
    alphas = torch.stack([torch.ones_like(halves[0]), halves[0]])[None]  # a blob, or the left half
    first = Windowed(alphas, torch.stack([(red + blue) / 2, red])[None], whole)
    second = Windowed(halves[None, [1, 1]], torch.stack([blue, red])[None], whole)
    start = put_background_below(ordered_occlusion(1, 2, image))
    rules = Rules(penalty=0.0, empty=True, seek_depths=True)
    looks = [(first, image[:, 0, 0]), (second, image[:, 0, 0])]
    background = torch.full_like(image, 0.8)[:, None]
    search = ResidualSearch(image, start, background, 2, rules, lambda layer, *_: looks[layer])
    assert search.run(1).sprites.tolist() == [[1, 1]] and search.loss() > 0.05
    choose_jointly(search, (3, first), (4, second))
    assert search.selection().sprites.tolist() == [[2, 1]] and search.loss() < 1e-12
    assert search.look.tolist() == [[3, 4]]


def test_a_better_scene_is_kept():
    images = torch.rand(B, 3, *SIZE, dtype=torch.float64)
    each = [some_candidates(seed) for seed in range(2)]
    start = put_background_below(ordered_occlusion(B, 2, images))
    rules = Rules(penalty=0.0, empty=False, seek_depths=True)
    search = ResidualSearch(images, start, images[:, None], 2, rules, lambda *_: each[0])
    search.choose_background()
    search.compose()  # nothing in any layer: the background is the image
    choose_jointly(search, (0, each[0]), (1, each[1]))
    assert not search.sprites.any() and not search.loss().any()


def settings(*more):
    small = [
        "model.image_size=[20, 20]", "model.sprite_size=[12, 12]", "model.mask_sigma=3",
        "training.coarse_until=0", "model.selection=exhaustive",
    ]  # fmt: skip
    return load_preset("multi-dsprites2").override([*small, *more])


@pytest.mark.parametrize("steps", [1, 2])
def test_a_model_chooses_jointly_at_last(steps, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "dtis_core.search.seeking.choose_jointly",
        lambda *given: (calls.append([look for look, _ in given[1:]]), choose_jointly(*given)),
    )
    config = settings("model.penalty=0")
    torch.manual_seed(0)
    model = build_model(config.model, config.search)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.2 - 0.1)
        model.sprites.appearances.copy_(torch.rand_like(model.sprites.appearances))
    images = torch.rand(12, 3, 5, 5).repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        jointly = model.eval()(images, steps=steps).errors(images)
        model.config = replace(model.config, selection="greedy")
        greedy = model(images, steps=steps).errors(images)
    assert (jointly <= greedy + 1e-7).all()
    assert calls == [[2 * steps - 2, 2 * steps - 1]]  # the last looks, and once
    model.config = replace(model.config, selection="exhaustive")
    model.train().loss(images)[0].backward()
    for network in model.predictor.fovea.glances:
        assert network.layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("setting", ["search.depths=given", "model.layers=3"])
def test_there_must_be_two_layers_whose_depths_are_sought(setting):
    with pytest.raises(DtisError, match=r"model.selection must be greedy where search.looks is"):
        settings(setting)
