"""A search that goes on from polished scenes: none ends worse, and what was found is read again."""

from dataclasses import replace

import pytest
import torch
from shaken import shaken_run

from dtis_core import datasets
from dtis_core.pictures import to_tensor
from dtis_core.scenes.run import load
from dtis_core.search.polishing import polished
from dtis_core.search.quarter_turns import best_of_views
from dtis_core.search.rounds import Effort, best_scenes

IMAGES = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
FOVEA = ["model.sprite_transformations=[rotation]", "search.fovea=true",
         "search.harmonics=[1, 2]", "search.inference_turns=null",
         "training.curriculum={}"]  # fmt: skip


def a_run(*settings):
    return shaken_run([*FOVEA, "search.polish_every=2", *settings])


@pytest.mark.parametrize("every", [0, 3, 5])
def test_polishing_at_the_end_is_one_round(every):
    model = a_run().model
    found = best_scenes(model, IMAGES, Effort(3, 2, 1, every))
    expected = best_of_views(model, IMAGES, 3, 2, 1)
    assert torch.equal(found.reconstruction, expected.reconstruction)


def test_no_scene_ends_worse_than_it_was():
    run = load("multi-dsprites")
    images = to_tensor(datasets.load_for(run.config, "validation", 12).images)
    model, penalty = run.model.eval(), run.config.model.penalty
    scenes = [best_scenes(model, images, Effort(steps, 2, 1, 2)) for steps in (2, 4, 5)]
    first, second, third = (scene.objectives(images, penalty) for scene in scenes)
    assert (second <= first).all() and (third <= second).all() and (third < first).any()


def test_all_iterations_are_made_and_each_round_is_polished(monkeypatch):
    run, steps, polish = a_run(), [], []
    resumed = type(run.model).resumed

    def counted(model, images, start, more, done):
        steps.append((more, done))
        return resumed(model, images, start, more, done)

    def polished_too(model, images, scene, count):
        polish.append(count)
        return polished(model, images, scene, count)

    monkeypatch.setattr(type(run.model), "resumed", counted)
    monkeypatch.setattr("dtis_core.search.rounds.polished", polished_too)
    settings = ["search.inference_steps=5", "search.polish_steps=3"]
    run.seeking(settings).decompose(IMAGES)
    assert steps == [(2, 2), (1, 4)] and polish == [3, 3]


def test_every_other_iteration_reads_what_it_found_where_it_lies(monkeypatch):
    model, read = a_run().model, []
    forward = type(model.predictor).forward

    def seen(predictor, images, avoided=None, own=None):
        read.append(own)
        return forward(predictor, images, avoided, own)

    monkeypatch.setattr(type(model.predictor), "forward", seen)
    found = best_of_views(model, IMAGES, 2, 0, 1)
    sprites = torch.tensor([[1, 2, 0], [0, 3, 1], [2, 0, 2], [0, 0, 3]])
    selection = replace(found.selection, sprites=sprites)
    start = model.render(found.prediction, found.occlusion, selection)
    places = torch.tanh(start.prediction.layer[..., model.predictor.at])  # (B, L, 2)
    held = sprites > 0
    for done, rereads in ((2, False), (3, True)):
        read.clear()
        model.resumed(IMAGES, start, 1, done)
        assert any(own is not None for own in read) == rereads
    first, *_ = (own for own in read if own is not None)
    torch.testing.assert_close(first[held[:, 0]], places[held[:, 0], 0])
    assert first[~held[:, 0]].isnan().all()


def test_a_model_that_looks_once_makes_all_iterations_at_first():
    run = shaken_run(["search.looks=image", "search.depths=given", "search.polish_every=2"])
    found = best_scenes(run.model, IMAGES, Effort(5, 2, 1, 2))
    expected = best_of_views(run.model, IMAGES, 5, 2, 1)
    assert torch.equal(found.reconstruction, expected.reconstruction)
