"""Scenes sought in quarter turns of their images: turned back exactly, and never worse."""

from dataclasses import replace

import pytest
import torch
from shaken import SMALL, shaken_run

from dtis_core.config import load_preset
from dtis_core.errors import DtisError
from dtis_core.search.quarter_turns import best_of_views, better_of, turned

SETTINGS = ["search.inference_turns=null", "model.empty_sprite=false", "search.views=1"]
MODULES = {
    "placement": [],
    "wide placement": ["model.layer_transformations=[tint, wide_placement]"],
    "translation": ["model.layer_transformations=[translation, colour]"],
    "turned in the layer": ["model.layer_transformations=[similarity, position]"],
    "predicted occlusion": ["model.occlusion=predicted", "search.depths=given"],
}


def a_run(settings=()):
    return shaken_run([*SETTINGS, *settings], torch.float64)


@pytest.fixture
def images():
    dice = torch.Generator().manual_seed(0)
    return torch.rand(3, 3, 20, 20, dtype=torch.float64, generator=dice)


@pytest.mark.parametrize("settings", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("quarters", [-3, -1, 0, 1, 2, 3])
def test_a_turned_scene_is_the_turned_image(images, settings, quarters):
    model = a_run(settings).model
    with torch.no_grad():
        scene = model(images)
    assert (scene.selection.sprites > 0).any()
    new = turned(model, scene, quarters)
    wanted = torch.rot90(scene.reconstruction, quarters, (2, 3))
    torch.testing.assert_close(new.reconstruction, wanted)
    torch.testing.assert_close(new.alphas, torch.rot90(scene.alphas, quarters, (3, 4)))
    assert torch.equal(new.selection.sprites, scene.selection.sprites)


def test_each_image_gets_its_best_view(images):
    model = a_run().model
    penalty = model.config.penalty
    with torch.no_grad():
        views = [
            turned(model, model(torch.rot90(images, quarters, (2, 3)), steps=2), -quarters)
            for quarters in range(4)
        ]
    each = torch.stack([view.objectives(images, penalty) for view in views])  # (views, B)
    assert (each[1:].amin(dim=0) < each[0]).any()
    for count in (1, 2, 4):
        best = best_of_views(model, images, steps=2, polish=0, views=count)
        torch.testing.assert_close(best.objectives(images, penalty), each[:count].amin(dim=0))
        with torch.no_grad():
            again = model.render(best.prediction, best.occlusion, best.selection)
        assert torch.equal(again.reconstruction, best.reconstruction)


def test_of_two_equal_scenes_the_old_one_stays(images):
    model = a_run().model
    with torch.no_grad():
        old = model(images)
    new = replace(old, selection=replace(old.selection, background=old.selection.background + 1))
    kept = better_of(model, images, new, old).selection.background
    assert torch.equal(kept, old.selection.background)


def test_a_run_takes_the_views_of_its_configuration(images):
    run, images = a_run(["search.views=4", "search.polish_steps=0"]), images.float()
    run.model.float()
    by_default = run.decompose(images).reconstruction
    assert torch.equal(by_default, run.decompose(images, views=4).reconstruction)
    assert not torch.equal(by_default, run.decompose(images, views=1).reconstruction)
    with pytest.raises(DtisError, match="search.views must be 1 to 4, found 5"):
        run.decompose(images, views=5)


def test_a_run_can_seek_otherwise_and_stays_as_it_is(images):
    run, images = a_run(["search.polish_steps=0"]), images.float()
    run.model.float()
    usual = run.decompose(images).reconstruction
    other = run.seeking(["search.views=2", "search.inference_turns=5", "search.inference_steps=2"])
    found = other.decompose(images).reconstruction
    assert other.config.search.views == 2 and other.model.turns == 5 and run.model.turns == 2
    assert not torch.equal(found, usual)
    assert torch.equal(run.decompose(images).reconstruction, usual)
    for setting in ("model.layers=2", "data.name=multi-dsprites2", "search.turns=3"):
        with pytest.raises(DtisError, match=f"--set {setting}: a trained model has only"):
            run.seeking([setting])


@pytest.mark.parametrize(
    "setting",
    [
        "model.sprite_transformations=[]", "model.image_size=[20, 24]",
        "model.layer_transformations=[tint, placement, tps]", "model.sprite_size=[12, 10]",
        "model.sprite_transformations=[projective]", "model.background_transformations=[affine]",
    ],
)  # fmt: skip
def test_views_are_for_models_whose_scenes_can_be_turned(setting):
    settings = [*SMALL, *SETTINGS, "search.turns=1", "training.curriculum={}", setting]
    config = load_preset("multi-dsprites/quick").override(settings)
    with pytest.raises(DtisError, match="search.views must be 1 unless images"):
        config.override(["search.views=2"])
