"""The two named ways to infer: what one look does, and what wins over it."""

import pytest
import torch
from shaken import shaken_run

from dtis_core.errors import DtisError
from dtis_core.search import quarter_turns
from dtis_core.search.polishing import ROUND

IMAGES = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))
SEARCH = [
    "search.inference_turns=6", "search.inference_steps=4", "search.polish_steps=5",
    "search.views=2", "search.one_look_steps=3", "search.polish_every=0",
]  # fmt: skip
NO_MORE = ["search.inference_turns=2", "search.polish_steps=0", "search.views=1"]


@pytest.fixture
def run():
    """A model that searches a lot at inference, untrained, its weights shaken."""
    return shaken_run(SEARCH)


@pytest.fixture
def done(run, monkeypatch):
    """What is done for scenes: predictions, and the candidates of each; polishing steps; views."""
    counted = {"predictions": 0, "candidates": set(), "polish": 0, "views": 0}
    candidates = type(run.model).seen_candidates

    def predicted(*arguments):
        counted["predictions"] += 1

    def rendered(*arguments, **options):
        found = candidates(*arguments, **options)
        counted["candidates"].add(found.alphas.shape[1])
        return found

    def polished(model, images, scene, steps):
        counted["polish"] += steps
        return scene

    def looked(*arguments):
        counted["views"] += 1

    run.model.predictor.register_forward_hook(predicted)
    run.model.register_forward_hook(looked)
    monkeypatch.setattr(type(run.model), "seen_candidates", rendered)
    monkeypatch.setattr(quarter_turns, "polished", polished)
    return counted


def test_one_look_is_one_prediction_for_each_layer_and_iteration(run, done):
    run.decompose(IMAGES, inference="one-look")
    background = 1
    expected = {"predictions": background + 3 * 3, "candidates": {3 * 2}, "polish": 0, "views": 1}
    assert done == expected


def test_the_best_is_what_the_configuration_says(run, done):
    run.decompose(IMAGES, inference="best")
    # Of four iterations the third looks for two layers at a time.
    expected = {"predictions": 2 * (1 + 3 * (4 + 1)), "candidates": {3 * 6}, "views": 2}
    # A round of polishing in each view, and the rest on the best.
    assert done == expected | {"polish": 2 * ROUND + 1}
    before = dict(done)
    run.decompose(IMAGES)
    assert {name: done[name] / before[name] for name in ("predictions", "polish", "views")} == {
        "predictions": 2, "polish": 2, "views": 2,
    }  # fmt: skip


def test_without_a_steps_of_its_own_one_look_has_those_of_training(run, done):
    other = run.seeking(["search.one_look_steps=null"])
    other.decompose(IMAGES, inference="one-look")
    assert done["predictions"] == 1 + 3 * run.config.model.selection_steps


def test_one_look_leaves_the_run_as_it_was(run):
    usual = run.decompose(IMAGES).reconstruction
    one = run.decompose(IMAGES, inference="one-look").reconstruction
    assert not torch.equal(one, usual)
    assert torch.equal(run.decompose(IMAGES).reconstruction, usual)


def test_what_is_said_explicitly_wins(run, done):
    run.decompose(IMAGES, steps=1, polish=7, views=4, inference="one-look")
    assert done["predictions"] == 4 * (1 + 3) and done["views"] == 4
    assert done["polish"] == 4 * ROUND + 3
    set_so = run.seeking(["search.views=2", "search.inference_turns=4", "search.inference_steps=2"])
    done |= {"predictions": 0, "candidates": set(), "polish": 0, "views": 0}
    set_so.decompose(IMAGES, inference="one-look")
    expected = {"predictions": 2 * (1 + 2 * 3), "candidates": {3 * 4}, "polish": 0, "views": 2}
    assert done == expected


def test_a_trained_model_can_try_all_combinations():
    few = ["model.layers=2", "model.penalty=0", "search.inference_steps=1"]
    run = shaken_run([*SEARCH, *NO_MORE, *few])
    images = torch.rand(40, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    images = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    greedy, error = run.decompose(images), []
    for way in ("exhaustive", "greedy"):
        again = run.seeking([f"model.selection={way}"])
        assert again.settings == (f"model.selection={way}",)
        error.append(again.decompose(images).decomposition.errors(images))
    assert (error[0] <= error[1] + 1e-7).all() and (error[0] < error[1] - 1e-7).any()
    assert torch.equal(greedy.decomposition.errors(images), error[1])
    assert run.model.config.selection == "greedy"


def test_one_look_is_a_search_that_is_configured_to_be_no_more(run):
    plain = run.seeking([*NO_MORE, "search.inference_steps=3", "search.pairs=false"])
    one, same = run.decompose(IMAGES, inference="one-look"), plain.decompose(IMAGES)
    assert torch.equal(one.reconstruction, same.reconstruction)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("one-lok", "'one-lok' is not known, did you mean 'one-look'?"),
        ("", "'' is not known; known: best, one-look"),
    ],
)
def test_another_inference_is_refused(run, name, problem):
    with pytest.raises(DtisError) as refused:
        run.decompose(IMAGES, inference=name)
    assert str(refused.value) == f"inference: {problem}"
