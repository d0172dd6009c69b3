"""Candidates rendered in windows: what whole canvases show, and the same choices."""

import math
from dataclasses import replace

import pytest
import torch
from random_models import draw_config

from dtis_core.config import SearchConfig, load_preset
from dtis_core.model.predictor import Prediction
from dtis_core.search import seeking
from dtis_core.search.seeking import build_model
from dtis_core.search.windows import Window, window_of

SEARCH = SearchConfig(head="attention", looks="residual", turns=3, depths="sought")
PLACES = ("placement", "wide_placement", "translation", "position")


def model_for(place, training, number=1):
    """A model of random sprites, in images much larger than they are."""
    config = replace(
        draw_config(number), image_size=(40, 52), sprite_size=(9, 7), layers=3, sprites=3,
        layer_transformations=["colour", place], sprite_transformations=["similarity"],
        occlusion="fixed", empty_sprite=False, mask_noise=0.4, encoder="small",
        backgrounds=1, background_transformations=[], selection_steps=2, channels=3, pool=1,
    )  # fmt: skip
    torch.manual_seed(number)
    model = build_model(config, SEARCH).double().train(training)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.rand_like(parameter) - 0.15)
        model.sprites.appearances.mul_(torch.tensor([0.3, 0.6, 1.0]).view(-1, 1, 1, 1))
    return model


def parameters(model, batch=6):
    """A layer's and its sprites' random parameters, in and out of the image."""
    layer = 1.5 * torch.randn(batch, model.sequences[0].size, dtype=torch.float64)
    sprite = torch.randn(batch, 3, model.sequences[1].size, dtype=torch.float64)
    return layer, sprite


def predicted(layer, sprite):
    """A prediction of one layer, and of nothing else."""
    nothing = torch.zeros(len(layer), 1, 0, dtype=torch.float64)
    return Prediction(layer[:, None], sprite[:, None], nothing, nothing)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_a_window_holds_all_that_is_seen(place, training):
    model = model_for(place, training)
    layer, sprite = parameters(model)
    noise = model.draw_noise(torch.Generator().manual_seed(0)) if training else None
    alphas, colours = model.candidates(layer, sprite, noise)
    found = model.seen_candidates(predicted(layer, sprite), noise)
    for n in range(alphas.shape[1]):
        alpha, colour = torch.zeros_like(alphas[:, n]), torch.zeros_like(colours[:, n])
        for whole, part in zip(
            (alpha, colour), found.chosen(torch.full((len(layer),), n)), strict=True
        ):
            found.window.write(whole, part)
        torch.testing.assert_close(alpha, alphas[:, n])
        torch.testing.assert_close(alpha * colour, alphas[:, n] * colours[:, n])
    if place == "translation":  # it does not scale
        assert found.window.share < 0.1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_choices_are_those_of_whole_canvases(place, training, monkeypatch):
    model = model_for(place, training)
    images = torch.full((6, 3, 40, 52), 0.5, dtype=torch.float64)
    for number, image in enumerate(images):
        image[:, 4 * number : 4 * number + 12, 8 : 20 + 4 * number] = 0.9
    noise = model.draw_noise(torch.Generator().manual_seed(0)) if training else None
    _, occlusion, found = model.predict_and_select(images, noise, 3)
    monkeypatch.setattr(
        seeking, "window_of", lambda model, layer: Window.whole(len(layer), (40, 52))
    )
    _, expected_occlusion, expected = model.predict_and_select(images, noise, 3)
    assert torch.equal(found.sprites, expected.sprites)
    assert torch.equal(occlusion, expected_occlusion)
    assert found.sprites.unique().numel() > 1  # there were choices


@pytest.mark.parametrize("preset", ["multi-dsprites/fast", "clevr6/fast", "tetrominoes/fast"])
def test_windows_of_our_presets_are_small(preset):
    config = load_preset(preset)
    model = build_model(config.model, config.search)
    layer = torch.zeros(2, 1, model.sequences[0].size)
    assert window_of(model, layer).share < {"tetrominoes/fast": 0.7}.get(preset, 0.3)


def test_cutting_and_writing_are_inverse():
    window = Window(torch.tensor([0, 3]), torch.tensor([5, 1]), (4, 6), (9, 12))
    images, written = torch.rand(2, 3, 9, 12), torch.zeros(2, 3, 9, 12)
    boxes = window.cut(images)
    assert torch.equal(boxes[1], images[1, :, 3:7, 1:7])
    window.write(written, boxes)
    assert torch.equal(window.cut(written), boxes)
    assert written.count_nonzero() == boxes.count_nonzero()


@pytest.mark.parametrize("place", PLACES)
def test_parameters_that_are_not_finite_end_in_a_loss_that_tells(place):
    model = model_for(place, training=True)
    with torch.no_grad():
        for parameter in model.predictor.parameters():
            parameter.fill_(math.nan)
    loss, _ = model.loss(torch.rand(2, 3, 40, 52, dtype=torch.float64))
    assert loss.isnan()
