"""Colours solved for: against least squares by NumPy, and as the scene shows them in the end."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dtis_core.config import ModelConfig, SearchConfig, load_preset
from dtis_core.errors import DtisError
from dtis_core.model.composition import squared_errors
from dtis_core.model.predictor import Prediction
from dtis_core.search.looks import Looks
from dtis_core.search.seeking import build_model
from dtis_core.search.solved_colours import LEAST_SEEN, MOST, solved, tinted
from dtis_core.search.windows import Window, Windowed

SIZE = (14, 12)
CONFIG = ModelConfig(
    image_size=SIZE,
    layers=3,
    sprites=4,
    sprite_size=(6, 6),
    mask_sigma=2.0,
    layer_transformations=["tint", "translation"],
    sprite_transformations=["rotation"],
    backgrounds=1,
    encoder="small",
)
SEARCH = SearchConfig(head="attention", looks="residual", colours="solved", turns=3)


def drawn(*shape):
    return torch.rand(*shape, dtype=torch.float64)


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = build_model(CONFIG, SEARCH).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.2 - 0.1)
    return model


def test_gains_are_those_of_least_squares_in_the_window():
    torch.manual_seed(0)
    images, rest = drawn(2, 3, *SIZE), drawn(2, 3, *SIZE)
    window = Window(torch.tensor([1, 4]), torch.tensor([0, 3]), (8, 8), SIZE)
    candidates = Windowed(drawn(2, 5, 1, 8, 8), drawn(2, 5, 3, 8, 8), window)
    best, gains = solved(candidates, images, rest)
    inside, below = window.cut(images).numpy(), window.cut(rest).numpy()
    for i, n, c in np.ndindex(2, 5, 3):
        alpha = candidates.alphas[i, n, 0].numpy()
        shown = (alpha * candidates.colours[i, n, c].numpy()).ravel()
        missing = (inside[i, c] - (1 - alpha) * below[i, c]).ravel()
        # One more equation draws the gain to 1, a little.
        rows = np.append(shown, np.sqrt(LEAST_SEEN))[:, None]
        wanted = np.linalg.lstsq(rows, np.append(missing, np.sqrt(LEAST_SEEN)))[0].item()
        assert gains[i, n, c].item() == pytest.approx(min(max(wanted, 0), MOST), abs=1e-9)
    assert torch.equal(best.colours, candidates.colours * gains[..., None, None])


def test_what_shows_nothing_keeps_its_colour():
    nothing = Windowed(
        torch.zeros(1, 2, 1, *SIZE), torch.ones(1, 2, 3, *SIZE), Window.whole(1, SIZE)
    )
    best, gains = solved(nothing, torch.rand(1, 3, *SIZE), torch.rand(1, 3, *SIZE))
    assert (gains == 1).all() and torch.equal(best.colours, nothing.colours)


def test_the_scene_shows_the_colours_that_were_chosen(model):
    images = drawn(4, 3, *SIZE)
    with torch.no_grad():
        scene = model(images, steps=2)
        again, plain = (build_model(CONFIG, search).double().eval() for search in (SEARCH, PLAIN))
        for other in (again, plain):
            other.load_state_dict(model.state_dict())
        assert torch.equal(again(images, steps=2).reconstruction, scene.reconstruction)
        unsolved = plain(images, steps=2)
    tint = model.sequences[0].slices["tint"]
    assert scene.prediction.layer[..., tint].std() > 0.05
    assert (scene.errors(images) < unsolved.errors(images)).all()
    # The last layer's colours are the best before all others: no other gains do better.
    worse = scene.prediction.layer.clone()
    for change in (-0.05, 0.05):
        worse[:, -1, tint] = scene.prediction.layer[:, -1, tint] + change
        other = model.render(
            replace(scene.prediction, layer=worse), scene.occlusion, scene.selection
        )
        assert (squared_errors(images, other.reconstruction) >= scene.errors(images) - 1e-6).all()


PLAIN = replace(SEARCH, colours="predicted")


def test_a_scene_goes_on_with_the_colours_that_it_has(model):
    images = drawn(3, 3, *SIZE)
    with torch.no_grad():
        scene = model(images, steps=1)
    own = scene.reconstruction
    again = model.resumed(own, scene)
    assert (again.errors(own) < 1e-6).all()


def test_places_learn_from_the_loss_and_tints_are_left_alone(model):
    model.train()
    loss, scene = model.loss(drawn(4, 3, *SIZE))
    loss.backward()
    head = model.predictor.layer_head
    last = [p for p in head.parameters() if p.dim() >= 2][-1].grad
    size = model.sequences[0].size
    by_value = last.movedim(next(d for d, n in enumerate(last.shape) if n == size), 0)
    tint, place = (model.sequences[0].slices[name] for name in ("tint", "translation"))
    assert by_value[tint].abs().max() == 0 < by_value[place].abs().max()


def test_the_gains_of_the_chosen_candidate_are_put_on_top_of_what_was_predicted():
    parameters, gains = torch.rand(2, 3, 5), torch.rand(3, 2, 4, 3)  # of three looks
    looks = Looks()
    for number in range(3):
        part = parameters[:, number : number + 1]
        looks.add(Prediction(part, part[..., None, :0], part, part), gains[number])
    look = torch.tensor([[2, 0, 1], [0, 1, 1]])
    chosen = torch.tensor([[1, 4, 0], [2, 2, 3]])
    layer = looks.prediction(look, parameters).layer
    assert torch.equal(layer[0], parameters[0, [2, 0, 1]])
    put = tinted(layer, slice(1, 4), looks.chosen_gains(look, chosen))
    assert torch.equal(put[..., [0, 4]], layer[..., [0, 4]])
    wanted = gains[1, 1, 2] * (1 + layer[1, 2, 1:4]) - 1  # the second look, the third candidate
    assert torch.allclose(put[1, 2, 1:4], wanted)


@pytest.mark.parametrize(
    "change",
    [
        "model.layer_transformations=[translation]",
        "search.fovea=true",
        "search.looks=image search.sees=both search.depths=given search.drawn_by=features",
    ],
)
def test_colours_are_solved_only_where_there_is_a_tint_to_solve_for(change):
    with pytest.raises(DtisError, match=r"search\.colours must be predicted without"):
        load_preset("atari-freeway/fast").override(change.split())
